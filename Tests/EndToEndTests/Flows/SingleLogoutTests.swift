import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

/// What ends Intercom's sessions from outside, and what Intercom ends elsewhere: docs/single-logout.md is the table of these.
@Suite("Single logout with SAML applications: Keycloak and mod_auth_mellon", .serialized)
struct SAMLLogoutTests {
  @Test(
    "who signs in at a SAML application needs no second password here, and signing out there ends the session here, the old cookie too (S11)",
    .needs(.keycloak, .files, .saml), .timeLimit(.minutes(3)), arguments: SAMLApplication.allCases)
  func signOutThere(application: SAMLApplication) async throws {
    try Services.require(.keycloak, .files, .saml)
    try await Neighbourhood.run { here in
      let (alice, bob) = (here.visitor(), here.visitor())
      _ = try await application.signIn(alice, here.services, as: "alice")
      _ = try await application.signIn(bob, here.services, as: "bob")
      let (session, other) = (try await here.signInSilently(alice), try await here.signInSilently(bob))
      let listing = try await alice.fetch("GET", here.place.files + "agenda.txt", origin: here.place.mail)
      #expect(listing.status == 200)

      let seen = try await Stopwatch.until(session, "signing out at \(application.rawValue)") {
        try await application.signOut(alice, here.services)
      }
      try Rounds.keep("signed out at \(application.rawValue): seen here after \(seen)")
      #expect(try await alice.fetch("GET", here.place.files + "agenda.txt", origin: here.place.mail).status == 401)
      #expect(try await application.knows(alice, here.services) == false)
      #expect(try await other.isLive, "bob stays")
      #expect(try await application.knows(bob, here.services))
      // Keycloak's own session is over too.
      let silent = try await alice.open(here.place.base + "/silent", dest: "iframe", referer: here.place.mail + "/")
      #expect(silent.text.contains("login_required"))
    }
  }

  @Test(
    "signing out here ends the SAML application's session, by redirect (wiki) or by call (notes), and none of another browser or person",
    .needs(.keycloak, .files, .saml), .timeLimit(.minutes(3)), arguments: SAMLApplication.allCases)
  func signOutHere(application: SAMLApplication) async throws {
    try Services.require(.keycloak, .files, .saml)
    try await Neighbourhood.run { here in
      let (alice, elsewhere, bob) = (here.visitor(), here.visitor(), here.visitor())
      let session = try await here.signIn(alice, as: "alice")
      for (visitor, name) in [(alice, "alice"), (elsewhere, "alice"), (bob, "bob")] {
        _ = try await application.signIn(visitor, here.services, as: name)
      }
      let stays = [try await here.signInSilently(elsewhere), try await here.signInSilently(bob)]

      let end = try await alice.open("\(here.place.base)/logout?returnTo=\(FormText.escape(here.place.mail + "/"))")
      #expect(end.status == 200)
      let (location, way) = (await alice.location, await alice.way)
      #expect(location == here.place.mail + "/", "\(way)")
      #expect(way.contains("/wiki/saml/logout") == (application == .wiki), "\(way)")
      #expect(!way.contains("/notes/saml/logout"), "\(way)")
      #expect(try await session.isLive == false)
      #expect(try await application.knows(alice, here.services) == false)
      for probe in stays { #expect(try await probe.isLive) }
      for visitor in [elsewhere, bob] { #expect(try await application.knows(visitor, here.services)) }
    }
  }
}

/// How fast an end is seen.
enum Stopwatch {
  /// Asks the session again and again while `act` runs and until the answer is 401; the time since `act` began.
  static func until(_ session: SessionProbe, _ what: String, _ act: @escaping @Sendable () async throws -> Void) async throws -> Duration {
    let clock = SystemTime()
    let start = clock.monotonicNow()
    async let seen: Duration = {
      try await session.waitForEnd(what)
      return start.duration(to: clock.monotonicNow())
    }()
    try await act()
    return try await seen
  }
}
