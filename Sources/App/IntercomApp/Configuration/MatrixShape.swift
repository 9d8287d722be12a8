import ConfigurationYAML
import HTTPMessage
import IntercomCore

extension ConfigurationKeys {
  enum Matrix {
    static let homeserver = Setting<WebURL>(
      "homeserver", .homeserver, required: true, example: "https://matrix.example.org",
      "Where the homeserver's client API is reached: what comes before `/_matrix`.")
    static let serverName = Setting<Identifier>(
      "serverName", .matrixServerName, required: true, example: "example.org",
      "The homeserver's name, which stands behind the colon of its user ids.")
    static let asToken = Setting<Secret<String>>(
      "asToken", .headerSecret, required: true, example: "{fromFile: /run/secrets/matrix-as-token}",
      "The `as_token` of the application service that Intercom is at the homeserver; its namespace must hold all users.")
    static let userClaim = Setting<Identifier>(
      "userClaim", .identifier("claim"), absence: "`sessions.userClaim`",
      """
      The claim that names the user: in lower case it is what stands between `@` and `:` of the user id. One that no user id can hold is \
      refused, not changed.
      """)
    static let loginType = DefaultedSetting<Identifier>(
      "loginType", .identifier("text"), default: "m.login.application_service",
      "The `type` of the login; old homeservers know it as `uk.half-shot.msc2778.login.application_service`.")
    static let mode = DefaultedSetting<Configuration.MatrixMode>(
      "mode", .choice, default: .accessToken,
      """
      What the backend gets: `accessToken` (`Authorization: Bearer` with the user's access token: the backend can do all that the user can), \
      or `openID` (`Authorization: MX-Identity` with an OpenID token, which only tells who the user is).
      """)
    static let caFile = Setting<String>(
      "caFile", .file, absence: "the system's authorities",
      "PEM file of the certificate authorities to trust for the homeserver, instead of the system's.")
    static let rows: [SettingRow] = {
      let section = "routes.*.credential.matrix"
      return [
        homeserver.row(in: section), serverName.row(in: section), asToken.row(in: section), userClaim.row(in: section),
        loginType.row(in: section), mode.row(in: section), caFile.row(in: section),
      ]
    }()
  }
}

extension ValueShape where Value == Configuration.Credential {
  static var matrix: ValueShape {
    ValueShape(type: "map") { value in
      typealias Keys = ConfigurationKeys.Matrix
      let example = "{homeserver: \"https://matrix.example.org\", serverName: example.org, asToken: {fromFile: /path}}"
      guard let section = value.section(expected: "a map", example: example) else { return nil }
      // All are asked for, so that all that is wrong is told at once.
      let (homeserver, serverName, asToken) = (section[Keys.homeserver], section[Keys.serverName], section[Keys.asToken])
      let (userClaim, loginType, mode) = (section[Keys.userClaim], section[Keys.loginType], section[Keys.mode])
      let caFile = section[Keys.caFile]
      if let homeserver, homeserver.value.scheme == .http, !homeserver.value.isLoopback {
        value.reader.warn(
          homeserver, "http on the network: whoever is on the way can read the secret and act as every user",
          homeserver.remedy("write https://\(homeserver.value.bracketedHost)\(homeserver.value.path)", "https://…"))
      }
      if let asToken, asToken.value.reveal().utf8.count < 16 {
        value.reader.warn(asToken, "the secret is short: who guesses it is every user", "write one of 32 characters or more")
      }
      guard let homeserver, let serverName, let asToken else { return nil }
      return .matrix(
        Configuration.Matrix(
          homeserver: homeserver.value, serverName: serverName.value, asToken: asToken.value, userClaim: userClaim?.value,
          loginType: loginType.value, mode: mode.value, caFile: caFile?.value))
    }
  }

  static func showMatrix(_ matrix: Configuration.Matrix) -> String {
    let what = matrix.mode == .openID ? "Matrix OpenID token" : "Matrix access token"
    return "\(what) of @<\(matrix.userClaim?.description ?? "user claim")>:\(matrix.serverName) by \(matrix.homeserver.text)"
  }
}

extension ValueShape where Value == WebURL {
  /// The beginning of the addresses of a homeserver's client API.
  static var homeserver: ValueShape {
    .scalar(type: "URL", range: "http, https", example: "https://matrix.example.org") { (text: String) throws(ValueFault) -> WebURL in
      let url = try WebURL(text)
      guard !url.path.split(separator: "/").contains(where: { $0.utf8.elementsEqual("_matrix".utf8) }) else {
        throw ValueFault("\(quoted(text)) holds /_matrix, which Intercom adds", "write \(url.origin)")
      }
      return url
    }
  }
}

extension ValueShape where Value == Identifier {
  /// `host[:port]` as it stands in user ids ([Matrix, Identifier grammar](https://spec.matrix.org/latest/appendices/#server-name)).
  static var matrixServerName: ValueShape {
    .scalar(type: "server name", example: "example.org") { (text: String) throws(ValueFault) -> Identifier in
      guard !text.contains("/"), !text.contains("@") else {
        throw ValueFault("\(quoted(text)) is no server name", "write what stands behind the colon of a user id, such as example.org")
      }
      let parts = try HostAndPort(text)
      let canonical = (parts.host.contains(":") ? "[\(parts.host)]" : parts.host) + (parts.port.map { ":\($0)" } ?? "")
      guard canonical.utf8.elementsEqual(text.utf8) else {
        throw ValueFault("\(quoted(text)) is not how user ids write it", "write \(canonical)")
      }
      guard canonical.utf8.count <= 230 else { throw ValueFault("longer than 230 bytes", "write the homeserver's name") }
      return Identifier(canonical)
    }
  }
}

extension ValueShape where Value == Secret<String> {
  /// A secret that is sent in a header field: visible ASCII ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
  static var headerSecret: ValueShape {
    let plain = ValueShape<Secret<String>>.secret()
    return ValueShape(type: plain.type, isSecret: true, show: plain.show) { value in
      guard let secret = plain.read(value) else { return nil }
      guard secret.reveal().utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
        value.refuse("the secret holds spaces or other characters that no header field carries", "write it as the other side has it")
        return nil
      }
      return secret
    }
  }
}
