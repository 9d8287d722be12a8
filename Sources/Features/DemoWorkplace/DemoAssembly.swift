import Cryptography
import HTTPMessage
import IntercomCore
import JOSE

/// How Intercom is registered with the demo's provider. Drawn anew at every start.
package struct DemoClient: Sendable {
  package let id: Identifier
  package let secret: Secret<String>
}

/// The demo with everything that it brings along: provider, applications, files.
package struct DemoAssembly: Sendable {
  package let workplace: DemoWorkplace
  package let provider: DemoProvider
  /// What Intercom has to be configured with.
  package let client: DemoClient
  /// Byte for byte the provider's `iss`.
  package let issuer: String
  /// All hosts below Intercom's own: the applications and `id.`.
  package let sites: [DemoSite]

  /// Puts the demo together for one port.
  ///
  /// Seeds the folder, so it blocks. Throws when the folder cannot be written or keys cannot be made.
  ///
  /// - Parameters:
  ///   - folder: new and empty; the caller removes it at the end.
  ///   - transport: carries the provider's logout tokens to Intercom.
  package init(
    port: Int, folder: DemoFolder, workers: (any TaskExecutor)?, time: any TimeSource, random: any RandomSource,
    transport: any HTTPTransport
  ) throws {
    let addresses = DemoAddresses(port: port)
    for user in DemoWorkplace.users { try folder.seed(user) }
    client = DemoClient(id: "intercom", secret: Secret(Base64URL.encode(random.bytes(32))))
    issuer = addresses.site("id")
    let key = try SigningKey.generate(.es256, keyID: Identifier("demo-\(Base64URL.encode(random.bytes(6)))"))
    provider = try DemoProvider(
      Self.configuration(addresses, client), keys: [key], time: time, random: random, transport: transport)
    // What the store believes is what the provider publishes, read the way any other store would.
    let keys = try JSONWebKeySet.parse(JSONWebKeySet.document([key]))
    let tokens = BearerAuthentication(issuer: Identifier(issuer), audience: DemoWorkplace.filesAudience, time: time) { keys }
    workplace = DemoWorkplace(
      addresses: addresses, users: try folder.users(), workers: workers, tokens: tokens, steps: StepFeed(time: time))
    sites =
      workplace.sites + [
        DemoSite(
          host: DemoAddresses.host("id"),
          routes: [DemoSite.Route(MethodSet(Method.allCases), .below(""), provider.endpoint)])
      ]
  }

  /// The site of this host, compared byte by byte.
  package func site(_ host: Identifier) -> DemoSite? { sites.first { $0.host == host } }

  /// The provider's registrations: Intercom as the one client, and the demo's users, each with the name as password.
  static func configuration(_ addresses: DemoAddresses, _ client: DemoClient) -> ProviderConfiguration {
    let intercom = addresses.intercom
    let relyingParty = ProviderClient(
      id: client.id, secret: client.secret, name: "Workplace", redirectURIs: ["\(intercom)/callback"],
      postLogoutRedirectURIs: ["\(intercom)/", "\(addresses.site("portal"))/", "\(addresses.site("mail"))/"],
      backChannelLogoutURI: "\(intercom)/backchannel-logout", allowedAudiences: [DemoWorkplace.filesAudience])
    let users = DemoWorkplace.users.enumerated().map { index, name in
      ProviderUser(
        subject: Identifier("demo-user-\(index + 1)"), username: Identifier(name), password: Secret(name),
        name: name.prefix(1).uppercased() + name.dropFirst(), email: "\(name)@workplace.example",
        claims: ["entryuuid": .string("00000000-0000-4000-8000-00000000000\(index + 1)")])
    }
    return ProviderConfiguration(
      issuer: addresses.site("id"), clients: [relyingParty], users: users,
      hint: "This is a demo. Sign in as alice or bob; the password is the name.")
  }
}
