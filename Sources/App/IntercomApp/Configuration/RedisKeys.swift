import ConfigurationYAML
import IntercomCore
import OpenSSL

/// The settings of the store `redis`.
extension ConfigurationKeys {
  enum Redis {
    static let host = Setting<Identifier>(
      "host", .serverHost("host"), absence: "required with `store: redis`", example: "redis.example.org", "The server's name or address.")
    static let port = DefaultedSetting<Int>("port", .integer(1...65_535), default: 6379, "The server's port.")
    static let user = DefaultedSetting<Identifier>(
      "user", .identifier("user"), default: "default", "The ACL user. docs/operations.md tells what it must be allowed.")
    static let password = Setting<Secret<String>>(
      "password", .secret(), absence: "nothing is said about who asks", example: "{fromFile: /run/secrets/redis-password}",
      "Its password.")
    static let database = DefaultedSetting<Int>("database", .integer(0...65_535), default: 0, "The number of the database.")
    static let tls = DefaultedSetting<Bool>("tls", .boolean, default: false, "Speak TLS; the server's certificate is always verified.")
    static let caFile = Setting<String>(
      "caFile", .file, absence: "the system's authorities", "PEM file of the only authorities to trust for the server.")
    static let chain = Setting<String>(
      "chain", .file, "PEM file of the certificate that is shown to the server, with those between it and its authority.")
    static let key = Setting<String>("key", .file, "PEM file of its private key, without a passphrase.")
    static let serverName = Setting<Identifier>(
      "serverName", .serverHost("serverName"), absence: "`host`", "The name that the server's certificate must be for.")
    static let section = "sessions.redis"
    static let rows = [
      host.row(in: section), port.row(in: section), user.row(in: section), password.row(in: section), database.row(in: section),
      tls.row(in: section), caFile.row(in: section), chain.row(in: section), key.row(in: section), serverName.row(in: section),
    ]
  }
}

extension ConfigurationDraft {
  struct Redis {
    let place: ConfigurationPlace
    let isWritten: Bool
    /// Also true when what was written is faulty.
    let hasHost: Bool
    let host: Located<Identifier>?
    let port: Located<Int>
    let user: Located<Identifier>
    let password: Located<Secret<String>>?
    let database: Located<Int>
    let tls: Located<Bool>
    let caFile: Located<String>?
    let chain: Located<String>?
    let key: Located<String>?
    let serverName: Located<Identifier>?
  }
}

extension ConfigurationDraft.Redis {
  init(_ section: ConfigurationSection) {
    typealias Keys = ConfigurationKeys.Redis
    place = section.place
    isWritten = !section.isEmpty
    hasHost = section.has(Keys.host.name)
    host = section[Keys.host]
    port = section[Keys.port]
    user = section[Keys.user]
    password = section[Keys.password]
    database = section[Keys.database]
    tls = section[Keys.tls]
    caFile = section[Keys.caFile]
    chain = section[Keys.chain]
    key = section[Keys.key]
    serverName = section[Keys.serverName]
  }
}

extension ValueShape where Value == Identifier {
  /// A server's name or address and nothing more; `[::1]` means `::1`. `key`: of `sessions.redis`.
  static func serverHost(_ key: String) -> ValueShape {
    ValueShape(type: "host") { value in
      guard let text = ValueShape<String>.text(type: "host", maximum: 512).read(value) else { return nil }
      if let host = bareHost(text) { return Identifier(host) }
      // Not shown when it may hold a password.
      let shown = text.contains("@") ? "this" : quoted(text)
      value.refuse("\(shown) is more than a name or an address", remedy(text, key, value))
      return nil
    }
  }

