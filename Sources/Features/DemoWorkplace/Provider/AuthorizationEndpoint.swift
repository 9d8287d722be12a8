import Cryptography
import IntercomCore
import JOSE
import StrictJSON

/// A request for a sign-in whose client and redirect URI are known and whose parameters are in order.
struct SignInRequest {
  let client: ProviderClient
  let redirectURI: String
  let scope: [Identifier]
  let state: String?
  let nonce: String?
  let challenge: Identifier?
  let prompt: [Identifier]
  /// Seconds.
  let maxAge: Int64?
  let loginHint: String
  /// `sub` of an `id_token_hint`.
  let expectedSubject: Identifier?
}

/// The page with the form.
struct SignInPage {
  let clientName: String
  /// The sealed request for the hidden field.
  let request: String
  let username: String
  let failed: Bool
  /// The value for the browser's sign-in cookie, to which the form is bound.
  let binding: String
}

enum AuthorizationOutcome {
  case redirect(String)
  case signIn(SignInPage)
  /// A page for the person: nothing may be sent to a client or redirect URI that is not known.
  case refused(String)
}

enum SignInOutcome {
  /// To the client, with a new session cookie (none when another user was expected); a person who was signed in before in this browser is
  /// signed out.
  case redirect(String, cookie: String?, [LogoutDelivery])
  case again(SignInPage)
  case refused(String)
}

/// The authorization endpoint and the sign-in page
/// ([OpenID Connect Core §3.1.2](https://openid.net/specs/openid-connect-core-1_0.html#AuthorizationEndpoint)).
extension ProviderCore {
  /// Longest request that is kept on the sign-in page, in bytes.
  private static let maximumRequest = 8_192

  mutating func authorize(
    _ parameters: [UInt8], sessionCookies: [String], signInCookies: [String], now: WallInstant
  ) -> AuthorizationOutcome {
    let request: SignInRequest
    switch read(parameters) {
    case .success(let good): request = good
    case .failure(let other): return other.outcome
    }
    let session = self.session(cookies: sessionCookies, now: now)
    let user = session.flatMap { self.user(subject: $0.subject) }
    if let session, let user, mayContinue(session, request, now: now) {
      guard !user.mustInteract else {
        return request.prompt.contains("none")
          ? silentRefusal(request, .interactionRequired) : page(request, parameters, signInCookies, now)
      }
      if request.prompt.contains("none") {
        events.append(.silentlySignedIn(user: user.username.description, client: request.client.id.description))
      }
      return .redirect(issueCode(request, session, now: now))
    }
    if request.prompt.contains("none") { return silentRefusal(request, .loginRequired) }
    return page(request, parameters, signInCookies, now)
  }

  /// The session is enough for what the client asks.
  private func mayContinue(_ session: ProviderSession, _ request: SignInRequest, now: WallInstant) -> Bool {
    if request.prompt.contains("login") || request.prompt.contains("select_account") { return false }
    if let expected = request.expectedSubject, expected != session.subject { return false }
    guard let maxAge = request.maxAge else { return true }
    let (age, overflow) = now.seconds.subtractingReportingOverflow(session.authenticatedAt.seconds)
    return !overflow && maxAge > 0 && age <= maxAge
  }

  private mutating func silentRefusal(_ request: SignInRequest, _ code: ProviderFault.Code) -> AuthorizationOutcome {
    events.append(.silentlyRefused(client: request.client.id.description, error: code.rawValue))
    return .redirect(errorURL(request.redirectURI, request.state, ProviderFault(code, "the user must be asked")))
  }

  private func page(_ request: SignInRequest, _ parameters: [UInt8], _ cookies: [String], _ now: WallInstant) -> AuthorizationOutcome {
    guard parameters.count <= Self.maximumRequest else { return .refused("The request is too long.") }
    let binding = cookies.first { $0.utf8.count == 43 } ?? token()
    guard let sealed = seal(parameters, binding: binding, purpose: "sign-in", now: now) else { return .refused("The page cannot be made.") }
    return .signIn(
      SignInPage(clientName: request.client.name, request: sealed, username: request.loginHint, failed: false, binding: binding))
  }

