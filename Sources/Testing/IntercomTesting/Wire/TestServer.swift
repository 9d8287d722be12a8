import EventLoop
import HTTPMessage
import HTTPServer
import IntercomCore
import Linux
import OpenSSL

/// Loops and a listener on a free port, for the length of a test.
package struct TestServer<Handler: RequestHandler>: Sendable {
  package let group: EventLoopGroup
  package let server: HTTPServer<Handler>
  package var port: UInt16 { server.addresses.first?.port ?? 0 }

  /// Starts, calls `body` with the server, and stops whatever happens.
  package static func run(
    loops: Int = 1, settings: ServerSettings = ServerSettings(), tls: TLSContext? = nil, proxies: [NetworkBlock]? = nil,
    makeHandler: @escaping @Sendable (EventLoop) -> Handler,
    _ body: (TestServer) async throws -> Void
  ) async throws {
    // A fine tick, because tests use time-outs of some hundredths of a second.
    let group = try EventLoopGroup(count: loops, configuration: LoopConfiguration(tick: .milliseconds(5)))
    do {
      let server = try await HTTPServer.start(
        on: [ListenerSetup(SocketAddress(.loopbackV4, port: 0), tls: tls, proxies: proxies)], loops: group.loops, settings: settings,
        makeHandler: makeHandler)
      try await body(TestServer(group: group, server: server))
    } catch {
      await group.stop()
      throw error
    }
    await group.stop()
  }

  /// Runs blocking client code against the port, on a thread of its own.
  package func client<Value: Sendable>(_ body: @escaping @Sendable (UInt16) throws -> Value) async throws -> Value {
    let port = port
    return try await onThread { try body(port) }
  }
}

extension TestServer where Handler == EndpointHandler {
  /// A server of endpoints.
  package static func run(
    _ table: EndpointTable, settings: ServerSettings = ServerSettings(), tls: TLSContext? = nil, proxies: [NetworkBlock]? = nil,
    _ body: (TestServer) async throws -> Void
  ) async throws {
    try await run(settings: settings, tls: tls, proxies: proxies, makeHandler: { _ in EndpointHandler(table) }, body)
  }
}
