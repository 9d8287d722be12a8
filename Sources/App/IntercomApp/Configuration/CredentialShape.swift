import ConfigurationYAML
import HTTPMessage
import IntercomCore

extension ValueShape where Value == Configuration.Credential {
  /// `none`, `accessToken`, or a map with exactly one of `exchange`, `basic`, `headers`, `matrix`.
  static var credential: ValueShape {
    ValueShape(
      type: "`none`, `accessToken` or a map", range: "one of exchange, basic, headers, matrix", show: showCredential,
      read: { readCredential($0) })
  }

  private static let words = ["none", "accessToken"]
  private static let maps = ["exchange", "basic", "headers", "matrix"]
  private static let example = "none, accessToken, {exchange: …}, {basic: …}, {headers: …} or {matrix: …}"

  private static func readCredential(_ value: ConfigurationValue) -> Configuration.Credential? {
    guard value.isMap else {
      guard let text = value.text(expected: "a credential", example: example) else { return nil }
      if text.utf8.elementsEqual("none".utf8) { return Configuration.Credential.none }
      if text.utf8.elementsEqual("accessToken".utf8) { return .accessToken }
      // Not shown: somebody may have written the credential itself here.
      let near = suggestion(for: text, among: words + maps)
      value.refuse("not a kind of credential", near.map { "did you mean \($0)?" } ?? "write \(example)")
      return nil
    }
    guard let section = value.section(expected: "a credential", example: example) else { return nil }
    // All are asked for, so that an unknown key gets its suggestion and is the only fault.
    let exchange = section[ConfigurationKeys.Credential.exchange]
    let basic = section[ConfigurationKeys.Credential.basic]
    let headers = section[ConfigurationKeys.Credential.headers]
    let matrix = section[ConfigurationKeys.Credential.matrix]
    if section.isEmpty { value.refuse("an empty map", "write \(example)") }
    let written = maps.filter(section.has)
    guard written.count < 2 else {
      value.refuse("\(written.joined(separator: " and ")) at once", "keep one: a request carries one credential")
      return nil
    }
    return exchange?.value ?? basic?.value ?? headers?.value ?? matrix?.value
  }

  private static let showCredential: @Sendable (Configuration.Credential) -> String = { credential in
    switch credential {
    case .none: "no credential"
    case .accessToken: "access token"
    case .exchange(let exchange):
      "token for \(exchange.audience)" + (exchange.scope.map { ", scope \($0)" } ?? "")
        + (exchange.resource.map { ", resource \($0)" } ?? "")
        + (exchange.alsoFor.map { ", also for [\($0.map(\.description).joined(separator: ", "))]" } ?? "")
    case .basic(let claim, _): "Basic with claim \(claim)"
    case .headers(let headers): headers.map { "\($0.field) from \($0.claim)" }.joined(separator: ", ")
    case .matrix(let matrix): showMatrix(matrix)
    }
  }

  static var exchange: ValueShape {
    ValueShape(type: "map") { value in
      guard let section = value.section(expected: "a map", example: "{audience: files}") else { return nil }
      let audience = section[ConfigurationKeys.Exchange.audience]
      let scope = section[ConfigurationKeys.Exchange.scope]
      let resource = section[ConfigurationKeys.Exchange.resource]
      let alsoFor = section[ConfigurationKeys.Exchange.alsoFor]
      guard let audience else { return nil }
      return .exchange(
        Configuration.Exchange(
          audience: audience.value, scope: scope?.value, resource: resource?.value, alsoFor: alsoFor?.value))
    }
  }

  static var basic: ValueShape {
    ValueShape(type: "map") { value in
      guard let section = value.section(expected: "a map", example: "{usernameClaim: preferred_username, secret: {fromFile: /path}}")
      else { return nil }
      let claim = section[ConfigurationKeys.Basic.usernameClaim]
      let secret = section[ConfigurationKeys.Basic.secret]
      if let secret, secret.value.reveal().utf8.count < 16 {
        value.reader.warn(
          secret, "the password is short: who guesses it is every user at this backend", "agree on one of 32 characters or more")
      }
      guard let claim, let secret else { return nil }
      return .basic(usernameClaim: claim.value, secret: secret.value)
    }
  }

  /// Field names that Intercom or the connection sets: a claim must not decide them.
  private static let forbidden: Set<FieldName> = [
    "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "TE", "Trailer", "Keep-Alive", "Expect", "Cookie", "Set-Cookie",
    "Proxy-Authorization", "Proxy-Connection", "Origin", "Content-Type", "Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host",
    "X-Forwarded-Proto", "Authorization",
  ]

  static var headers: ValueShape {
    ValueShape(type: "map of field name to claim", range: "1…16 fields") { value in
      guard let pairs = value.pairs(expected: "a map of field names", example: "{X-Remote-User: preferred_username}") else { return nil }
      guard (1...16).contains(pairs.count) else {
        value.refuse("\(pairs.count) fields", "write 1 to 16")
        return nil
      }
      var seen: Set<FieldName> = []
      var headers: [Configuration.HeaderFromClaim] = []
      for (key, claim) in pairs {
        if let fault = fault(ofField: key.value, &seen) {
          value.reader.refuse(key, fault.problem, fault.remedy)
        } else if let claim = ValueShape<Identifier>.identifier("claim").read(claim) {
          headers.append(Configuration.HeaderFromClaim(field: key.value, claim: claim))
        }
      }
      return headers.count == pairs.count ? .headers(headers) : nil
    }
  }

  private static func fault(ofField name: String, _ seen: inout Set<FieldName>) -> ValueFault? {
    guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy(isTokenByte) else {
      return ValueFault("\(quoted(name)) is no field name", "write a name such as X-Remote-User")
    }
    guard !name.utf8.contains(UInt8(ascii: "_")) else {
      return ValueFault("\(quoted(name)) holds '_', which many servers read as '-'", "write '-'")
    }
    guard !forbidden.contains(FieldName(name)) else {
      return ValueFault("\(name) is set by Intercom or by the connection", "choose another name, such as X-Remote-User")
    }
    guard seen.insert(FieldName(name)).inserted else { return ValueFault("\(name) stands here twice (case does not count)", "keep one") }
    return nil
  }
}
