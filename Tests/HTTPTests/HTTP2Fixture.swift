import EventLoop
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import OpenSSL
import Synchronization

/// A listener of HTTP/2 and what its clients need.
struct HTTP2Server: Sendable {
  let server: TestServer<EndpointHandler>
  let context: TLSContext

  static func run(
    _ table: EndpointTable = endpoints(), settings: ServerSettings = ServerSettings(), _ body: (HTTP2Server) async throws -> Void
  ) async throws {
    let authority = try await TestAuthority()
    let tls = try TLSContext(
      server: [try await authority.identity("server", names: "DNS:localhost")], protocols: [.http2, .http11])
    let context = try TLSContext(client: try authority.certificates(), protocols: [.http2])
    try await TestServer.run(table, settings: settings, tls: tls) { server in
      try await body(HTTP2Server(server: server, context: context))
    }
  }

  /// Runs a client on a thread of its own.
  func client<Value: Sendable>(
    settings: [(HTTP2Setting, UInt32)] = [], timeOut: Duration = .seconds(20), buffers: Int32? = nil,
    _ body: @escaping @Sendable (HTTP2Client) throws -> Value
  ) async throws -> Value {
    let context = context
    return try await server.client { port in
      try body(HTTP2Client(port: port, context: context, settings: settings, timeOut: timeOut, buffers: buffers))
    }
  }

  /// A client on the same loop that asks one thing after the other as long as `body` runs: how often it was answered.
  func served(during body: () async throws -> Void) async throws -> Int {
    let isOver = Flag()
    async let count = client { client in
      var count = 0
      repeat {
        let answer = try client.answer(on: client.request("/hello"))
        guard answer.status == 200, answer.text == "hello" else { throw HTTP2ClientError.malformed("\(answer)") }
        count += 1
      } while !isOver.isSet
      return count
    }
    let result: Result<Void, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    isOver.set()
    let answers = try await count
    try result.get()
    return answers
  }

  final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
  }
}
