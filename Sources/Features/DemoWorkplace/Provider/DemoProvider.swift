import HTTPMessage
import HTTPServer
import IntercomCore
import JOSE

/// The embedded OpenID provider: `ProviderCore` with a clock, a transport for logout tokens, and endpoints.
///
/// For the demo and for tests: it signs on whatever thread it runs (0.03 ms with ES256), and holds everything in memory.
package actor DemoProvider {
  /// How long a client may take to accept a logout token; the person waits that long for the sign-out.
  private static let deliveryTimeout = Duration.seconds(5)

  private var core: ProviderCore
  private let time: any TimeSource
  private let transport: any HTTPTransport
  private let observe: @Sendable (ProviderEvent) -> Void
  package nonisolated let urls: ProviderURLs
  nonisolated let cookies: ProviderCookies

  /// - Parameters:
  ///   - keys: the first one signs; all are published at `/jwks`.
  ///   - transport: carries logout tokens to the clients.
  ///   - observe: hears what happened; called in order.
  /// Throws when there is no key or one cannot be published.
  package init(
    _ configuration: ProviderConfiguration, keys: [SigningKey], time: any TimeSource, random: any RandomSource,
    transport: any HTTPTransport, observe: @escaping @Sendable (ProviderEvent) -> Void = { _ in }
  ) throws {
    core = try ProviderCore(configuration, keys: keys, random: random)
    self.time = time
    self.transport = transport
    self.observe = observe
    urls = ProviderURLs(issuer: configuration.issuer)
    cookies = ProviderCookies(urls)
  }

  /// Runs one event on the core and tells the observer what happened.
  private func event<T>(_ body: (inout ProviderCore, WallInstant) throws -> T) rethrows -> T {
    defer {
      for event in core.events { observe(event) }
      core.events = []
    }
    return try body(&core, time.wallNow())
  }

  // MARK: What the endpoints ask

  func metadata() -> [UInt8] { core.metadata.serialized }
  func keySetDocument() -> [UInt8] { JSONWebKeySet.document(core.keys) }
  func hint() -> String? { core.configuration.hint }

  func authorize(_ parameters: [UInt8], _ jar: RequestCookies) -> AuthorizationOutcome {
    event { core, now in core.authorize(parameters, sessionCookies: jar.session, signInCookies: jar.signIn, now: now) }
  }

  func signIn(_ form: ProviderParameters, _ jar: RequestCookies) async -> SignInOutcome {
    let outcome = event { core, now in core.signIn(form, sessionCookies: jar.session, signInCookies: jar.signIn, now: now) }
    if case .redirect(_, _, let deliveries) = outcome { await deliver(deliveries) }
    return outcome
  }

  func token(_ form: ProviderParameters, authorization: String?) -> Result<[UInt8], ProviderFault> {
    event { core, now in
      do throws(ProviderFault) { return .success(try core.token(form, authorization: authorization, now: now).serialized) } catch {
        return .failure(error)
      }
    }
  }

  func userInfo(authorization: String?) -> Result<[UInt8], ProviderFault> {
    event { core, now in
      do throws(ProviderFault) { return .success(try core.userInfo(authorization: authorization, now: now).serialized) } catch {
        return .failure(error)
      }
    }
  }

  func revoke(_ form: ProviderParameters, authorization: String?) -> Result<[UInt8], ProviderFault> {
    event { core, now in
      do throws(ProviderFault) {
        try core.revoke(form, authorization: authorization, now: now)
        return .success([])
      } catch { return .failure(error) }
    }
  }

  func endSession(_ parameters: [UInt8], _ jar: RequestCookies) async -> EndSessionOutcome {
    let outcome = event { core, now in core.endSession(parameters, sessionCookies: jar.session, signInCookies: jar.signIn, now: now) }
    await deliver(outcome.deliveries)
    return outcome
  }

  func confirmEndSession(_ form: ProviderParameters, _ jar: RequestCookies) async -> EndSessionOutcome {
    let outcome = event { core, now in core.confirmEndSession(form, sessionCookies: jar.session, signInCookies: jar.signIn, now: now) }
    await deliver(outcome.deliveries)
    return outcome
  }

  /// Ends the sessions of a person as an administrator would, and tells the clients.
  package func signOutEverywhere(username: Identifier) async {
    let deliveries = event { core, now in core.endSessions(of: username, now: now) }
    await deliver(deliveries)
  }

  // MARK: Back-channel logout

  /// Posts the logout tokens side by side. A task of its own, so that a browser that goes away does not stop them.
  private func deliver(_ deliveries: [LogoutDelivery]) async {
    guard !deliveries.isEmpty else { return }
    let (transport, time, observe) = (transport, time, observe)
    await Task {
      await withTaskGroup(of: Void.self) { group in
        for delivery in deliveries {
          group.addTask {
            let status = await Self.post(delivery, transport, deadline: time.monotonicNow().advanced(by: Self.deliveryTimeout))
            observe(.backChannelLogout(client: delivery.client.description, status: status))
          }
        }
      }
    }.value
  }

  /// [Back-Channel Logout 1.0 §2.5](https://openid.net/specs/openid-connect-backchannel-1_0.html#BCRequest).
  private static func post(_ delivery: LogoutDelivery, _ transport: any HTTPTransport, deadline: MonotonicInstant) async -> Int? {
    var form = FormFields()
    form.append("logout_token", delivery.token.reveal())
    let request = OutboundRequest(
      .post, delivery.url, fields: Fields(["Content-Type": "application/x-www-form-urlencoded"]), body: form.encoded,
      maximumResponseBytes: 65_536)
    return try? await transport.send(request, deadline: deadline).status.code
  }
}

/// The provider's own cookies: who is signed in, and which browser a form was shown to.
struct ProviderCookies: Sendable {
  let session: String
  let signIn: String

  private let isSecure: Bool

  init(_ urls: ProviderURLs) {
    isSecure = urls.isSecure
    let prefix = isSecure ? "__Host-" : ""
    session = prefix + "id-session"
    signIn = prefix + "id-sign-in"
  }

  /// SameSite=Lax: the hidden frame of a portal below the same registrable domain still carries it.
  private func cookie(_ name: String, _ value: String) -> SetCookie? { try? SetCookie(name, Secret(value), isSecure: isSecure) }

  func set(_ name: String, _ value: String, on response: inout Response) {
    if let cookie = cookie(name, value) { response.fields.append("Set-Cookie", cookie.headerValue) }
  }

  func drop(_ name: String, on response: inout Response) {
    if let cookie = cookie(name, "") { response.fields.append("Set-Cookie", cookie.deletion) }
  }

  /// At most four values of each: more are nobody's mistake.
  func read(_ request: Request) -> RequestCookies {
    let header = CookieHeader(request.fields)
    func texts(_ name: String) -> [String] { header.values(name).prefix(4).map { String(decoding: $0.reveal(), as: UTF8.self) } }
    return RequestCookies(session: texts(session), signIn: texts(signIn))
  }
}

/// The values of the provider's cookies in one request; a cookie can come more than once (set by a sibling host), then each is tried.
struct RequestCookies: Sendable {
  var session: [String] = []
  var signIn: [String] = []
}
