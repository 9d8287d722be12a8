import EventLoop
import IntercomCore
import Linux
import OpenSSL
import Synchronization
import TLS

/// A TLS connection in the hands of a test: blocking, confined to its thread. Closed when it is let go.
package final class TLSPeer {
  private let carrier: TLSCarrier
  private let descriptor: Int32
  private var unread: [UInt8] = []

  /// A server's side.
  fileprivate convenience init?(_ context: TLSContext, _ descriptor: Int32) {
    self.init(try? TLSChannel(server: context, descriptor: descriptor), descriptor)
  }

  /// A client's side, to a port of this machine; nil when TLS does not come about: the server's certificate must be of this authority.
  ///
  /// - Parameter pause: called when the connection stands and nothing has been sent.
  package convenience init?(port: UInt16, host: String, _ authorities: TLSCertificates, pause: () throws -> Void = {}) throws {
    let descriptor = try Socket.connecting(to: SocketAddress(.loopbackV4, port: port))
    try Socket.setBlocking(descriptor, timeOutMilliseconds: 20_000)
    try pause()
    let context = try TLSContext(client: authorities)
    self.init(try TLSChannel(client: context, descriptor: descriptor, host: Array(host.utf8), isAddress: false), descriptor)
  }

  private init?(_ channel: TLSChannel?, _ descriptor: Int32) {
    guard let channel else {
      Socket.close(descriptor)
      return nil
    }
    carrier = TLSCarrier(channel)
    self.descriptor = descriptor
    guard case .done = carrier.handshake() else { return nil }
  }

  deinit { Socket.close(descriptor) }

  /// Exactly so many bytes.
  package func receive(exactly count: Int) throws -> [UInt8] {
    let buffer = ReceiveBuffer(bytes: 65_536)
    while unread.count < count {
      let got = carrier.receive(into: buffer)
      guard got > 0 else { throw RawSocketError.ended(String(decoding: unread, as: UTF8.self)) }
      buffer.withBytes(got) { unread.append(copying: $0) }
    }
    defer { unread.removeFirst(count) }
    return Array(unread[..<count])
  }

  /// Everything up to and including `marker`.
  package func receive(until marker: String) throws -> String {
    let mark = Array(marker.utf8)
    let buffer = ReceiveBuffer(bytes: 65_536)
    while true {
      for end in stride(from: mark.count, through: unread.count, by: 1) where unread[..<end].suffix(mark.count).elementsEqual(mark) {
        defer { unread.removeFirst(end) }
        return String(decoding: unread[..<end], as: UTF8.self)
      }
      let count = carrier.receive(into: buffer)
      guard count > 0 else { throw RawSocketError.ended(String(decoding: unread, as: UTF8.self)) }
      buffer.withBytes(count) { unread.append(copying: $0) }
    }
  }

  /// What `receive` of the carrier says when nothing was sent: 0 at an orderly end, `Socket.broken`, or `Socket.wouldBlock` after ten seconds.
  package func receiveEnd() -> Int { carrier.receive(into: ReceiveBuffer(bytes: 65_536)) }

  package func send(_ text: String) throws {
    let bytes = Array(text.utf8)
    guard carrier.send(bytes.span) == bytes.count else { throw RawSocketError.broken }
  }

  /// close_notify: what was sent is complete.
  package func endInOrder() { carrier.endSending() }
}

/// A TLS server that answers each connection with a script, on a thread per connection. Clients with whom TLS does not come about are closed.
package final class TLSServer: Sendable {
  package let port: UInt16
  private let accepted = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)

  /// - Parameter serve: called with each connection and its number (from 0); the connection is closed behind it, without close_notify.
  package init(_ context: TLSContext, serve: @escaping @Sendable (TLSPeer, Int) throws -> Void) throws {
    let descriptor = try Socket.listening(on: SocketAddress(.loopbackV4, port: 0), sharing: false)
    port = try Socket.localAddress(descriptor).port
    try Socket.setBlocking(descriptor, timeOutMilliseconds: 50)
    try Threads.spawn(name: "tls-server") { [weak self] in
      while let server = self, !server.stopping.load(ordering: .acquiring) {
        guard case .connection(let client, _) = Socket.accept(descriptor) else { continue }
        let number = server.accepted.add(1, ordering: .acquiringAndReleasing).oldValue
        try? Threads.spawn(name: "tls-conn") {
          try? Socket.setBlocking(client, timeOutMilliseconds: 10_000)
          if let peer = TLSPeer(context, client) { try? serve(peer, number) }
        }
      }
      Socket.close(descriptor)
    }
  }

  /// How many connections have come.
  package var connections: Int { accepted.load(ordering: .acquiring) }
  package func stop() { stopping.store(true, ordering: .releasing) }
  deinit { stop() }
}
