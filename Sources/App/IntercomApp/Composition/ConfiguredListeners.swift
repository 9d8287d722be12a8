import HTTPServer
import OpenSSL

extension Deployment {
  /// The listeners that a configuration asks for, in its order.
  static func listeners(of configuration: Configuration) throws -> [ListenerSetup] {
    let contexts = try tlsContexts(of: configuration)
    return try zip(configuration.listen, contexts).map { listener, tls in
      ListenerSetup(
        try address(listener.address), tls: tls, proxies: listener.proxyProtocol ? configuration.trustedProxies.map(\.block) : nil)
    }
  }

  /// TLS of each listener, in the order of `listen`; nil where it is plain. Every call makes them anew from the files that the configuration
  /// has read.
  private static func tlsContexts(of configuration: Configuration) throws -> [TLSContext?] {
    let tls = configuration.tls
    // Those that ask their clients alike share one, and with it the keys of their tickets.
    var made: [Configuration.ClientCertificates: TLSContext] = [:]
    return try configuration.listen.map { listener in
      guard listener.speaksTLS else { return nil }
      if let context = made[listener.clientCertificates] { return context }
      let clients = try tls.clients(listener.clientCertificates)
      let context = try TLSContext(
        server: tls.certificates.map(\.identity), protocols: tls.speaksHTTP2 ? [.http2, .http11] : [.http11],
        minimum: tls.minimumVersion == .tls13 ? .tls13 : .tls12, clients: clients)
      made[listener.clientCertificates] = context
      return context
    }
  }
}

extension Configuration.TLS {
  fileprivate func clients(_ certificates: Configuration.ClientCertificates) throws -> TLSClientCertificates? {
    guard certificates != .none else { return nil }
    guard let clientAuthorities else { throw DeploymentError(description: "tls.clientAuthorities is missing") }
    return TLSClientCertificates(authorities: clientAuthorities, isRequired: certificates == .required)
  }
}
