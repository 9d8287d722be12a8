import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import StrictJSON

/// The provider as HTTP endpoints.
extension DemoProvider {
  /// Largest form that is read, in bytes.
  private static let maximumForm = 65_536

  /// One endpoint for each path of the provider's host; paths include the issuer's own.
  package nonisolated var endpoints: [Identifier: Endpoint] {
    var table: [Identifier: Endpoint] = [:]
    for path in ProviderPath.allCases {
      table[Identifier(urls.path(path))] = { [self] request, body in await answer(path, request, body) }
    }
    return table
  }

  /// All of them as one endpoint: for a host that belongs to the provider alone.
  package nonisolated var endpoint: Endpoint {
    let table = endpoints
    return { request, body in
      guard let endpoint = table[Identifier(bytes: request.rawPath)] else {
        return Response(Problem(404, "not_found", "The provider has no such address."))
      }
      return try await endpoint(request, body)
    }
  }

  private nonisolated func answer(_ path: ProviderPath, _ request: Request, _ body: RequestBody) async -> Response {
    let allowed: MethodSet =
      switch path {
      case .discovery, .keys: [MethodSet([.get]), MethodSet([.head])]
      case .authorize, .userInfo, .endSession: [MethodSet([.get]), MethodSet([.head]), MethodSet([.post])]
      case .signIn, .token, .revoke, .confirmSignOut: MethodSet([.post])
      }
    guard allowed.contains(request.method) else {
      let allow = allowed.methods.map(\.name).joined(separator: ", ")
      var response = Response(Problem(405, "method_not_allowed", "This address takes \(allow)."))
      response.fields.append("Allow", allow)
      return response
    }
    var form: [UInt8] = request.query ?? []
    if request.method == .post, path != .userInfo {
      guard isForm(request) else { return Response(Problem(415, "form_expected", "Send a form.")) }
      do throws(BodyError) { form = try await body.collect(upTo: Self.maximumForm) } catch {
        return Response(
          error == .tooLarge ? Problem(413, "too_large", "The form is too long.") : Problem(400, "incomplete", "The form did not arrive."))
      }
    }
    switch path {
    case .discovery: return publicDocument(await metadata())
    case .keys: return publicDocument(await keySetDocument())
    case .authorize: return await authorize(form, request)
    case .signIn, .confirmSignOut: return await sendPage(path, form, request)
    case .token, .revoke: return await backChannel(path, form, request)
    case .userInfo: return oauth(await userInfo(authorization: authorization(request)))
    case .endSession: return page(await endSession(form, cookies.read(request)))
    }
  }

  private nonisolated func isForm(_ request: Request) -> Bool {
    let type = (request.fields.single("content-type") ?? "").utf8.prefix { $0 != UInt8(ascii: ";") && $0 != 0x20 }
    return type.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 } == Array("application/x-www-form-urlencoded".utf8)
  }

  /// A repeated Authorization field is none: it must not be a matter of taste which of them counts.
  private nonisolated func authorization(_ request: Request) -> String? {
    let values = request.fields.values("authorization")
    return values.isEmpty ? nil : (request.fields.single("authorization") ?? "")
  }

  private nonisolated func publicDocument(_ json: [UInt8]) -> Response {
    Response(200, ["Content-Type": "application/json", "Cache-Control": "max-age=60", "Access-Control-Allow-Origin": "*"], json)
  }

  // MARK: Pages

  private nonisolated func authorize(_ parameters: [UInt8], _ request: Request) async -> Response {
    switch await authorize(parameters, cookies.read(request)) {
    case .redirect(let url): return redirect(url)
    case .signIn(let page): return await show(page)
    case .refused(let why): return document(400, ProviderPages.message(title: "This cannot go on", text: why))
    }
  }

  private nonisolated func sendPage(_ path: ProviderPath, _ bytes: [UInt8], _ request: Request) async -> Response {
    let form: ProviderParameters
    do { form = try ProviderParameters(bytes) } catch {
      return document(400, ProviderPages.message(title: "This cannot go on", text: "The form cannot be read."))
    }
    guard path == .signIn else { return page(await confirmEndSession(form, cookies.read(request))) }
    switch await signIn(form, cookies.read(request)) {
    case .redirect(let url, let cookie, _):
      var response = redirect(url)
      if let cookie { cookies.set(cookies.session, cookie, on: &response) }
      return response
    case .again(let page): return await show(page)
    case .refused(let why): return document(400, ProviderPages.message(title: "Please start again", text: why))
    }
  }

  private nonisolated func show(_ page: SignInPage) async -> Response {
    var response = document(200, ProviderPages.signIn(page, action: urls.path(.signIn), hint: await hint()))
    cookies.set(cookies.signIn, page.binding, on: &response)
    return response
  }

  private nonisolated func page(_ outcome: EndSessionOutcome) -> Response {
    var response: Response
    switch outcome.page {
    case .redirect(let url): response = redirect(url)
    case .signedOut: response = document(200, ProviderPages.message(title: "You are signed out", text: "You can close this window."))
    case .refused(let why): response = document(400, ProviderPages.message(title: "This cannot go on", text: why))
    case .confirm(let request, let binding):
      response = document(200, ProviderPages.confirmSignOut(request: request, action: urls.path(.confirmSignOut)))
      cookies.set(cookies.signIn, binding, on: &response)
    }
    if outcome.dropsCookie { cookies.drop(cookies.session, on: &response) }
    return response
  }

  /// 303, so that a sent form becomes a GET ([RFC 9700 §4.12](https://www.rfc-editor.org/rfc/rfc9700#section-4.12)).
  private nonisolated func redirect(_ url: String) -> Response {
    Response(303, ["Location": url, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"], [])
  }

  /// No `form-action` in the policy: browsers apply it to the redirect after the form too, and that goes to the client.
  private nonisolated func document(_ status: Status, _ html: String) -> Response {
    Response(
      status,
      [
        "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Content-Security-Policy": "default-src 'none'; style-src '\(ProviderPages.styleHash)'; base-uri 'none'; frame-ancestors 'none'",
      ], Array(html.utf8))
  }

  // MARK: Clients' own requests

  private nonisolated func backChannel(_ path: ProviderPath, _ bytes: [UInt8], _ request: Request) async -> Response {
    let form: ProviderParameters
    do { form = try ProviderParameters(bytes) } catch { return oauth(.failure(error)) }
    let credentials = authorization(request)
    return oauth(path == .token ? await token(form, authorization: credentials) : await revoke(form, authorization: credentials))
  }

  /// [RFC 6749 §5](https://www.rfc-editor.org/rfc/rfc6749#section-5); 401 and 403 with the challenge of the scheme that is asked for.
  private nonisolated func oauth(_ result: Result<[UInt8], ProviderFault>) -> Response {
    let fields = Fields(["Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"])
    switch result {
    case .success(let json): return Response(200, fields, json)
    case .failure(let fault):
      let json: JSONObject = ["error": .string(fault.code.rawValue), "error_description": .string(fault.description)]
      var response = Response(400, fields, json.serialized)
      switch fault.code {
      case .invalidClient:
        response.status = 401
        response.fields.append("WWW-Authenticate", "Basic realm=\"provider\"")
      case .invalidToken, .insufficientScope:
        response.status = fault.code == .invalidToken ? 401 : 403
        response.fields.append("WWW-Authenticate", "Bearer error=\"\(fault.code.rawValue)\"")
      case .serverError: response.status = 500
      default: break
      }
      return response
    }
  }
}
