import ConfigurationYAML
import HTTPMessage
import IntercomCore
import OpenSSL

/// Checks of listeners, their certificates and the proxies in front of them.
struct ListenerChecks {
  private let draft: ConfigurationDraft
  private let reader: ConfigurationReader
  private let files: TLSFiles

  init(_ draft: ConfigurationDraft, _ files: TLSFiles) {
    self.draft = draft
    reader = files.reader
    self.files = files
  }

  private var listeners: [ConfigurationDraft.Listener] { draft.listen.value }
  private var speaksTLS: Bool { listeners.contains { $0.tls.value } }
  private var trustsSomebody: Bool { !draft.trustedProxies.value.isEmpty }

  /// Reads the files too: what the listeners that speak TLS have in common, or nil when something of it cannot be used.
  func run() -> Configuration.TLS? {
    for listener in listeners { check(listener) }
    checkProxies()
    checkScheme()
    let certificates = draft.tls.certificates.compactMap(certificate)
    let authorities = draft.tls.clientAuthorities.flatMap(files.certificates)
    checkUse(certificates)
    if certificates.count == draft.tls.certificates.count { checkHosts(certificates) }
    guard certificates.count == draft.tls.certificates.count, authorities != nil || !draft.tls.hasAuthorities else { return nil }
    return Configuration.TLS(
      certificates: certificates, minimumVersion: draft.tls.minimumVersion.value, speaksHTTP2: draft.tls.http2.value,
      clientAuthorities: authorities)
  }

  // MARK: Listeners

  private func check(_ listener: ConfigurationDraft.Listener) {
    if listener.tls.value, draft.tls.certificates.isEmpty {
      reader.refuse(
        listener.tls, "there is no certificate",
        "write 'tls:' and below it 'certificates: {main: {chain: fullchain.pem, key: privkey.pem}}'")
    }
    if listener.clientCertificates.value != .none {
      if !listener.tls.value {
        reader.refuse(
          listener.clientCertificates, "only TLS asks clients for certificates", "write 'tls: true' beside it, or remove the key")
      }
      if !draft.tls.hasAuthorities {
        reader.refuse(
          listener.clientCertificates, "nobody is named whose certificates clients may show", "write tls.clientAuthorities: clients-ca.pem")
      }
    }
    if listener.proxyProtocol.value, !trustsSomebody {
      reader.refuse(
        listener.proxyProtocol, "no proxy is trusted: every connection would be closed", "name them in trustedProxies: [192.0.2.7]")
    }
  }

  private func checkProxies() {
    for network in draft.trustedProxies.value where network.block.isEverybody {
      reader.warn(
        draft.trustedProxies, "\(network.text) is everybody: any client can claim any address", "name the addresses of the proxies alone")
    }
    if draft.forwardedField.isWritten, !trustsSomebody {
      reader.warn(draft.forwardedField, "no effect: no proxy is trusted", "name them in trustedProxies, or remove the key")
    }
  }

  /// The base URL says what browsers speak; somebody has to speak it.
  private func checkScheme() {
    guard let baseURL = draft.baseURL else { return }
    guard baseURL.value.scheme == .https else {
      if let listener = listeners.first(where: { $0.tls.value }) {
        reader.warn(
          listener.tls, "browsers come to \(baseURL.value.text), without TLS: session cookies are not Secure",
          "write baseURL: \(baseURL.value.text.replacing("http://", with: "https://"))")
      }
      return
    }
    guard !trustsSomebody else { return }
    for listener in listeners where !listener.tls.value && !listener.address.value.address.isLoopback {
      reader.warn(
        listener.address, "TLS ends in front of this listener, and no proxy is trusted: every request seems to come from there",
        reader.remedy(
          "write 'tls: true' with certificates, or name the proxy in trustedProxies", "trustedProxies", "<the proxy's address or block>"))
    }
  }

  // MARK: Certificates

  private func certificate(_ written: ConfigurationDraft.Certificate) -> Configuration.Certificate? {
    guard let chain = written.chain, let key = written.key, let identity = files.identity(chain: chain, key: key) else { return nil }
    do throws(OpenSSLError) {
      _ = try TLSContext(server: [identity], protocols: [.http11])
    } catch {
      reader.refuse(chain, "OpenSSL does not accept this certificate: \(error.reason)", "ask for one of RSA 2048, P-256 or better")
      return nil
    }
    return Configuration.Certificate(name: written.name.value, identity: identity)
  }

  /// Settings without effect.
  private func checkUse(_ certificates: [Configuration.Certificate]) {
    if draft.tls.isWritten, !speaksTLS {
      reader.add(
        ConfigurationFault(
          draft.tls.place, "tls", "no effect: no listener speaks TLS", "write listen: {address: 0.0.0.0:8443, tls: true}, or remove it",
          severity: .warning))
    } else if let authorities = draft.tls.clientAuthorities, !listeners.contains(where: { $0.clientCertificates.value != .none }) {
      reader.warn(
        authorities, "no effect: no listener asks for client certificates", "write 'clientCertificates: required' at one, or remove it")
    }
  }

  /// The hosts under which browsers come, without brackets.
  private var hosts: [String] {
    (draft.baseURL.map { [$0.value.host] } ?? [])
      + draft.routes.compactMap { $0.host.map { String($0.value.drop { $0 == "[" }.prefix { $0 != "]" }) } }
  }

  private static func serves(_ identity: TLSIdentity, _ host: String) -> Bool {
    AddressLiteral(host) == nil ? identity.serves(host: Array(host.utf8)) : identity.serves(address: host)
  }

  private func checkHosts(_ certificates: [Configuration.Certificate]) {
    for (written, certificate) in zip(draft.tls.certificates, certificates)
    where !hosts.contains(where: { Self.serves(certificate.identity, $0) }) {
      reader.warn(
        written.name, "this certificate is for neither the base URL's host nor a route's: no browser takes it",
        "remove it, or ask for one with these names: \(hosts.joined(separator: ", "))")
    }
    guard speaksTLS, !certificates.isEmpty, let baseURL = draft.baseURL, baseURL.value.scheme == .https,
      !certificates.contains(where: { Self.serves($0.identity, baseURL.value.host) })
    else { return }
    reader.warn(
      baseURL, "no certificate is for \(baseURL.value.host): browsers refuse it", "add one with this name to tls.certificates")
  }
}
