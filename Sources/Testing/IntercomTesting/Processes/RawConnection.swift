import HTTPMessage
import IntercomCore
import Linux

/// Why a test client got no answer.
package enum RawHTTPError: Error, Sendable, CustomStringConvertible {
  case badURL(String)
  case socket(BlockingSocketError)
  /// The peer closed before the answer's end; what had come is shown.
  case closedEarly(String)
  case malformed(String)

  package var description: String {
    switch self {
    case .badURL(let url): "not a URL of a loopback server: \(url)"
    case .socket(let error): "\(error)"
    case .closedEarly(let seen): "the connection closed before the end of the answer; came: \(seen.prefix(400))"
    case .malformed(let seen): "not an HTTP/1.1 answer: \(seen.prefix(400))"
    }
  }
}

/// An answer as it came: nothing decoded but the chunks.
package struct HTTPAnswer: Sendable {
  package var status: Int
  package var reason: String
  package var fields: Fields
  package var body: [UInt8]
  /// Fields after a chunked body.
  package var trailers: Fields
  /// Interim answers (1xx) that came before.
  package var interim: [Int]

  /// The value of a field that came exactly once.
  package func field(_ name: FieldName) -> String? { fields.single(name) }
  package func all(_ name: FieldName) -> [String] { fields.values(name).map { String(decoding: $0, as: UTF8.self) } }
  package var text: String { String(decoding: body, as: UTF8.self) }
}

