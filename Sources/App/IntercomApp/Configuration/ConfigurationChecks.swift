import ConfigurationYAML
import HTTPMessage
import IntercomCore

/// What no single setting can know: contradictions, double routes, settings that are allowed but weak.
extension ConfigurationDraft {
  ///
  /// - Parameter foresee: what stands in the way of opening a session database, as far as it can be told without opening it.
  func check(_ reader: ConfigurationReader, _ readFile: @escaping ReadConfigurationFile, foresee: ForeseeStore) {
    checkAddresses(reader)
    checkProvider(reader, readFile)
    checkSessions(reader)
    checkDatabase(reader, foresee)
    checkNumbers(reader)
    WeaknessChecks(self, reader).run()
    RouteChecks(self, reader, readFile).run()
  }

  // MARK: Addresses

  private func checkAddresses(_ reader: ConfigurationReader) {
    if let baseURL, baseURL.value.scheme == .http, !baseURL.value.isLoopback {
      reader.warn(
        baseURL, "http on the network: whoever is on the way can read session cookies and take sessions over",
        "write https://\(baseURL.value.bracketedHost)")
    }
    for origin in origins.value where origin.url.scheme == .http && baseURL?.value.scheme == .https && !origin.url.isLoopback {
      reader.warn(origins, "the origin \(origin.text) is http: whoever is on the way can act as this app", "serve the app by https")
    }
    checkOverlaps(reader)
    if !adminAddress.value.isLoopback {
      reader.warn(
        adminAddress, "metrics and health can be read by everybody who reaches \(admin.value)",
        "write 127.0.0.1, or keep the port from users")
    }
  }

  /// Of two listeners on one port the kernel would give each connection to one or refuse the second.
  private func checkOverlaps(_ reader: ConfigurationReader) {
    let addresses = listen.value.map(\.address)
    for (index, one) in addresses.enumerated() {
      guard let other = addresses[..<index].first(where: { $0.value.overlaps(one.value) }) else { continue }
      reader.refuse(one, "\(one.value) and the listener \(other.value) take the same connections", "keep one of the two, or change a port")
    }
    guard let main = addresses.first(where: { $0.value.overlaps(admin.value) }) else { return }
    let free = (8009...8011).first { port in !addresses.contains { $0.value.port == port } } ?? 8009
    if !admin.isWritten, reader.isEnvironment {
      let problem = "missing: its usual \(admin.value) lies within the main listener's \(main.value)"
      reader.add(ConfigurationFault(.variable("ADMIN_PORT"), admin.path, problem, "set ADMIN_PORT=\(free)"))
    } else if admin.value == main.value {
      reader.refuse(admin, "\(admin.value) is the main listener's address too", "choose another port, such as \(free)")
    } else {
      reader.refuse(
        admin, "\(admin.value) and the main listener \(main.value) take the same connections", "choose another port, such as \(free)")
    }
  }

  // MARK: Provider

  private func checkProvider(_ reader: ConfigurationReader, _ readFile: ReadConfigurationFile) {
    for url in [provider.issuer, provider.internalURL].compactMap({ $0 }) where url.value.scheme == .http && !url.value.isLoopback {
      reader.warn(
        url, "http on the network: whoever is on the way can read the client secret and forge tokens",
        "write https://\(url.value.bracketedHost)\(url.value.path)")
    }
    if !provider.scopes.value.contains("openid") {
      reader.refuse(provider.scopes, "'openid' is not among the scopes", "write scopes: [openid]")
    }
    if provider.scopes.value.contains("offline_access") {
      reader.warn(provider.scopes, "with offline_access sessions outlive single logout", "remove it unless that is meant")
    }
    if let secret = provider.clientSecret, secret.value.reveal().utf8.count < 16 {
      reader.warn(secret, "the secret is short: it can be guessed", "let the provider make a new one, of 32 characters or more")
    }
    if let file = provider.caFile { Self.checkAuthorities(file, reader, readFile) }
  }

