import ConfigurationYAML
import HTTPMessage
import IntercomCore

/// The settings of listeners and of their certificates.
extension ConfigurationKeys {
  /// An entry of `listen` that is a map.
  enum Listener {
    static let address = Setting<ListenAddress>(
      "address", .listenAddress, required: true, example: "0.0.0.0:8443", "Address and port of this listener.")
    static let tls = DefaultedSetting<Bool>("tls", .boolean, default: false, "Speak TLS, with the certificates of `tls`.")
    static let clientCertificates = DefaultedSetting<Configuration.ClientCertificates>(
      "clientCertificates", .choice, default: .none,
      """
      Ask clients for a certificate of `tls.clientAuthorities`: `optional` lets those in that have none, `required` does not. One that cannot \
      be verified is never let in. It opens the connection and is nobody's session.
      """)
    static let proxyProtocol = DefaultedSetting<Bool>(
      "proxyProtocol", .boolean, default: false,
      """
      Every connection begins with a PROXY header (version 1 or 2) of one of `trustedProxies`, before TLS; others are closed.
      """)
    static let rows = [
      address.row(in: "listen"), tls.row(in: "listen"), clientCertificates.row(in: "listen"), proxyProtocol.row(in: "listen"),
    ]
  }

  enum TLS {
    static let certificates = "certificates"
    static let minimumVersion = DefaultedSetting<Configuration.TLSMinimum>(
      "minimumVersion", .choice, default: .tls12, "The oldest version of TLS that is spoken. Before 1.2 none is.")
    static let http2 = DefaultedSetting<Bool>(
      "http2", .boolean, default: true, "Offer HTTP/2 (ALPN `h2`) before HTTP/1.1. Listeners without TLS speak HTTP/1.1.")
    static let clientAuthorities = Setting<String>(
      "clientAuthorities", .file, "PEM file of the authorities whose certificates clients may show (`listen.clientCertificates`).")
    static let rows =
      Certificate.rows + [minimumVersion.row(in: "tls"), http2.row(in: "tls"), clientAuthorities.row(in: "tls")]
  }

  enum Certificate {
    static let chain = Setting<String>(
      "chain", .file, required: true, example: "/etc/intercom/tls/fullchain.pem",
      "PEM file: the certificate, then those between it and its authority.")
    static let key = Setting<String>(
      "key", .file, required: true, example: "/etc/intercom/tls/privkey.pem", "PEM file of its private key, without a passphrase.")
    static let rows = [chain.row(in: "tls.certificates.*"), key.row(in: "tls.certificates.*")]
  }
}

/// An entry of `trustedProxies`.
package struct TrustedNetwork: Sendable, CustomStringConvertible {
  /// As written.
  let text: String
  package let block: NetworkBlock

  package var description: String { text }
}

extension ConfigurationDraft {
  struct Listener: Sendable {
    let address: Located<ListenAddress>
    let tls: Located<Bool>
    let clientCertificates: Located<Configuration.ClientCertificates>
    let proxyProtocol: Located<Bool>
  }

  struct TLS {
    let place: ConfigurationPlace
    /// Whether anybody wrote anything into it.
    let isWritten: Bool
    let certificates: [Certificate]
    let minimumVersion: Located<Configuration.TLSMinimum>
    let http2: Located<Bool>
    let clientAuthorities: Located<String>?
    /// Also true when what was written is faulty.
    let hasAuthorities: Bool
  }

  struct Certificate {
    let name: Located<String>
    let chain: Located<String>?
    let key: Located<String>?
  }
}

extension ConfigurationDraft.Listener {
  /// What there is when nobody wrote any.
  static let standard = ConfigurationDraft.Listener(
    Located(ListenAddress(address: .v4([127, 0, 0, 1]), port: 8008), .start(of: ""), "listen", isWritten: false))

  /// A plain one.
  init(_ address: Located<ListenAddress>) {
    func unwritten<Value>(_ value: Value) -> Located<Value> { Located(value, address.place, address.path, isWritten: false) }
    self.init(address: address, tls: unwritten(false), clientCertificates: unwritten(.none), proxyProtocol: unwritten(false))
  }

  init?(_ section: ConfigurationSection) {
    typealias Keys = ConfigurationKeys.Listener
    let address = section[Keys.address]
    let (written, certificates, proxy) = (section[Keys.tls.setting], section[Keys.clientCertificates], section[Keys.proxyProtocol])
    guard let address else { return nil }
    // Whoever writes something else than true or false means TLS: no further fault follows from it.
    let tls = written ?? Located(section.has(Keys.tls.setting.name), section.place, address.path, isWritten: false)
    self.init(address: address, tls: tls, clientCertificates: certificates, proxyProtocol: proxy)
  }

  var model: Configuration.Listener {
    Configuration.Listener(
      address: address.value, speaksTLS: tls.value, clientCertificates: clientCertificates.value, proxyProtocol: proxyProtocol.value)
  }
}

extension ConfigurationDraft.TLS {
  init(_ section: ConfigurationSection) {
    typealias Keys = ConfigurationKeys.TLS
    place = section.place
    isWritten = !section.isEmpty
    certificates = section.named(Keys.certificates).map { name, section in
      ConfigurationDraft.Certificate(
        name: name, chain: section[ConfigurationKeys.Certificate.chain], key: section[ConfigurationKeys.Certificate.key])
    }
    minimumVersion = section[Keys.minimumVersion]
    http2 = section[Keys.http2]
    clientAuthorities = section[Keys.clientAuthorities]
    hasAuthorities = section.has(Keys.clientAuthorities.name)
  }
}

extension ValueShape where Value == ConfigurationDraft.Listener {
  /// `address:port`, or a map with more. Shown by its address alone, so that one address cannot stand twice.
  static var listener: ValueShape {
    let shown: @Sendable (ConfigurationDraft.Listener) -> String = { $0.address.value.description }
    return ValueShape(type: "address:port or map", show: shown) { value in
      guard value.isMap else {
        return ValueShape<ListenAddress>.listenAddress.read(value).map { ConfigurationDraft.Listener(Located($0, value.place, value.path)) }
      }
      return value.section(expected: "a listener", example: "{address: 0.0.0.0:8443, tls: true}").flatMap(ConfigurationDraft.Listener.init)
    }
  }
}

extension ValueShape where Value == TrustedNetwork {
  /// One address, or all that begin with the same bits.
  static var network: ValueShape {
    .scalar(type: "address or block", example: "192.0.2.0/24", show: { $0.text }, parse: parse)
  }

  private static var parse: @Sendable (String) throws(ValueFault) -> TrustedNetwork {
    { (text: String) throws(ValueFault) -> TrustedNetwork in
      guard let block = NetworkBlock(text) else {
        guard let slash = text.firstIndex(of: "/"), AddressLiteral(text[..<slash]) != nil else {
          throw ValueFault("\(quoted(text)) is no address", "write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
        }
        throw ValueFault(
          "\(quoted(text)) is no block: the prefix is too long, or the address has bits behind it",
          "write the block's first address, as in 192.0.2.0/24")
      }
      return TrustedNetwork(text: text, block: block)
    }
  }
}
