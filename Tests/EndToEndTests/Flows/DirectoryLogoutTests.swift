import FoundationEssentials
import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

/// People of a federated LDAP server, and administrators who end their sessions: docs/single-logout.md is the table of these.
@Suite("Single logout by an administrator, and users of an LDAP directory", .serialized)
struct DirectoryLogoutTests {
  @Test(
    "an administrator ends all sessions of carol, who comes from LDAP: both her browsers are signed out, alice stays",
    .needs(.keycloak, .files, .ldap), .timeLimit(.minutes(3)))
  func allSessionsOfAPerson() async throws {
    try Services.require(.keycloak, .files, .ldap)
    try await Neighbourhood.run { here in
      let (desk, phone) = (here.visitor(), here.visitor())
      let sessions = [try await here.signIn(desk, as: "carol"), try await here.signIn(phone, as: "carol")]
      // A second session of Intercom on the same session of Keycloak, as after a cookie was deleted.
      await desk.forget("intercom")
      let again = try await here.signInSilently(desk)
      let alice = try await here.signIn(here.visitor(), as: "alice")
      #expect(try await here.accessTokenClaims(again)["preferred_username"]?.identifier == "carol")
      #expect(try await desk.fetch("GET", here.place.files + "agenda.txt", origin: here.place.mail).status == 200)

      let seen = try await Stopwatch.until(again, "the administrator's logout") { try await here.admin.endSessions(of: "carol") }
      try Rounds.keep("an administrator ended a user's sessions: seen here after \(seen)")
      for session in sessions { try await session.waitForEnd("the administrator's logout") }
      #expect(try await alice.isLive)
      let silent = try await phone.open(here.place.base + "/silent", dest: "iframe", referer: here.place.mail + "/")
      #expect(silent.text.contains("login_required"))
    }
  }

  @Test(
    "an administrator ends one session of carol's two: only that browser is signed out (fault 28)",
    .needs(.keycloak, .files, .ldap), .timeLimit(.minutes(3)))
  func oneSession() async throws {
    try Services.require(.keycloak, .files, .ldap)
    try await Neighbourhood.run { here in
      let (desk, phone) = (try await here.signIn(here.visitor(), as: "carol"), try await here.signIn(here.visitor(), as: "carol"))
      let sid = try await here.sid(desk)
      #expect(try await here.sid(phone) != sid)
      let seen = try await Stopwatch.until(desk, "the end of one session") { try await here.admin.endSession(sid: sid) }
      try Rounds.keep("an administrator ended one session: seen here after \(seen)")
      #expect(try await phone.isLive)
    }
  }

  @Test(
    "a logout token without sid ends every session of its person and nobody else's (fault 31 in small)",
    .needs(.keycloak, .files, .ldap), .timeLimit(.minutes(3)))
  func bySubject() async throws {
    try Services.require(.keycloak, .files, .ldap)
    try await Neighbourhood.run(client: "intercom-by-subject") { here in
      let (desk, phone) = (try await here.signIn(here.visitor(), as: "carol"), try await here.signIn(here.visitor(), as: "carol"))
      let alice = try await here.signIn(here.visitor(), as: "alice")
      try await here.admin.endSession(sid: try await here.sid(desk))
      for session in [desk, phone] { try await session.waitForEnd("a logout token by sub") }
      #expect(try await alice.isLive)
      let logged = try await here.place.intercom.child.line("the ends in the log") { $0.contains("\"backchannel_logout\"") }
      #expect(logged.contains("\"count\":2"))
    }
  }

  @Test(
    "what Keycloak tells nobody is found out by the next refresh: a disabled, deleted or vanished user, all sessions of the realm",
    .needs(.keycloak, .files, .ldap), .timeLimit(.minutes(3)))
  func foundByRefresh() async throws {
    let directory = Directory(try Services.require(.keycloak, .files, .ldap))
    // Access tokens of this client live two seconds, and Keycloak knows no logout address for it.
    try await Neighbourhood.run(client: "intercom-brief") { here in
      func newcomer(_ purpose: String) async throws -> (name: String, id: String, session: SessionProbe) {
        let name = try await directory.addPerson(purpose)
        let session = try await here.signIn(here.visitor(), as: name)
        return (name, try await here.admin.id(of: name), session)
      }
      let (disabled, deleted) = (try await newcomer("disabled"), try await newcomer("deleted"))
      let (vanished, ended) = (try await newcomer("vanished"), try await newcomer("ended"))
      let stays = try await newcomer("stays")
      try await here.admin.call("PUT", "/users/\(disabled.id)", ["enabled": false])
      try await here.admin.call("DELETE", "/users/\(deleted.id)")
      try await directory.remove(vanished.name)
      try await here.admin.synchronize()
      try await here.admin.endSessions(of: ended.name)
      for person in [disabled, deleted, vanished, ended] { try await person.session.waitForEnd("the refresh of \(person.name)") }
      #expect(try await stays.session.isLive)
      try await here.admin.call("POST", "/logout-all")
      try await stays.session.waitForEnd("the end of all sessions of the realm")
      for person in [disabled, deleted, ended, stays] { try await directory.remove(person.name) }
    }
  }