  /// Refuses a file without certificates.
  static func checkAuthorities(_ file: Located<String>, _ reader: ConfigurationReader, _ readFile: ReadConfigurationFile) {
    do throws(ConfigurationFileError) {
      let bytes = try readFile(file.value).bytes
      guard !String(decoding: bytes, as: UTF8.self).contains("-----BEGIN CERTIFICATE-----") else { return }
      reader.refuse(file, "\(quoted(file.value)) holds no certificate", "name a PEM file with '-----BEGIN CERTIFICATE-----'")
    } catch {
      reader.refuse(file, "cannot read \(quoted(file.value)): \(error.reason)", "name a PEM file that this process may read")
    }
  }

  // MARK: Sessions

  private func checkSessions(_ reader: ConfigurationReader) {
    if reader.isEnvironment, sessions.store.value != .redis {
      reader.refuse(sessions.store, "without a file sessions are always in Redis", "unset it, or start with --config FILE")
    }
    if sessions.store.value != .memory, !sessions.hasKeys {
      reader.add(
        ConfigurationFault(
          sessions.place, "sessions.keys", "missing: stored sessions are sealed",
          "write keys: [{fromFile: …}] with a key made by: openssl rand -base64 32 | tr '+/' '-_'"))
    }
    if let keys = sessions.keys, Set(keys.value.map { $0.reveal() }).count < keys.value.count {
      reader.refuse(keys, "the same key stands here twice", "remove one")
    }
    if sessions.absolute.value < sessions.idle.value {
      let place = sessions.absolute.isWritten ? sessions.absolute : sessions.idle
      reader.refuse(
        place, "idle (\(showDuration(sessions.idle.value))) is longer than absolute (\(showDuration(sessions.absolute.value)))",
        "write an idle time that is at most the absolute one")
    }
    checkCookie(reader)
  }

  private func checkDatabase(_ reader: ConfigurationReader, _ foresee: ForeseeStore) {
    guard sessions.store.value == .sqlite else {
      if sessions.path.isWritten {
        reader.warn(
          sessions.path, "no effect with the store '\(sessions.store.value.rawValue)'", "remove it, or write store: sqlite")
      }
      return
    }
    if sessions.path.value.hasSuffix("/") {
      reader.refuse(sessions.path, "\(quoted(sessions.path.value)) is a folder", "name the file in it, such as sessions.db")
    } else if let obstacle = foresee(sessions.path.value) {
      // No fault: the check may run on another machine or as another user than `serve` will.
      reader.warn(sessions.path, "the session database \(quoted(sessions.path.value)): \(obstacle.problem)", obstacle.remedy)
    }
  }

  private func checkCookie(_ reader: ConfigurationReader) {
    guard let baseURL else { return }
    let isSecure = baseURL.value.scheme == .https
    if sessions.sameSite.value == .none, !isSecure {
      reader.refuse(
        sessions.sameSite, "browsers refuse SameSite=None without Secure, and the base URL is http", "write lax, or an https base URL")
    }
    guard let name = sessions.cookieName else { return }
    let (isHost, isSecurePrefix) = (name.value.lowercased().hasPrefix("__host-"), name.value.lowercased().hasPrefix("__secure-"))
    if !isSecure, isHost || isSecurePrefix {
      reader.refuse(name, "browsers refuse this prefix without Secure, and the base URL is http", "write a name without the prefix")
    } else if isSecure, !isHost {
      let bare = isSecurePrefix ? String(name.value.dropFirst("__Secure-".count)) : name.value
      reader.warn(
        name, "without the prefix __Host- a sibling domain can set this cookie",
        name.remedy("write __Host-\(bare)", "__Host-\(bare)"))
    }
  }

  // MARK: Numbers

  private func checkNumbers(_ reader: ConfigurationReader) {
    if let call = timeouts["providerCall"], let whole = timeouts["tokenOperation"], whole.value < call.value {
      let place = whole.isWritten ? whole : call
      reader.refuse(
        place,
        "one provider call (\(showDuration(call.value))) may take longer than a whole token operation (\(showDuration(whole.value)))",
        "write a tokenOperation of at least \(showDuration(call.value))")
    }
    guard let head = limits["head"] else { return }
    for name in ["target", "field"] {
      guard let part = limits[name], part.value > head.value else { continue }
      reader.refuse(
        part.isWritten ? part : head, "\(name) (\(showSize(part.value))) is larger than the whole head (\(showSize(head.value)))",
        "write limits in which it fits")
    }
  }
}
