import CurlTransport
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

@Suite("Calls out through libcurl", .timeLimit(.minutes(1)))
struct CurlTransportTests {
  private let time = SystemTime()
  private func within(_ duration: Duration) -> MonotonicInstant { time.monotonicNow().advanced(by: duration) }

  private func server(_ script: @escaping @Sendable (ScriptedServer.Received) -> ScriptedServer.Step) throws -> ScriptedServer {
    try #require(ScriptedServer(script))
  }

  private func failure(_ transport: CurlTransport, _ request: OutboundRequest, _ limit: Duration = .seconds(5)) async -> TransportError? {
    do {
      _ = try await transport.send(request, deadline: within(limit))
      return nil
    } catch { return error }
  }

  private static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: one\r\nx-a:  two \r\n\r\nhi"

  @Test("An answer arrives whole, with repeated fields, and the next call uses the connection again")
  func reuse() async throws {
    let server = try server { _ in .answer(Self.ok) }
    let transport = try CurlTransport()
    for _ in 0..<3 {
      let response = try await transport.send(OutboundRequest(.get, server.origin + "/x?y=1"), deadline: within(.seconds(5)))
      #expect(response.status == 200)
      #expect(response.body == Array("hi".utf8))
      #expect(response.fields.values("x-a") == [Array("one".utf8), Array("two".utf8)])
    }
    #expect(server.connections == 1)
    #expect(server.received.first?.head.hasPrefix("GET /x?y=1 HTTP/1.1\r\n") == true)
    transport.stop()
  }

