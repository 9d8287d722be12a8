import ConfigurationYAML
import Gateway
import IntercomCore

/// Settings for deployments that come from the Intercom Service. None of them is needed by a new one.
extension ConfigurationKeys {
  enum Compatibility {
    static let originPattern = Setting<String>(
      "originPattern", .text(type: "regular expression"), absence: "`origins` alone",
      """
      Further origins that count as allowed, by one expression that is compared with the whole origin: literals, `[…]`, `(…|…)`, `?`, `*`, \
      `+`, `{n,m}`, `\\d`, `\\w`; a `.` that is not repeated means a dot. Refused when it takes no origin or those of strangers. A list in \
      `origins` is safer and says more.
      """)
    static let csrfCookie = DefaultedSetting<Bool>(
      "csrfCookie", .boolean, default: false,
      """
      Set the cookie `_csrf_token` with the CSRF token for pages to read, and take the token from a query field `_csrf_token` too. The field \
      reaches the upstream with the rest of the query.
      """)
    static let section = "compatibility"
    static let rows = [originPattern.row(in: section), csrfCookie.row(in: section)]
  }
}

extension ConfigurationDraft {
  struct Compatibility {
    let originPattern: Located<String>?
    let csrfCookie: Located<Bool>

    init(_ section: ConfigurationSection) {
      originPattern = section[ConfigurationKeys.Compatibility.originPattern]
      csrfCookie = section[ConfigurationKeys.Compatibility.csrfCookie]
    }
  }

  /// Nil when the expression cannot be used.
  func compatibilityModel(_ reader: ConfigurationReader) -> Configuration.Compatibility? {
    if compatibility.csrfCookie.value {
      reader.warn(
        compatibility.csrfCookie, "every script of Intercom's own site can read the CSRF token, and it stands in logs of what is asked for",
        "let the apps send the header X-CSRF-Token, and \(reader.remedy("write false", "compatibility.csrfCookie", "false"))")
      if baseURL?.value.scheme == .http {
        reader.refuse(
          compatibility.csrfCookie, "browsers refuse the cookie, which needs Secure, and the base URL is http",
          reader.remedy("write false, or an https base URL", "compatibility.csrfCookie", "false"))
      }
    }
    guard let written = compatibility.originPattern else {
      return Configuration.Compatibility(originPattern: nil, csrfCookie: compatibility.csrfCookie.value)
    }
    do throws(OriginPatternFault) {
      let pattern = try OriginPattern(written.value, allowsHTTP: baseURL?.value.scheme == .http)
      let listed = reader.remedy("list them under origins and remove the expression", "origins", "https://…,https://…")
      reader.warn(written, "an expression allows whole families of origins, also those that do not exist yet", listed)
      if pattern.frameSources == nil {
        reader.warn(
          written, "no list of hosts can be derived from it: only listed origins can frame /silent, unless the Referer names the page",
          "write it as https://[a-z0-9-]+\\.example\\.org, or \(listed)")
      }
      for one in pattern.idleAlternatives() {
        reader.warn(written, "its alternative \(quoted(one.text)) \(one.fault.problem)", one.fault.remedy)
      }
      if let suffix = WeaknessChecks.openSuffix(of: pattern) {
        reader.warn(
          written, "it takes every domain below \(suffix), where strangers can register theirs",
          "write out your own domain before it, or \(listed)")
      }
      return Configuration.Compatibility(originPattern: pattern, csrfCookie: compatibility.csrfCookie.value)
    } catch {
      reader.refuse(written, "\(quoted(written.value)) \(error.problem)", error.remedy)
      return nil
    }
  }
}
