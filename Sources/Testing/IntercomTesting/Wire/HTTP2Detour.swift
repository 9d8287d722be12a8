import HTTPMessage
import IntercomCore
import Linux
import OpenSSL

/// How test clients speak to Intercom.
package enum ClientVersion: Sendable, CaseIterable, CustomStringConvertible {
  case http1
  case http2
  package var description: String { self == .http1 ? "HTTP/1.1" : "HTTP/2" }
}

/// Where `RawHTTPClient` goes over HTTP/2 in place of HTTP/1.1, so that a table of requests is asked over both:
/// `HTTP2Detour.$current.withValue(detour) { … }`.
package struct HTTP2Detour: Sendable {
  @TaskLocal package static var current: HTTP2Detour?

  /// The port that clients name, and the one with TLS of the same server.
  package let plain: Int
  package let secure: UInt16
  private let context: TLSContext

  /// - Parameter context: whom to believe; it must offer HTTP/2.
  package init(from plain: Int, to secure: UInt16, context: TLSContext) {
    self.plain = plain
    self.secure = secure
    self.context = context
  }

  /// One request as `RawHTTPClient` has it. What belongs to a connection of HTTP/1.1 alone is left out (RFC 9113 §8.2.2).
  func send(
    _ method: String, _ url: LoopbackURL, _ fields: [(String, String)], _ body: [UInt8]?, _ timeout: Duration
  ) async throws(RawHTTPError) -> HTTPAnswer {
    var head = [(":method", method), (":scheme", "https"), (":authority", url.authority), (":path", url.target)]
    for (name, value) in fields {
      let name = name.lowercased()
      if ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"].contains(name) { continue }
      head.append((name, Self.trimmed(value)))
    }
    if let body { head.append(("content-length", String(body.count))) }
    let (context, port, sent) = (context, secure, head)
    let outcome: Result<HTTP2Answer, RawHTTPError> = await onOwnThread {
      do {
        let client = try HTTP2Client(port: port, context: context, timeOut: timeout)
        let stream = try client.open(sent, endsStream: body == nil)
        if let body { try client.send(body, on: stream) }
        return .success(try client.answer(on: stream))
      } catch { return .failure(.malformed("\(error)")) }
    }
    let answer = try outcome.get()
    guard answer.isWhole else { throw .closedEarly("RST_STREAM \(answer.resetCode ?? 0) to \(sent)") }
    let made = HTTPAnswer(
      status: answer.status, reason: "", fields: Self.fields(answer.fields), body: answer.body, trailers: Self.fields(answer.trailers),
      interim: answer.interim.map(\.status))
    AnswerWatch.current?.hear(made, from: plain)
    return made
  }

  private static func fields(_ list: [(String, String)]) -> Fields {
    var fields = Fields()
    for (name, value) in list { fields.append(name, bytes: Array(value.utf8)) }
    return fields
  }

  /// Blanks around a value are no part of it in HTTP/1.1, and forbidden here (RFC 9113 §8.2.1).
  private static func trimmed(_ value: String) -> String {
    let blanks: [UInt8] = [0x20, 0x09]
    let start = value.utf8.drop { blanks.contains($0) }
    return String(decoding: start.reversed().drop { blanks.contains($0) }.reversed(), as: UTF8.self)
  }
}
