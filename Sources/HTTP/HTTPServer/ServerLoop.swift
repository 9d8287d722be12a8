import EventLoop
import HTTP1
import HTTPMessage
import IntercomCore
import Linux
import OpenSSL

/// A head and its parser: one serves all connections of a loop, a connection whose head comes in pieces keeps it until the head is whole.
final class HeadReader {
  var parser: RequestHeadParser
  var head = RequestHead()
  init(limits: HeadLimits) { parser = RequestHeadParser(limits: limits) }
}

/// The times of `ServerSettings` in nanoseconds, and what else of them every request reads: plain numbers, whose exchange by a reload runs no other
/// code, so that reading them needs no check for exclusive access.
struct ServerTimes {
  let waitingOutput: Int
  let head: Int64
  let idle: Int64
  let paceCheck: Int64
  /// When a client has ended its direction: how long it may wait for its answer before it is looked whether it is there, and how long an answer may
  /// pause. With the two ticks by which deadlines come late both are less than a second.
  let clientAsk: Int64 = 300_000_000
  let clientLook: Int64 = 700_000_000

  init(_ settings: ServerSettings) {
    waitingOutput = settings.waitingOutput
    head = settings.headTime.wholeNanoseconds
    idle = settings.idleTime.wholeNanoseconds
    paceCheck = settings.paceCheck.wholeNanoseconds
  }
}

/// What the connections of one listener on one loop share.
package class ServerLoop {
  package final let loop: EventLoop
  final var settings: ServerSettings { didSet { settingsChanged() } }
  final var times: ServerTimes
  /// No new requests after the ones that are going on.
  final var isDraining = false
  final var listeners: [Listener] = []
  /// Connections of this listener that are open.
  final var connections = 0
  /// Connections of which it is not known yet what they speak.
  final var openings = 0
  /// By number of the listener. Replaced when certificates are read anew: connections that stand keep theirs.
  final var setups: [ListenerSetup] = []

  /// For heads: filled and sent within one call.
  final var scratch: [UInt8] = []
  private final var spareReader: HeadReader?
  private final var dateLine: [UInt8] = []
  private final var dateUntil: MonotonicInstant

  /// The date is in whole seconds, so it may be this old.
  private static let dateLifetime = Duration.milliseconds(500)

  init(loop: EventLoop, settings: ServerSettings) {
    self.loop = loop
    self.settings = settings
    times = ServerTimes(settings)
    dateUntil = loop.now
    scratch.reserveCapacity(8192)
  }

  /// Addresses stay what they are, and no listener changes between plain and TLS, or begins or ceases to read PROXY headers.
  final func replace(_ newer: [ListenerSetup]) {
    guard newer.count == setups.count else { return }
    setups = zip(setups, newer).map { old, new in
      ListenerSetup(
        old.address, tls: old.tls == nil ? nil : new.tls ?? old.tls, proxies: old.proxies == nil ? nil : new.proxies ?? old.proxies)
    }
  }

  private final func settingsChanged() {
    times = ServerTimes(settings)
    // Its parser has the old limits.
    spareReader = nil
    for listener in listeners { listener.maximumConnections = settings.maximumConnections }
  }

  /// A client that has connected has sent something, or will do so within this time, when the server drains.
  static let lastWord: Int64 = 2_000_000_000
  /// How long a connection without a request is kept, in nanoseconds.
  final var idleLimit: Int64 { isDraining ? Self.lastWord : times.idle }

  final func takeReader() -> HeadReader { spareReader.take() ?? HeadReader(limits: settings.headLimits) }
  final func giveBack(_ reader: HeadReader) { spareReader = reader }

  /// A connection for one client; with the carrier that it needs.
  func makeExchange(descriptor: Int32, peer: SocketAddress, carrier: (any ByteCarrier)?) -> Exchange {
    Exchange(descriptor: descriptor, peer: peer, server: self, carrier: carrier)
  }

  /// `Date: …` with its CRLF (RFC 9110 §6.6.1).
  package final var currentDateLine: [UInt8] {
    if dateLine.isEmpty || dateUntil < loop.now {
      dateLine = Array("Date: \(HTTPDate.format(loop.configuration.time.wallNow()))\r\n".utf8)
      dateUntil = loop.now.advanced(by: Self.dateLifetime)
    }
    return dateLine
  }

  /// Begins a head in `scratch`: status line and date.
  final func beginHead(_ status: Status) {
    if scratch.capacity > 262_144 { scratch = [] }
    scratch.removeAll(keepingCapacity: true)
    scratch += StatusLines.line(status.code)
    scratch += currentDateLine
  }
}

/// The part of a listener on one loop that knows its handler.
final class HandlerLoop<Handler: RequestHandler>: ServerLoop {
  let handler: Handler
  init(loop: EventLoop, settings: ServerSettings, handler: Handler) {
    self.handler = handler
    super.init(loop: loop, settings: settings)
  }

  override func makeExchange(descriptor: Int32, peer: SocketAddress, carrier: (any ByteCarrier)?) -> Exchange {
    ServerConnection<Handler>(descriptor: descriptor, peer: peer, server: self, carrier: carrier)
  }
}

/// Status lines, ready as bytes.
enum StatusLines {
  private static let lines: [[UInt8]] = (100...599).map { Array("HTTP/1.1 \($0) \(Status($0).reason)\r\n".utf8) }

  static func line(_ code: Int) -> [UInt8] { lines[min(max(code, 100), 599) - 100] }
}

/// Field lines as bytes.
enum EndpointFieldLines {
  /// `name: value` lines with CRLF, or nil when a name or a value holds what would end its line or the head (response splitting).
  ///
  /// Fields that the connection itself decides (Content-Length, Transfer-Encoding, Connection, Keep-Alive, Date) are left out.
  static func render(_ fields: Fields) -> [UInt8]? {
    var out: [UInt8] = []
    for field in fields.all {
      guard !field.name.isEmpty, field.name.utf8.allSatisfy(isTokenByte), field.value.allSatisfy(isText) else { return nil }
      if ownNames.contains(FieldName(field.name)) { continue }
      out += field.name.utf8
      out += [UInt8(ascii: ":"), UInt8(ascii: " ")]
      out += field.value
      out += [13, 10]
    }
    return out
  }

  private static let ownNames: Set<FieldName> = ["content-length", "transfer-encoding", "connection", "keep-alive", "date"]

  private static func isText(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7f || byte == 0x09 }
}
