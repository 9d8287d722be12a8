import ConfigurationYAML
import Gateway
import HTTPMessage
import IntercomCore

/// Warns of settings that are weaker than their defaults, wherever no other check does, and says what to write instead.
struct WeaknessChecks {
  private let draft: ConfigurationDraft
  private let reader: ConfigurationReader

  init(_ draft: ConfigurationDraft, _ reader: ConfigurationReader) {
    self.draft = draft
    self.reader = reader
  }

  func run() {
    checkTimes()
    if draft.sessions.sameSite.value == .none, draft.baseURL?.value.scheme != .http {
      warn(
        draft.sessions.sameSite, "browsers send the session cookie with requests of every site", "lax", "unless apps of other sites need it"
      )
    }
    for route in draft.routes {
      if route.cookies.value == .pass {
        warn(
          route.cookies, "this backend gets the cookies of every other such backend and of the parent domain, and can set them", "isolate",
          "unless it needs them")
      }
      if reader.isEnvironment, route.name.value == "nob", route.csrf.value == .default {
        warn(route.csrf, "an allowed origin is proof enough, where /nob usually demands the token of every request", "token")
      }
    }
    checkUpstreams()
  }

  private func warn<Value>(_ setting: Located<Value>, _ problem: String, _ text: String, _ unless: String = "") {
    let key = setting.path.split(separator: ".").last.map(String.init) ?? setting.path
    reader.warn(setting, problem, setting.remedy("write \(key): \(text)", text) + (unless.isEmpty ? "" : " \(unless)"))
  }

  /// One line for both times.
  private func checkTimes() {
    let (idle, absolute) = (draft.sessions.idle, draft.sessions.absolute)
    let (usualIdle, usualAbsolute) = (ConfigurationKeys.Sessions.idle.fallback, ConfigurationKeys.Sessions.absolute.fallback)
    let consequence = "so long can whoever finds or steals one use it"
    if idle.value > usualIdle {
      let also = absolute.value > usualAbsolute ? ", and absolute longer than \(showDuration(usualAbsolute))" : ""
      let isSeconds = idle.place == .variable("SESSION_ROLLING_DURATION")
      warn(
        idle, "longer than \(showDuration(usualIdle))\(also): \(consequence)", isSeconds ? "86400" : showDuration(usualIdle),
        "unless that is meant")
    } else if absolute.value > usualAbsolute {
      warn(absolute, "longer than \(showDuration(usualAbsolute)): \(consequence)", showDuration(usualAbsolute), "unless that is meant")
    }
  }

  /// One line for all routes: within a cluster there may be many.
  private func checkUpstreams() {
    let open = draft.routes.filter { route in
      Self.sendsSecret(route.credential?.value) && route.upstream?.value.contains { $0.scheme == .http && !$0.isLoopback } == true
    }
    guard let first = open.first?.upstream else { return }
    let names = open.map { route in
      if case .variable(let name)? = route.upstream?.place { "\(route.name.value) (\(name))" } else { route.name.value }
    }
    reader.warn(
      first, "http on the network: whoever is on the way can read the tokens and passwords for \(names.joined(separator: ", "))",
      "write https://… where the backend speaks it, unless the network itself encrypts")
  }

  private static func sendsSecret(_ credential: Configuration.Credential?) -> Bool {
    switch credential {
    case .accessToken, .exchange, .basic, .matrix: true
    case nil, .some(.none), .headers: false
    }
  }

  // MARK: Domains of strangers

  /// The best known suffixes of two or more labels below which anybody can have a domain. This is not the public suffix list: what is not here may
  /// be one all the same. Suffixes of one label are refused elsewhere, for they hold more domains than anybody owns.
  private static let suffixes = [
    "co.uk", "org.uk", "me.uk", "ac.uk", "gov.uk", "com.au", "net.au", "org.au", "co.nz", "org.nz", "co.jp", "or.jp", "ne.jp", "co.kr",
    "co.in",
    "co.za", "co.il", "com.br", "org.br", "com.mx", "com.ar", "com.tr", "com.cn", "com.tw", "com.hk", "com.sg", "com.pl", "co.at", "or.at",
    "github.io", "gitlab.io", "netlify.app", "vercel.app", "pages.dev", "workers.dev", "web.app", "firebaseapp.com", "herokuapp.com",
    "azurewebsites.net", "cloudfront.net", "s3.amazonaws.com", "appspot.com", "blogspot.com", "fly.dev", "onrender.com", "duckdns.org",
    "dyndns.org", "ngrok.io", "ngrok-free.app", "trycloudflare.com", "nip.io", "sslip.io",
  ]

  /// Such a suffix under which an expression takes every domain; nil when none is known.
  static func openSuffix(of pattern: OriginPattern) -> String? {
    guard let sources = pattern.frameSources else {
      // Names that nobody lists.
      let strangers = ["stranger", "a-stranger-of-1"]
      return suffixes.first { suffix in
        strangers.contains { name in Origin(serialized: "https://\(name).\(suffix)").map { pattern.matches($0) } ?? false }
      }
    }
    let domains = Set(sources.compactMap(domain))
    return suffixes.first { domains.contains(Identifier($0)) }
  }

  /// Of `https://*.domain:*`.
  private static func domain(_ source: String) -> Identifier? {
    source.firstRange(of: "://*.").map { Identifier(String(source[$0.upperBound...].prefix { $0 != ":" })) }
  }
}