  @Test("A POST sends its fields and body as given: no Expect, no invented Content-Type, no User-Agent")
  func post() async throws {
    let server = try server { _ in .answer(Self.ok) }
    let transport = try CurlTransport()
    let body = [UInt8](repeating: 7, count: 200_000)
    var request = OutboundRequest(.post, server.origin + "/token", fields: Fields(["Authorization": "Basic eA=="]), body: body)
    _ = try await transport.send(request, deadline: within(.seconds(5)))
    request.body = []
    request.fields = Fields(["Content-Type": "application/x-www-form-urlencoded", "X-Empty": ""])
    _ = try await transport.send(request, deadline: within(.seconds(5)))
    let first = try #require(server.received.first)
    #expect(first.body == body)
    let head = first.head.lowercased()
    #expect(head.contains("\r\nauthorization: basic ea==\r\n"))
    for name in ["expect", "content-type", "user-agent", "accept-encoding"] { #expect(!head.contains("\r\n\(name):"), "\(name)") }
    let second = try #require(server.received.last)
    #expect(second.head.hasPrefix("POST /token HTTP/1.1\r\n"))
    #expect(second.head.contains("\r\nContent-Length: 0\r\n"))
    #expect(second.head.contains("\r\nX-Empty:\r\n"))
    transport.stop()
  }

  @Test("What may not be done twice is sent once, also when the provider closes a kept connection in place of an answer (faults 17, 23)")
  func sentOnce() async throws {
    let server = try server { $0.head.hasPrefix("POST") ? .answerAndClose([]) : .answer(Self.ok) }
    let transport = try CurlTransport()
    _ = try await transport.send(OutboundRequest(.get, server.origin + "/keys"), deadline: within(.seconds(5)))
    let refresh = OutboundRequest(.post, server.origin + "/token", body: Array("grant_type=refresh_token".utf8))
    guard case .broken = await failure(transport, refresh) else {
      Issue.record("there was no answer")
      return
    }
    #expect(server.received.count { $0.head.hasPrefix("POST") } == 1)
    transport.stop()
  }

  @Test("Request forgery by redirect: a redirect is an answer, nothing is followed (S26)")
  func redirect() async throws {
    let server = try server { _ in .answer("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n") }
    let transport = try CurlTransport()
    let response = try await transport.send(OutboundRequest(.get, server.origin + "/"), deadline: within(.seconds(5)))
    #expect(response.status == 302)
    #expect(server.received.count == 1)
    transport.stop()
  }

  @Test(
    "A URL that is not plain http or https is refused before anything is sent",
    arguments: [
      "file:///etc/passwd", "gopher://127.0.0.1:1/", "ftp://127.0.0.1/", "http://user:secret@127.0.0.1/", "http://127.0.0.1/a b",
      "http://127.0.0.1/\r\nX: 1", "http://", "", "127.0.0.1", "http://127.0.0.1\\@x/", "http://ä.example/", "http://127.0.0.1:99999/",
      // Link-local: where clouds keep a machine's own credentials (S26).
      "http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/",
      "http://[fe80::1]/", "http://[FEBF::1]/", "http://[::ffff:169.254.169.254]/", "http://[::ffff:a9fe:a9fe]/",
    ])
  func refusedURL(_ url: String) async throws {
    let transport = try CurlTransport()
    #expect(await failure(transport, OutboundRequest(.get, url)) == .badURL)
    transport.stop()
  }

  @Test(
    "Header injection: a field with control bytes, a name that is no token, or own framing is refused",
    arguments: [
      ("X", "a\r\nEvil: 1"), ("X", "a\0b"), ("X", "a\nb"), ("X", "\u{7f}"), ("X\r\nEvil", "1"), ("X Y", "1"), ("X:", "1"), ("", "1"),
      ("Ä", "1"), ("Content-Length", "5"), ("transfer-encoding", "chunked"), ("Expect", "100-continue"),
    ])
  func refusedField(_ name: String, _ value: String) async throws {
    let server = try server { _ in .answer(Self.ok) }
    let transport = try CurlTransport()
    var fields = Fields()
    fields.append(name, value)
    #expect(await failure(transport, OutboundRequest(.get, server.origin, fields: fields)) == .badField)
    #expect(server.connections == 0)
    transport.stop()
  }

  @Test("A body over the limit is refused, announced or not, and one of exactly the limit passes")
  func size() async throws {
    let server = try server { request in
      request.head.hasPrefix("GET /endless")
        ? .forever(prefix: "HTTP/1.1 200 OK\r\n\r\n", piece: [UInt8](repeating: 65, count: 16_384))
        : .answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + String(repeating: "x", count: 1_000))
    }
    let transport = try CurlTransport()
    #expect(await failure(transport, OutboundRequest(.get, server.origin + "/endless")) == .tooLarge)
    #expect(await failure(transport, OutboundRequest(.get, server.origin + "/", maximumResponseBytes: 999)) == .tooLarge)
    #expect(await failure(transport, OutboundRequest(.get, server.origin + "/", maximumResponseBytes: 1_000)) == nil)
    transport.stop()
  }

  @Test("An endless head is refused at 64 KiB, also when it is made of interim answers")
  func headSize() async throws {
    let server = try server { request in
      request.head.hasPrefix("GET /interim")
        ? .forever(prefix: "", piece: Array("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".utf8))
        : .forever(prefix: "HTTP/1.1 200 OK\r\n", piece: Array("X-Fill: \(String(repeating: "y", count: 500))\r\n".utf8))
    }
    let transport = try CurlTransport()
    #expect(await failure(transport, OutboundRequest(.get, server.origin + "/")) == .tooLarge)
    #expect(await failure(transport, OutboundRequest(.get, server.origin + "/interim")) == .tooLarge)
    transport.stop()
  }

  @Test("A peer that accepts and says nothing costs the deadline and no more")
  func blackHole() async throws {
    let server = try server { _ in .silence }
    let transport = try CurlTransport()
    let start = time.monotonicNow()
    #expect(await failure(transport, OutboundRequest(.get, server.origin), .milliseconds(200)) == .timedOut)
    let took = start.duration(to: time.monotonicNow())
    #expect(took >= .milliseconds(195) && took < .seconds(2), "\(took)")
    #expect(await failure(transport, OutboundRequest(.get, server.origin), .zero) == .timedOut)
    transport.stop()
  }