/// One connection of a test client: raw bytes out, answers or raw bytes in. Calls block a thread of their own, never the concurrency pool.
package actor RawConnection {
  private let socket: SharedSocket
  private var buffer: [UInt8] = []
  private let port: Int
  private let timeout: Duration

  private final class SharedSocket: Sendable {
    let socket: BlockingSocket
    init(_ socket: consuming BlockingSocket) { self.socket = socket }
  }

  private init(_ socket: SharedSocket, port: Int, timeout: Duration) {
    self.socket = socket
    self.port = port
    self.timeout = timeout
  }

  /// Connects to 127.0.0.1. `timeout` holds for the connection and for each later call.
  package static func open(port: Int, timeout: Duration = .seconds(10)) async throws(RawHTTPError) -> RawConnection {
    guard let number = UInt16(exactly: port) else { throw .badURL("port \(port)") }
    let limit = timeout.wholeNanoseconds
    let opened: Result<SharedSocket, BlockingSocketError> = await onOwnThread {
      do throws(BlockingSocketError) {
        return .success(SharedSocket(try BlockingSocket(loopbackPort: number, deadline: monotonicNanoseconds() &+ limit)))
      } catch { return .failure(error) }
    }
    switch opened {
    case .success(let socket): return RawConnection(socket, port: port, timeout: timeout)
    case .failure(let error): throw .socket(error)
    }
  }

  package func send(_ bytes: [UInt8]) async throws(RawHTTPError) {
    let (socket, limit) = (socket, timeout.wholeNanoseconds)
    let failure: BlockingSocketError? = await onOwnThread {
      do throws(BlockingSocketError) {
        try socket.socket.send(bytes, deadline: monotonicNanoseconds() &+ limit)
        return nil
      } catch { return error }
    }
    if let failure { throw .socket(failure) }
  }

  package func send(_ text: String) async throws(RawHTTPError) { try await send(Array(text.utf8)) }

  /// No more bytes follow (FIN); answers can still be read.
  package func finishSending() { socket.socket.shutdownSending() }
  /// The connection will end by a reset when this object goes away.
  package func resetWhenDone() { socket.socket.resetOnClose() }
  /// A small receive buffer makes a client that does not read felt soon.
  package func setReceiveBuffer(bytes: Int32) { socket.socket.setReceiveBuffer(bytes: bytes) }

  /// The next bytes, empty at the end of the stream. A reset counts as an end when `resetIsEnd`.
  package func receive(_ maximum: Int = 65_536, resetIsEnd: Bool = false) async throws(RawHTTPError) -> [UInt8] {
    if !buffer.isEmpty {
      let piece = Array(buffer.prefix(maximum))
      buffer.removeFirst(piece.count)
      return piece
    }
    return try await receiveFromSocket(maximum, resetIsEnd: resetIsEnd)
  }

  /// Everything until the peer closes or resets.
  package func receiveToEnd() async throws(RawHTTPError) -> [UInt8] {
    var all = buffer
    buffer = []
    while true {
      let piece = try await receiveFromSocket(65_536, resetIsEnd: true)
      if piece.isEmpty { return all }
      all += piece
    }
  }

  /// The next final answer. `method` decides whether it can have a body (RFC 9112 §6.3).
  package func answer(to method: String = "GET") async throws(RawHTTPError) -> HTTPAnswer {
    var interim: [Int] = []
    while true {
      var answer = try await head()
      if (100..<200).contains(answer.status), answer.status != 101 {
        interim.append(answer.status)
        continue
      }
      answer.interim = interim
      let bodiless = method == "HEAD" || [101, 204, 304].contains(answer.status)
      if !bodiless { try await readBody(&answer) }
      AnswerWatch.current?.hear(answer, from: port)
      return answer
    }
  }

  private func head() async throws(RawHTTPError) -> HTTPAnswer {
    guard let first = try await line(), !first.isEmpty else { throw .closedEarly("") }
    let parts = first.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]) else { throw .malformed(first) }
    let fields = try await fieldLines()
    return HTTPAnswer(
      status: status, reason: parts.count > 2 ? String(parts[2]) : "", fields: fields, body: [], trailers: Fields(), interim: [])
  }

  private func fieldLines() async throws(RawHTTPError) -> Fields {
    var fields = Fields()
    while let text = try await line() {
      if text.isEmpty { return fields }
      guard let colon = text.firstIndex(of: ":") else { throw .malformed(text) }
      let value = text[text.index(after: colon)...].utf8.drop { $0 == 0x20 || $0 == 0x09 }
      fields.append(String(text[..<colon]), bytes: Array(value))
    }
    throw .closedEarly("a head without its end")
  }

  private func readBody(_ answer: inout HTTPAnswer) async throws(RawHTTPError) {
    if let coding = answer.field("transfer-encoding"), coding == "chunked" {
      while true {
        guard let size = try await line(), let count = Int(size.prefix { $0 != ";" && $0 != " " }, radix: 16) else {
          throw .malformed("a bad chunk size")
        }
        if count == 0 { break }
        answer.body += try await exactly(count)
        guard try await line() == "" else { throw .malformed("a chunk without its end") }
      }
      answer.trailers = try await fieldLines()
    } else if let text = answer.field("content-length") {
      guard let count = Int(text), count >= 0 else { throw .malformed("content-length: \(text)") }
      answer.body = try await exactly(count)
    } else {
      answer.body = try await receiveToEnd()
    }
  }

  private func exactly(_ count: Int) async throws(RawHTTPError) -> [UInt8] {
    while buffer.count < count { try await fill() }
    let piece = Array(buffer.prefix(count))
    buffer.removeFirst(count)
    return piece
  }

  /// A line without its CRLF; nil when the stream ends before any byte of it.
  private func line() async throws(RawHTTPError) -> String? {
    while true {
      if let end = buffer.firstIndex(of: 0x0a) {
        let text = buffer[..<end]
        buffer.removeFirst(end + 1)
        return String(decoding: text.last == 0x0d ? text.dropLast() : text, as: UTF8.self)
      }
      let piece = try await receiveFromSocket(65_536, resetIsEnd: false)
      if piece.isEmpty {
        if buffer.isEmpty { return nil }
        throw .closedEarly(String(decoding: buffer, as: UTF8.self))
      }
      buffer += piece
    }
  }

  private func fill() async throws(RawHTTPError) {
    let piece = try await receiveFromSocket(65_536, resetIsEnd: false)
    guard !piece.isEmpty else { throw .closedEarly(String(decoding: buffer, as: UTF8.self)) }
    buffer += piece
  }

  private func receiveFromSocket(_ maximum: Int, resetIsEnd: Bool) async throws(RawHTTPError) -> [UInt8] {
    let (socket, limit) = (socket, timeout.wholeNanoseconds)
    let received: Result<[UInt8], BlockingSocketError> = await onOwnThread {
      do throws(BlockingSocketError) {
        return .success(try socket.socket.receive(maximum, deadline: monotonicNanoseconds() &+ limit))
      } catch { return .failure(error) }
    }
    switch received {
    case .success(let bytes): return bytes
    case .failure(let error):
      if resetIsEnd, error.reset { return [] }
      throw .socket(error)
    }
  }
}
