import Cryptography
import IntercomCore
import OpenSSL

/// A setting that differs between two configurations. It holds the name and never a value.
package struct ConfigurationChange: Sendable, Hashable {
  /// Such as `timeouts.connect` or `routes.fs.upstream`; `routes.fs` for a route that is new or gone.
  package let key: String

  /// Only a restart applies it: it belongs to what sessions, listeners or threads were made of.
  package var needsRestart: Bool {
    if ["limits.loops", "limits.workers", "timeouts.providerCall", "timeouts.tokenOperation"].contains(key) { return true }
    let parts = key.split(separator: ".")
    if parts.first == "log", parts.last != "level" { return true }
    return ["listen", "baseURL", "provider", "sessions", "admin", "extraAuthorities"].contains { $0 == parts.first ?? "" }
  }
}

extension Configuration {
  /// What differs between two, in the order of the documentation. Files are compared by what they hold: a certificate that was renewed under its
  /// old name is a change.
  package static func changes(from old: Configuration, to new: Configuration) -> [ConfigurationChange] {
    let (before, after) = (old.settings, new.settings)
    var keys: [String] = []
    for (key, text) in after where !(before.contains { $0.key == key && $0.text == text }) { keys.append(key) }
    for (key, _) in before where !(after.contains { $0.key == key }) { keys.append(key) }
    let names = { (configuration: Configuration) in Set(configuration.routes.map(\.name)) }
    let replaced = names(old).symmetricDifference(names(new))
    let routes = replaced.sorted().map { "routes.\($0)" }
    keys.removeAll { key in routes.contains { key.hasPrefix($0 + ".") } }
    return (keys + routes).map { ConfigurationChange(key: $0) }
  }

  private typealias Row = (key: String, text: String)

  /// Every setting with a text that is the same for the same value. Texts are compared and never shown.
  private var settings: [Row] {
    var rows: [Row] = [
      ("listen", "\(listen)"), ("baseURL", baseURL.text), ("origins", "\(origins)"), ("trustedProxies", "\(trustedProxies)"),
      ("forwardedField", "\(forwardedField)"), ("tls.minimumVersion", "\(tls.minimumVersion)"), ("tls.http2", "\(tls.speaksHTTP2)"),
      ("tls.clientAuthorities", "\(tls.clientAuthorities?.fingerprint ?? [])"),
      ("tls.certificates", "\(tls.certificates.map { [UInt8]($0.name.utf8) + $0.identity.chain.fingerprint })"),
    ]
    rows += Self.rows("provider", provider) + Self.rows("sessions", sessions)
    for route in routes { rows += Self.rows("routes.\(route.name)", route) }
    rows += [
      ("compatibility.originPattern", compatibility.originPattern?.expression ?? ""),
      ("compatibility.csrfCookie", "\(compatibility.csrfCookie)"),
      ("extraAuthorities", "\(extraAuthorities?.file ?? "") \(extraAuthorities?.certificates.fingerprint ?? [])"),
    ]
    return rows + Self.rows("admin", admin) + Self.rows("timeouts", timeouts) + Self.rows("limits", limits) + Self.rows("log", log)
  }

  /// The settings of a section are named as its properties are.
  private static func rows(_ section: String, _ values: Any) -> [Row] {
    Mirror(reflecting: values).children.map { label, value in
      ("\(section).\(label == "isPublic" ? "public" : label ?? "")", text(of: value))
    }
  }

  /// Secrets print nothing, so their digests stand for them; certificates are objects, so their fingerprints do.
  private static func text(of value: Any) -> String {
    switch value {
    case let secret as Secret<String>: digest(Array(secret.reveal().utf8))
    case let keys as [Secret<[UInt8]>]: "\(keys.map { digest($0.reveal()) })"
    case Credential.basic(let claim, let secret): "\(claim) \(digest(Array(secret.reveal().utf8)))"
    case Credential.matrix(let matrix): rows("", matrix).map(\.text).joined(separator: " ")
    case let tls as UpstreamTLS: "\(tls.caFile ?? "") \(tls.chain ?? "") \(tls.serverName ?? "") \(tls.fingerprint)"
    case let redis as Redis: rows("", redis).map(\.text).joined(separator: " ")
    case let certificates as TLSCertificates: "\(certificates.fingerprint)"
    case let identity as TLSIdentity: "\(identity.chain.fingerprint)"
    default: "\(value)"
    }
  }

  private static func digest(_ secret: [UInt8]) -> String { "\(sha256(secret))" }
}