  /// The form was sent.
  mutating func signIn(_ form: ProviderParameters, sessionCookies: [String], signInCookies: [String], now: WallInstant) -> SignInOutcome {
    let stale = "This sign-in page is too old or belongs to another browser. Go back to the application and start again."
    guard let sealed = form["request"], let (parameters, binding) = open(sealed, bindings: signInCookies, purpose: "sign-in", now: now),
      case .success(let request) = read(parameters)
    else { return .refused(stale) }
    let username = form["username"] ?? ""
    guard let user = check(username: username, password: form["password"] ?? "") else {
      events.append(.signInFailed)
      return .again(
        SignInPage(
          clientName: request.client.name, request: sealed, username: String(username.prefix(200)), failed: true, binding: binding))
    }
    if let expected = request.expectedSubject, expected != user.subject {
      let fault = ProviderFault(.loginRequired, "another user signed in")
      return .redirect(errorURL(request.redirectURI, request.state, fault), cookie: nil, [])
    }
    let old = self.session(cookies: sessionCookies, now: now)
    var deliveries: [LogoutDelivery] = []
    if let old, old.subject != user.subject { deliveries = endSession(old.id, now: now) }
    let (session, cookie) = startSession(user, replacing: old, now: now)
    events.append(.signedIn(user: user.username.description, client: request.client.id.description))
    return .redirect(issueCode(request, session, now: now), cookie: cookie, deliveries)
  }

  /// Compares in constant time, and compares something for an unknown user too.
  private func check(username: String, password: String) -> ProviderUser? {
    let user = configuration.users.first { $0.username == Identifier(username) }
    let expected = sha256(Array((user?.password.reveal() ?? "\u{0}").utf8))
    let matches = constantTimeEqual(sha256(Array(password.utf8)), expected)
    return matches ? user : nil
  }

  private mutating func issueCode(_ request: SignInRequest, _ session: ProviderSession, now: WallInstant) -> String {
    let code = token()
    let record = AuthorizationCode(
      client: request.client.id, redirectURI: Identifier(request.redirectURI), scope: request.scope, nonce: request.nonce,
      challenge: request.challenge, session: session.id, redeemedAs: nil)
    codes.set(Self.hash(code), record, until: now.advanced(by: .seconds(configuration.lifetimes.code)), now: now)
    var pairs = [("code", code)]
    if let state = request.state { pairs.append(("state", state)) }
    pairs.append(("iss", configuration.issuer))
    return ProviderParameters.append(pairs, to: request.redirectURI)
  }

  /// An error for the client, with `iss` ([RFC 9207 §2](https://www.rfc-editor.org/rfc/rfc9207#section-2)).
  func errorURL(_ redirectURI: String, _ state: String?, _ fault: ProviderFault) -> String {
    var pairs = [("error", fault.code.rawValue), ("error_description", fault.description)]
    if let state { pairs.append(("state", state)) }
    pairs.append(("iss", configuration.issuer))
    return ProviderParameters.append(pairs, to: redirectURI)
  }

  // MARK: Reading the request

  /// A request that goes no further: a page, or an error for the client.
  struct Unusable: Error { let outcome: AuthorizationOutcome }

  func read(_ parameters: [UInt8]) -> Result<SignInRequest, Unusable> {
    let form: ProviderParameters
    do { form = try ProviderParameters(parameters) } catch {
      return .failure(Unusable(outcome: .refused("The application sent a request that cannot be read: \(error.description).")))
    }
    guard let client = self.client(form.identifier("client_id")) else {
      return .failure(Unusable(outcome: .refused("The application is not registered here.")))
    }
    guard let redirectURI = form["redirect_uri"], client.redirectURIs.contains(where: { Identifier($0) == Identifier(redirectURI) }) else {
      return .failure(Unusable(outcome: .refused("The application asked to return to an address that is not registered.")))
    }
    do { return .success(try request(form, client, redirectURI)) } catch {
      return .failure(Unusable(outcome: .redirect(errorURL(redirectURI, form["state"], error))))
    }
  }