  @Test(
    "a password changed or an account locked in LDAP stops the next sign-in, not the session that is there",
    .needs(.keycloak, .files, .ldap), .timeLimit(.minutes(3)))
  func changedInTheDirectory() async throws {
    let directory = Directory(try Services.require(.keycloak, .files, .ldap))
    try await Neighbourhood.run(client: "intercom-brief") { here in
      let changes = [("userPassword", "another"), ("pwdAccountLockedTime", "000001010000Z")]
      var people: [(name: String, session: SessionProbe)] = []
      for (attribute, value) in changes {
        let name = try await directory.addPerson("changed")
        people.append((name, try await here.signIn(here.visitor(), as: name)))
        try await directory.set(attribute, value, of: name)
      }
      let changed = SystemTime().wallNow().seconds
      for (name, session) in people {
        try await waitUntilTrue("a token of \(name) from after the change") {
          (try await here.accessTokenClaims(session)["iat"]?.int64 ?? 0) > changed
        }
        await #expect(throws: WaitFailure.self) { try await here.signIn(here.visitor(), as: name) }
      }
      _ = try await here.signIn(here.visitor(), as: people[0].name, password: "another")
      for person in people { try await directory.remove(person.name) }
    }
  }

  @Test(
    "with offline_access an administrator's logout of a user reaches Intercom by the next refresh only, and the end of the offline session at once",
    .needs(.keycloak, .files, .ldap), .timeLimit(.minutes(3)))
  func offlineSessions() async throws {
    try Services.require(.keycloak, .files, .ldap)
    try await Neighbourhood.run(scopes: "openid, offline_access") { here in
      let session = try await here.signIn(here.visitor(), as: "carol")
      let sid = try await here.sid(session)
      await #expect(throws: WaitFailure.self, "there is no online session") { try await here.admin.endSession(sid: sid) }
      try await here.admin.endSession(sid: sid, isOffline: true)
      try await session.waitForEnd("the end of the offline session")
    }
    try await Neighbourhood.run(client: "intercom-brief", scopes: "openid, offline_access") { here in
      let session = try await here.signIn(here.visitor(), as: "carol")
      // Keycloak refuses what was issued before the second of the logout, and leaves the offline session itself.
      let issued = try #require(try await here.accessTokenClaims(session)["iat"]?.int64)
      try await waitUntilTrue("the next second") { SystemTime().wallNow().seconds > issued }
      try await here.admin.endSessions(of: "carol")
      try await session.waitForEnd("the refresh after the administrator's logout")
    }
  }

  @Test(
    "names of LDAP users arrive as their bytes, two that differ in Unicode form only stay two, and sub is the same at every sign-in (S37)",
    .needs(.keycloak, .files, .ldap), .timeLimit(.minutes(3)))
  func names() async throws {
    try Services.require(.keycloak, .files, .ldap)
    let people = [
      (user: "zoe.nfc", password: "zoe.nfc", name: "Zo\u{eb} M\u{fc}ller-\u{141}\u{119}cka"),
      (user: "zoe.nfd", password: "zoe.nfd", name: "Zoe\u{308} M\u{fc}ller-\u{141}\u{119}cka"),
      (user: "j\u{fc}rgen gro\u{df}", password: "juergen", name: "J\u{fc}rgen \"JG\" <O'Gro\u{df}> \\ & %20 \u{65e5}\u{672c}"),
    ]
    try await Neighbourhood.run { here in
      var subjects: [Identifier] = []
      for person in people {
        let visitor = here.visitor()
        let first = try await here.accessTokenClaims(try await here.signIn(visitor, as: person.user, password: person.password))
        #expect(first["name"]?.identifier == Identifier(person.name))
        #expect(first["preferred_username"]?.identifier == Identifier(person.user))
        let second = try await here.accessTokenClaims(try await here.signIn(here.visitor(), as: person.user, password: person.password))
        let subject = try #require(first["sub"]?.identifier)
        #expect(second["sub"]?.identifier == subject)
        #expect(try await here.admin.id(of: person.user) == subject.description)
        subjects.append(subject)
        here.backend.forget()
        let named = try await visitor.fetch("GET", here.place.base + "/named/", origin: here.place.mail)
        #expect(named.status == 200)
        #expect(here.backend.requests.last?.fields.values("x-name").map { Array($0) } == [Array(person.name.utf8)])
        #expect(here.backend.requests.last?.fields.values("x-user").map { Array($0) } == [Array(person.user.utf8)])
      }
      #expect(Set(subjects).count == people.count)
    }
  }

  @Test(
    "an administrator's logout reaches a SAML application that Keycloak can call, and not one that needs the browser",
    .needs(.keycloak, .files, .ldap, .saml), .timeLimit(.minutes(3)))
  func applicationsBeside() async throws {
    let services = try Services.require(.keycloak, .files, .ldap, .saml)
    try await Neighbourhood.run { here in
      let carol = here.visitor()
      for application in SAMLApplication.allCases { _ = try await application.signIn(carol, services, as: "carol") }
      let session = try await here.signInSilently(carol)
      try await here.admin.endSessions(of: "carol")
      try await session.waitForEnd("the administrator's logout")
      try await waitUntilTrue("the end at the notes") { try await !SAMLApplication.notes.knows(carol, services) }
      #expect(try await SAMLApplication.wiki.knows(carol, services))
    }
  }
}
