import CurlTransport
import DemoWorkplace
import EventLoop
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import Linux

/// The embedded provider on a port of its own, so that its work is not counted with Intercom's.
enum BenchProvider {
  /// Longer than any run: a refresh would disturb what is measured.
  private static let hours: Int64 = 12 * 3600

  static func run(port: UInt16, base: String, secret: String) async throws {
    let issuer = "http://id.localhost:\(port)"
    var configuration = FlowProvider.configuration(issuer: issuer, base: base, secret: secret, password: "password")
    configuration.capacity = 200_000
    configuration.lifetimes.accessToken = hours
    configuration.lifetimes.idToken = hours
    configuration.lifetimes.refreshToken = hours
    let provider = try DemoProvider(
      configuration, keys: [try SigningKey.generate(.es256, keyID: "bench")], time: SystemTime(), random: SystemRandom(),
      transport: try CurlTransport())
    let signals = try serverSignals()
    let loops = try EventLoopGroup(count: 1)
    let endpoint = provider.endpoint
    let server = try await HTTPServer<SingleEndpointHandler>.start(on: [SocketAddress(.loopbackV4, port: port)], loops: loops.loops) { _ in
      SingleEndpointHandler(endpoint)
    }
    BenchHost.say("ready \(issuer)")
    for await signal in signals where signal != .hangup { break }
    await server.stop()
    await loops.stop()
  }
}