  @Test(
    "Broken answers are errors, not answers",
    arguments: [
      "", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi",
      "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
    ])
  func broken(_ answer: String) async throws {
    let server = try server { _ in .answerAndClose(Array(answer.utf8)) }
    let transport = try CurlTransport()
    guard case .broken = await failure(transport, OutboundRequest(.get, server.origin)) else {
      Issue.record("not refused: \(answer.debugDescription)")
      return
    }
    transport.stop()
  }

  @Test("Nobody listening and names without an address are unreachable; plain text where TLS is due is a TLS error")
  func unreachable() async throws {
    let server = try #require(ScriptedServer(greeting: "220 no TLS here\r\n") { _ in .silence })
    let port = server.port
    let transport = try CurlTransport()
    guard case .tls = await failure(transport, OutboundRequest(.get, "https://127.0.0.1:\(port)/")) else {
      Issue.record("plain text passed as TLS")
      return
    }
    guard case .unreachable = await failure(transport, OutboundRequest(.get, "http://127.0.0.1:1/")) else {
      Issue.record("port 1 answered")
      return
    }
    transport.stop()
  }

  @Test("localhost and every name below it are this machine", arguments: ["localhost", "id.intercom.localhost", "ID.Intercom.LOCALHOST"])
  func localhost(_ name: String) async throws {
    let server = try server { _ in .answer(Self.ok) }
    let transport = try CurlTransport()
    let response = try await transport.send(OutboundRequest(.get, "http://\(name):\(server.port)/"), deadline: within(.seconds(5)))
    #expect(response.status == 200)
    transport.stop()
  }

  @Test("A cancelled task ends its call at once, before and while it runs")
  func cancellation() async throws {
    let server = try server { _ in .silence }
    let transport = try CurlTransport()
    let url = server.origin
    let running = Task { await failure(transport, OutboundRequest(.get, url), .seconds(30)) }
    while server.received.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
    let start = time.monotonicNow()
    running.cancel()
    #expect(await running.value == .cancelled)
    #expect(start.duration(to: time.monotonicNow()) < .seconds(1))
    let early = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return await failure(transport, OutboundRequest(.get, url), .seconds(30))
    }
    #expect(await early.value == .cancelled)
    transport.stop()
  }

  @Test("More calls than may run wait within their deadlines; more than may wait are refused at once")
  func bounds() async throws {
    let server = try server { _ in .silence }
    let transport = try CurlTransport(.init(maximumRunning: 1, maximumOutstanding: 2))
    let url = server.origin
    let first = Task { await failure(transport, OutboundRequest(.get, url), .seconds(30)) }
    while server.received.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
    #expect(await failure(transport, OutboundRequest(.get, url), .milliseconds(100)) == .timedOut)
    #expect(server.connections == 1)
    let more = await withTaskGroup(of: TransportError?.self) { group in
      for _ in 0..<4 { group.addTask { await failure(transport, OutboundRequest(.get, url), .seconds(2)) } }
      var all: [TransportError?] = []
      for await one in group { all.append(one) }
      return all
    }
    #expect(more.filter { $0 == .timedOut }.count == 1)
    #expect(more.filter { $0 == .unreachable("too many calls are waiting") }.count == 3)
    transport.stop()
    #expect(await first.value == .unreachable("the transport is stopped"))
    #expect(await failure(transport, OutboundRequest(.get, url)) == .unreachable("the transport is stopped"))
  }

  @Test("Three hundred calls at once all end, each with its own answer")
  func parallel() async throws {
    let server = try server { request in
      let path = request.head.split(separator: " ")[1]
      return .answer("HTTP/1.1 200 OK\r\nContent-Length: \(path.utf8.count)\r\n\r\n\(path)")
    }
    let transport = try CurlTransport(.init(maximumRunning: 32))
    let url = server.origin
    let deadline = within(.seconds(20))
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for number in 0..<300 {
        group.addTask {
          let response = try await transport.send(OutboundRequest(.get, url + "/\(number)"), deadline: deadline)
          return response.body == Array("/\(number)".utf8)
        }
      }
      for try await right in group { #expect(right) }
    }
    #expect(server.connections <= 32)
    transport.stop()
  }
}
