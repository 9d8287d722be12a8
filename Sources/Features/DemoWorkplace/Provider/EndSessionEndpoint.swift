import IntercomCore
import JOSE
import StrictJSON

/// What a sign-out leads to.
struct EndSessionOutcome {
  enum Page {
    case redirect(String)
    case signedOut
    /// Nothing proves that the person wants it: a form asks. The values are for its hidden field and for the browser's cookie.
    case confirm(request: String, binding: String)
    case refused(String)
  }
  let page: Page
  /// Sent to the clients at once.
  var deliveries: [LogoutDelivery] = []
  /// The browser's cookie is of no use any more.
  var dropsCookie = false
}

/// [RP-Initiated Logout 1.0](https://openid.net/specs/openid-connect-rpinitiated-1_0.html).
extension ProviderCore {
  /// A request with a valid `id_token_hint` asks for no confirmation; one without, while somebody is signed in, does (§2).
  mutating func endSession(
    _ parameters: [UInt8], sessionCookies: [String], signInCookies: [String], now: WallInstant
  ) -> EndSessionOutcome {
    let form: ProviderParameters
    do { form = try ProviderParameters(parameters) } catch {
      return EndSessionOutcome(page: .refused("The application sent a request that cannot be read: \(error.description)."))
    }
    var hinted: JSONObject?
    if let text = form["id_token_hint"] {
      guard let claims = hint(text) else {
        return EndSessionOutcome(page: .refused("The application sent an id_token_hint that is not ours."))
      }
      hinted = claims
    }
    let named = form.identifier("client_id")
    let audience = hinted.map(Self.audience) ?? []
    guard hinted == nil || named == nil || audience.contains(where: { $0 == named }) else {
      return EndSessionOutcome(page: .refused("The client_id does not belong to the id_token_hint."))
    }
    let target: String?
    do { target = try redirect(form, client(named ?? audience.first)) } catch {
      return EndSessionOutcome(page: .refused("The application asked to return to an address that is not registered."))
    }
    let session = self.session(cookies: sessionCookies, now: now)
    if let sid = hinted?["sid"]?.identifier {
      let deliveries = endSession(sid, now: now)
      return EndSessionOutcome(
        page: target.map { .redirect($0) } ?? .signedOut, deliveries: deliveries, dropsCookie: session == nil || session?.id == sid)
    }
    guard session != nil else { return EndSessionOutcome(page: target.map { .redirect($0) } ?? .signedOut, dropsCookie: true) }
    let binding = signInCookies.first { $0.utf8.count == 43 } ?? token()
    guard let sealed = seal(Array((target ?? "").utf8), binding: binding, purpose: "sign-out", now: now) else {
      return EndSessionOutcome(page: .refused("The page cannot be made."))
    }
    return EndSessionOutcome(page: .confirm(request: sealed, binding: binding))
  }

  /// The person confirmed.
  mutating func confirmEndSession(
    _ form: ProviderParameters, sessionCookies: [String], signInCookies: [String], now: WallInstant
  ) -> EndSessionOutcome {
    guard let sealed = form["request"], let (target, _) = open(sealed, bindings: signInCookies, purpose: "sign-out", now: now) else {
      return EndSessionOutcome(page: .refused("This page is too old or belongs to another browser."))
    }
    let session = self.session(cookies: sessionCookies, now: now)
    let deliveries = session.map { endSession($0.id, now: now) } ?? []
    let page: EndSessionOutcome.Page = target.isEmpty ? .signedOut : .redirect(String(decoding: target, as: UTF8.self))
    return EndSessionOutcome(page: page, deliveries: deliveries, dropsCookie: true)
  }

  /// Where to go afterwards: only to an address that is registered for the client, byte for byte (§3).
  private func redirect(_ form: ProviderParameters, _ client: ProviderClient?) throws(ProviderFault) -> String? {
    guard let uri = form["post_logout_redirect_uri"] else { return nil }
    guard let client, client.postLogoutRedirectURIs.contains(where: { Identifier($0) == Identifier(uri) }) else {
      throw ProviderFault(.invalidRequest, "post_logout_redirect_uri is not registered")
    }
    return ProviderParameters.append(form["state"].map { [("state", $0)] } ?? [], to: uri)
  }
}
