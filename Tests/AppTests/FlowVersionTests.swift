import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

/// The same requests over HTTP/1.1 and over HTTP/2 to one running instance: what is answered and what arrives upstream differ in nothing but
/// what the version itself says.
@Suite("Flow: versions", .serialized, .timeLimit(.minutes(3)))
struct FlowVersionTests {
  private struct Question: Sendable, CustomStringConvertible {
    var method: String
    var target: String
    var fields: [(String, String)]
    var isSignedIn: Bool
    var body: [UInt8]?
    var description: String { "\(method) \(target) \(fields) \(isSignedIn ? "with" : "without") a session" }
  }

  /// What may differ: the version's own fields, the clock, and what is drawn for each answer.
  private static let own: [FieldName] = ["connection", "transfer-encoding", "keep-alive", "date", "set-cookie", "location"]

  private static func text(_ answer: HTTPAnswer) -> String {
    var lines = ["\(answer.status)"]
    for field in answer.fields.all where !own.contains(FieldName(field.name)) {
      lines.append("\(field.name.lowercased()): \(String(decoding: field.value, as: UTF8.self))")
    }
    // The names and attributes of cookies and the place of a redirect stay; what is random in them does not.
    for cookie in answer.all("set-cookie") {
      lines.append(
        "set-cookie: " + (cookie.split(separator: "=").first ?? "") + (cookie.split(separator: ";").dropFirst().joined(separator: ";")))
    }
    for location in answer.all("location") { lines.append("location: " + (location.split(separator: "?").first ?? "")) }
    return lines.joined(separator: "\n")
  }

  /// Names are written in lower case in HTTP/2, and a backend may get them as they came.
  private static func text(_ request: SeenRequest) -> String {
    let fields = request.fields.all.map { "\($0.name.lowercased()): \(String(decoding: $0.value, as: UTF8.self))\n" }
    return
      "\(request.method.name) \(request.path)?\(request.query ?? "")\n\(fields.joined())\n\(String(decoding: request.body, as: UTF8.self))"
  }

  /// Every door with every method, by a script, by a navigation, from elsewhere, with forged fields, with and without a session.
  private static func questions(_ flow: FlowFixture) -> [Question] {
    let script = [("Origin", flow.app), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")]
    let callers = [
      script, FlowFixture.navigation, [], [("Origin", "https://evil.example")], script + FlowFixture.forgedIdentity,
      script + [("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-a")],
    ]
    var questions: [Question] = []
    let kept = flow.doors.filter { !["/login", "/logout", "/callback", "/silent", "/slow/door", "/session"].contains($0.target) }
    for door in kept {
      for (number, fields) in callers.enumerated() {
        for isSignedIn in [true, false] {
          for method in number == 0 ? ["GET", "HEAD", "PUT", "PROPFIND", "MKCOL", "DELETE", "TRACE", "BREW"] : ["GET", "OPTIONS"] {
            let body = method == "PUT" ? Array("body".utf8) : method == "PROPFIND" ? [] : nil
            questions.append(Question(method: method, target: door.target, fields: fields, isSignedIn: isSignedIn, body: body))
          }
        }
      }
    }
    let paths = [
      "/fs/../own/x", "/fs/%2e%2e/x", "/fs/a%2fb", "/own/a%2fb", "/fs//x", "/fs/x;y", "/fs/..;/x", "/fs/%5cx", "/fs/%00", "/fs/%zz",
      "/f%73/x",
      "/fs/x?a=/../b", "/fs/x#y", "/FS/x", "/fs", "/fs/?", "/nowhere", "/plain/%E4%B8%AD",
      "/plain/x?" + String(repeating: "q", count: 9_000),
    ]
    for path in paths { questions.append(Question(method: "GET", target: path, fields: script, isSignedIn: true)) }
    for fields in [
      [("Expect", "x")], [("Content-Length", "0x1")], [("X", String(repeating: "a", count: 20_000))], [("X-CSRF-Token", "")],
      [("Authorization", "Basic YTpi")], [("Cookie", "x=1")], [("Range", "bytes=0-1")], [("Depth", "infinity"), ("Destination", "/own/x")],
      (0..<130).map { ("X-\($0)", "y") },
    ] { questions.append(Question(method: "GET", target: "/plain/x", fields: script + fields, isSignedIn: true)) }
    return questions
  }

  @Test("Each question gets the same answer over both versions, and the same request arrives upstream, or none (S1, S23)")
  func same() async throws {
    try await FlowFixture.run(over: .http2) { flow in
      let visitor = try await flow.signedIn()
      for question in Self.questions(flow) {
        var seen: [(answer: String, arrived: [String])] = []
        let way = HTTP2Detour.current
        #expect(way != nil)
        for detour in [nil, way] {
          flow.upstream.forget()
          let answer = try await HTTP2Detour.$current.withValue(detour) {
            var address = try flow.url("/")
            address.target = question.target
            let client = question.isSignedIn ? visitor : Visitor(timeout: .seconds(20))
            do {
              return Self.text(try await client.send(question.method, address, question.fields, body: question.body))
            } catch RawHTTPError.closedEarly(let why) where why.hasPrefix("RST_STREAM") { return why }
          }
          seen.append((answer, flow.upstream.requests.map(Self.text)))
        }
        // Nghttp2 refuses what is no field of a length before we see it.
        let isRefused = seen[1].answer.hasPrefix("RST_STREAM 1") && seen[0].answer.hasPrefix("400")
        #expect(seen[0].answer == seen[1].answer || isRefused, "\(question)")
        #expect(seen[0].arrived == seen[1].arrived, "\(question)")
      }
    }
  }
}
