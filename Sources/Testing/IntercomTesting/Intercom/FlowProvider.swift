import DemoWorkplace
import IntercomCore

/// The registrations of the provider that the tests of the whole flow use: Intercom as its client, and two people.
package enum FlowProvider {
  /// - Parameters:
  ///   - base: Intercom's base URL without a slash at the end.
  ///   - password: of everybody.
  package static func configuration(issuer: String, base: String, secret: String, password: String) -> ProviderConfiguration {
    let client = ProviderClient(
      id: "intercom", secret: Secret(secret), name: "Intercom", redirectURIs: [base + "/callback"],
      postLogoutRedirectURIs: [base + "/"], backChannelLogoutURI: base + "/backchannel-logout", allowedAudiences: ["files", "other-files"])
    let users = ["alice", "bob"].map { name in
      ProviderUser(
        subject: Identifier("\(name)-id"), username: Identifier(name), password: Secret(password), name: name, email: "\(name)@example.org",
        claims: ["groups": ["staff", .string("friends-of-\(name)")]])
    }
    return ProviderConfiguration(issuer: issuer, clients: [client], users: users)
  }
}