  private func request(_ form: ProviderParameters, _ client: ProviderClient, _ redirectURI: String) throws(ProviderFault) -> SignInRequest {
    guard form["request"] == nil else { throw ProviderFault(.requestNotSupported, "request objects are not supported") }
    guard form["request_uri"] == nil else { throw ProviderFault(.requestURINotSupported, "request_uri is not supported") }
    guard let type = form.identifier("response_type") else { throw ProviderFault(.invalidRequest, "response_type is missing") }
    guard type == "code" else { throw ProviderFault(.unsupportedResponseType, "only the code flow is supported") }
    guard form["response_mode"] == nil || form.identifier("response_mode") == "query" else {
      throw ProviderFault(.invalidRequest, "only response_mode query is supported")
    }
    let scope = form.words("scope").filter { Self.knownScopes.contains($0) }
    guard scope.contains("openid") else { throw ProviderFault(.invalidScope, "scope must contain openid") }
    let prompt = form.words("prompt")
    guard !prompt.contains("none") || prompt.count == 1 else { throw ProviderFault(.invalidRequest, "prompt none stands alone") }
    var maxAge: Int64?
    if let text = form["max_age"] {
      guard let seconds = Int64(text), seconds >= 0 else { throw ProviderFault(.invalidRequest, "max_age is not a number") }
      maxAge = seconds
    }
    var expected: Identifier?
    if let hint = form["id_token_hint"] {
      guard let subject = self.hint(hint)?["sub"]?.identifier else { throw ProviderFault(.invalidRequest, "id_token_hint is not valid") }
      expected = subject
    }
    return SignInRequest(
      client: client, redirectURI: redirectURI, scope: scope, state: form["state"], nonce: form["nonce"],
      challenge: try challenge(form, client), prompt: prompt, maxAge: maxAge, loginHint: String((form["login_hint"] ?? "").prefix(200)),
      expectedSubject: expected)
  }

  private static let knownScopes: Set<Identifier> = ["openid", "profile", "email", "offline_access"]

  /// [RFC 7636 §4.3](https://www.rfc-editor.org/rfc/rfc7636#section-4.3); `plain` is not offered.
  private func challenge(_ form: ProviderParameters, _ client: ProviderClient) throws(ProviderFault) -> Identifier? {
    guard let challenge = form.identifier("code_challenge") else {
      guard !client.requiresPKCE, client.secret != nil, form["code_challenge_method"] == nil else {
        throw ProviderFault(.invalidRequest, "code_challenge is missing")
      }
      return nil
    }
    guard form.identifier("code_challenge_method") == "S256" else {
      throw ProviderFault(.invalidRequest, "code_challenge_method must be S256")
    }
    guard challenge.bytes.count == 43, Base64URL.decode(challenge.bytes) != nil else {
      throw ProviderFault(.invalidRequest, "code_challenge is not well-formed")
    }
    return challenge
  }

  // MARK: Values that wait on a page

  /// Seals bytes for a hidden field, bound to the browser's cookie and to what the page is for.
  func seal(_ bytes: [UInt8], binding: String, purpose: String, now: WallInstant) -> String? {
    let end = now.advanced(by: .seconds(configuration.lifetimes.signIn)).seconds
    guard let sealed = try? ring.seal(Array("\(end) ".utf8) + bytes, context: Array("\(purpose) \(binding)".utf8)) else { return nil }
    return Base64URL.encode(sealed)
  }

  func open(_ text: String, bindings: [String], purpose: String, now: WallInstant) -> (bytes: [UInt8], binding: String)? {
    guard let sealed = Base64URL.decode(text) else { return nil }
    for binding in bindings {
      guard let opened = ring.open(sealed, context: Array("\(purpose) \(binding)".utf8)) else { continue }
      let parts = opened.split(separator: 0x20, maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, let end = Int64(String(decoding: parts[0], as: UTF8.self)), now.seconds < end else { return nil }
      return (Array(parts[1]), binding)
    }
    return nil
  }
}
