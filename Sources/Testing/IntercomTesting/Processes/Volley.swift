import IntercomCore
import Linux

/// Sends many GET requests at one moment, each on a connection of its own that is kept for the next volley. Cheap: one thread writes them all,
/// then reads the answers one after the other, which costs nothing since they come to their own sockets.
///
/// One volley at a time.
package final class Volley: Sendable {
  package struct Shot: Sendable {
    package var target: String
    /// Whole lines without their ends, Host left out.
    package var lines: [String]
    package init(_ target: String, _ lines: [String]) {
      self.target = target
      self.lines = lines
    }
  }
  package struct Answer: Sendable {
    package var status: Int
    /// The head as it came.
    package var head: String
    package var body: String
  }

  private final class Line: Sendable {
    let socket: BlockingSocket
    init(_ socket: consuming BlockingSocket) { self.socket = socket }
  }
  private let lines: [Line]
  private let authority: String

  /// Opens `count` connections to 127.0.0.1.
  package init(count: Int, port: Int, authority: String) throws {
    guard let number = UInt16(exactly: port) else { throw RawHTTPError.badURL("port \(port)") }
    let deadline = monotonicNanoseconds() &+ Duration.seconds(20).wholeNanoseconds
    lines = try (0..<count).map { _ in Line(try BlockingSocket(loopbackPort: number, deadline: deadline)) }
    self.authority = authority
  }

  /// The answers, in the order of the shots (at most as many as there are connections). Throws when one has not come whole within `limit`.
  package func fire(_ shots: [Shot], within limit: Duration = .seconds(60)) async throws -> [Answer] {
    let (lines, authority) = (lines, authority)
    let outcome: Result<[Answer], RawHTTPError> = await onOwnThread {
      let deadline = monotonicNanoseconds() &+ limit.wholeNanoseconds
      do throws(RawHTTPError) {
        for (line, shot) in zip(lines, shots) {
          let head = (["GET \(shot.target) HTTP/1.1", "Host: \(authority)"] + shot.lines).joined(separator: "\r\n") + "\r\n\r\n"
          do throws(BlockingSocketError) { try line.socket.send(Array(head.utf8), deadline: deadline) } catch { throw .socket(error) }
        }
        var answers: [Answer] = []
        for line in lines.prefix(shots.count) { answers.append(try Self.answer(line, deadline)) }
        return .success(answers)
      } catch { return .failure(error) }
    }
    return try outcome.get()
  }

  /// An answer with a Content-Length; what else comes would be a surplus byte and is an error.
  private static func answer(_ line: Line, _ deadline: Int64) throws(RawHTTPError) -> Answer {
    var bytes: [UInt8] = []
    var bodyStart: Int?
    var length = 0
    while true {
      if bodyStart == nil, let end = headEnd(bytes) {
        bodyStart = end
        length = contentLength(bytes[..<end])
      }
      if let bodyStart, bytes.count >= bodyStart + length { break }
      let more: [UInt8]
      do throws(BlockingSocketError) { more = try line.socket.receive(deadline: deadline) } catch { throw .socket(error) }
      guard !more.isEmpty else { throw .closedEarly(String(decoding: bytes.prefix(400), as: UTF8.self)) }
      bytes += more
    }
    let start = bodyStart ?? 0
    let head = String(decoding: bytes[..<start], as: UTF8.self)
    guard bytes.count == start + length, let status = Int(head.dropFirst(9).prefix(3)) else { throw .malformed(head) }
    return Answer(status: status, head: head, body: String(decoding: bytes[start...], as: UTF8.self))
  }

  private static func headEnd(_ bytes: [UInt8]) -> Int? {
    guard bytes.count >= 4 else { return nil }
    var index = 3
    while index < bytes.count {
      if bytes[index] == 10, bytes[index - 1] == 13, bytes[index - 2] == 10, bytes[index - 3] == 13 { return index + 1 }
      index += 1
    }
    return nil
  }

  private static func contentLength(_ head: ArraySlice<UInt8>) -> Int {
    for line in head.split(separator: 10) {
      let text = String(decoding: line, as: UTF8.self).lowercased()
      if text.hasPrefix("content-length:") { return Int(text.dropFirst(15).filter(\.isNumber)) ?? 0 }
    }
    return 0
  }
}