  private static func bareHost(_ text: String) -> String? {
    if text.hasPrefix("["), text.hasSuffix("]") {
      let inner = text.dropFirst().dropLast()
      return AddressLiteral(inner)?.isV6 == true ? String(inner) : nil
    }
    if AddressLiteral(text) != nil { return text }
    let labels = (text.hasSuffix(".") ? text.dropLast() : text[...]).split(separator: ".", omittingEmptySubsequences: false)
    let isName = labels.allSatisfy { label in
      (1...63).contains(label.utf8.count)
        && label.utf8.allSatisfy { $0 &- 48 < 10 || ($0 | 0x20) &- 97 < 26 || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
    }
    return isName && text.utf8.count <= 254 ? text : nil
  }

  /// The settings in which the parts of a URL or of host and port belong.
  private static func remedy(_ text: String, _ key: String, _ value: ConfigurationValue) -> String {
    var rest = text[...]
    var scheme = ""
    if let end = text.firstRange(of: "://") { (scheme, rest) = (text[..<end.lowerBound].lowercased(), text[end.upperBound...]) }
    rest = rest.prefix { $0 != "/" }
    if let at = rest.lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
    var port: Substring?
    if let colon = rest.lastIndex(of: ":"), !rest.hasSuffix("]") { (port, rest) = (rest[rest.index(after: colon)...], rest[..<colon]) }
    guard let host = bareHost(String(rest)) else { return "write the server's name or address alone" }
    var parts = [(key, host)]
    if key == "host", let port, wholeNumber(String(port)) != nil { parts.append(("port", String(port))) }
    if key == "host", scheme == "rediss" { parts.append(("tls", "true")) }
    let reader = value.reader
    let remedies = parts.map { reader.remedy("\($0): \($1)", "sessions.redis.\($0)", $1) }
    return (reader.isEnvironment ? "" : "write ") + remedies.joined(separator: ", ")
  }
}

/// Checks of the store `redis`.
struct RedisChecks {
  private let draft: ConfigurationDraft
  private let files: TLSFiles
  private var reader: ConfigurationReader { files.reader }

  init(_ draft: ConfigurationDraft, _ files: TLSFiles) {
    self.draft = draft
    self.files = files
  }

  /// Reads the files too. Nil when another store is asked for, or after a fault.
  func run() -> Configuration.Redis? {
    let redis = draft.sessions.redis
    guard draft.sessions.store.value == .redis else {
      if redis.isWritten {
        reader.add(
          ConfigurationFault(
            redis.place, ConfigurationKeys.Redis.section, "no effect with the store '\(draft.sessions.store.value.rawValue)'",
            "remove it, or write store: redis", severity: .warning))
      }
      return nil
    }
    guard let host = redis.host else {
      if !redis.hasHost {
        reader.add(
          ConfigurationFault(
            redis.isWritten ? redis.place : draft.sessions.place, "sessions.redis.host", "missing: where is the server?",
            "write redis: {host: redis.example.org}"))
      }
      return nil
    }
    checkTrust(redis, host)
    let authorities = redis.caFile.flatMap(files.certificates)
    let identity = identity(redis)
    guard authorities != nil || redis.caFile == nil, identity != nil || redis.chain == nil else { return nil }
    return Configuration.Redis(
      host: host.value, port: redis.port.value, user: redis.user.value, password: redis.password?.value, database: redis.database.value,
      speaksTLS: redis.tls.value, authorities: authorities, caFile: redis.caFile?.value, identity: identity, chain: redis.chain?.value,
      serverName: redis.serverName?.value)
  }

  private func identity(_ redis: ConfigurationDraft.Redis) -> TLSIdentity? {
    switch (redis.chain, redis.key) {
    case (let chain?, let key?): return files.identity(chain: chain, key: key)
    case (let chain?, nil): reader.refuse(chain, "its private key is missing", "write key: FILE beside it")
    case (nil, let key?): reader.refuse(key, "its certificate is missing", "write chain: FILE beside it")
    case (nil, nil): break
    }
    return nil
  }

  private func checkTrust(_ redis: ConfigurationDraft.Redis, _ host: Located<Identifier>) {
    if !redis.tls.value {
      for file in [redis.caFile, redis.chain, redis.key].compactMap({ $0 }) {
        reader.warn(file, "no effect without TLS", "write 'tls: true' beside it, or remove the key")
      }
      if !Self.isLoopback(host.value) {
        reader.warn(
          host, "no TLS on the network: whoever is on the way reads the password; sessions themselves are sealed",
          reader.remedy("write 'tls: true'", "sessions.redis.tls", "true"))
      }
    }
    if redis.password == nil, redis.chain == nil, !Self.isLoopback(host.value) {
      reader.warn(
        host, "no password: whoever reaches the server can delete sessions",
        "give Intercom an ACL user and "
          + reader.remedy("write user and password", "sessions.redis.password", "… beside its user"))
    }
  }

  private static func isLoopback(_ host: Identifier) -> Bool {
    let text = host.description
    return text == "localhost" || text.hasSuffix(".localhost") || AddressLiteral(text[...])?.isLoopback ?? false
  }
}
