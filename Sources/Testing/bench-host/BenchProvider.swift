import Cryptography
import CurlTransport
import DemoWorkplace
import EventLoop
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import Linux
import Synchronization

/// The embedded provider on a port of its own, so that its work is not counted with Intercom's.
enum BenchProvider {
  /// - Parameter life: of its tokens, in seconds. Refresh tokens live as long as any run.
  static func run(port: UInt16, base: String, secret: String, life: Int64) async throws {
    let issuer = "http://id.localhost:\(port)"
    var configuration = FlowProvider.configuration(issuer: issuer, base: base, secret: secret, password: "password")
    configuration.capacity = 200_000
    configuration.lifetimes.accessToken = life
    configuration.lifetimes.idToken = life
    configuration.lifetimes.refreshToken = 12 * 3600
    let key = try SigningKey.generate(.es256, keyID: "bench")
    let provider = try DemoProvider(
      configuration, keys: [key], time: SystemTime(), random: SystemRandom(),
      transport: try CurlTransport())
    let signals = try serverSignals()
    let loops = try EventLoopGroup(count: 1)
    let endpoint = logoutTokens(of: issuer, key, around: SlowTokens().around(provider.endpoint))
    let server = try await HTTPServer<SingleEndpointHandler>.start(on: [SocketAddress(.loopbackV4, port: port)], loops: loops.loops) { _ in
      SingleEndpointHandler(endpoint)
    }
    BenchHost.say("ready \(issuer)")
    for await signal in signals where signal != .hangup { break }
    await server.stop()
    await loops.stop()
  }

  /// `/bench/logout-token?sub=x` gives a logout token that ends all sessions of x.
  private static func logoutTokens(of issuer: String, _ key: SigningKey, around endpoint: @escaping Endpoint) -> Endpoint {
    { request, body in
      guard request.rawPath == Array("/bench/logout-token".utf8) else { return try await endpoint(request, body) }
      let subject = String(decoding: request.query ?? [], as: UTF8.self).split(separator: "=").last.map(String.init) ?? ""
      let now = SystemTime().wallNow().seconds
      let token = try key.sign(
        [
          "iss": .string(issuer), "aud": "intercom", "iat": .int64(now), "exp": .int64(now + 120), "sub": .string(subject),
          "jti": .string(Base64URL.encode(SystemRandom().bytes(12))),
          "events": ["http://schemas.openid.net/event/backchannel-logout": .object([:])],
        ], type: "logout+jwt")
      return Response(200, [:], Array(token.utf8))
    }
  }
}

/// Makes a provider's token endpoint slow once it is told to, and counts what it is asked from then on.
private final class SlowTokens: Sendable {
  private struct State {
    var pause = Duration.zero
    var count = 0
  }
  private let state = Mutex(State())

  /// `/bench/slow?ms=200` begins, `/bench/tokens` tells the count.
  func around(_ endpoint: @escaping Endpoint) -> Endpoint {
    { [self] request, body in
      switch String(decoding: request.rawPath, as: UTF8.self) {
      case "/bench/slow":
        let query = String(decoding: request.query ?? [], as: UTF8.self)
        let pause = query.split(separator: "=").last.flatMap { Int($0) } ?? 0
        state.withLock { $0 = State(pause: .milliseconds(pause)) }
        return Response(200)
      case "/bench/tokens": return Response(200, [:], Array("\(state.withLock { $0.count })".utf8))
      case "/token":
        let pause = state.withLock { state in
          state.count += 1
          return state.pause
        }
        if pause > .zero { try await SystemTime().sleep(for: pause) }
        return try await endpoint(request, body)
      default: return try await endpoint(request, body)
      }
    }
  }
}
