import DemoWorkplace
import FoundationEssentials
import IntercomCore
import IntercomTesting
import SQLite
import Testing

@Suite("The session database and its disk", .serialized)
struct StoreDiskTests {
  @Test(
    "a full disk: who is signed in works on, signing in and out and due refreshes are 503 with a reason, nobody is logged out, and it recovers by itself (S12, fault 9)",
    .enabled(if: TestDisk.isPossible, "needs root for a small disk"), .timeLimit(.minutes(1)))
  func full() async throws {
    let disk = try await TestDisk(size: "2m")
    try await trouble(on: disk.path + "/sessions.db", cause: "full") {
      let ballast = try await disk.fill()
      return { try FileManager.default.removeItem(atPath: ballast) }
    }
  }

  @Test(
    "a disk that takes no writes any more: the same", .enabled(if: FrozenFile.isPossible, "needs chattr"), .timeLimit(.minutes(1)))
  func frozen() async throws {
    let folder = try TestFolder()
    let path = folder.file("sessions.db")
    try await trouble(on: path, cause: "read_only") {
      let frozen = try await FrozenFile(path, path + "-wal")
      return { try await frozen.thaw() }
    }
  }

  @Test(
    "started on a full disk, after kill -9 too, it ends with a message and not with a signal, and serves as soon as there is space",
    .enabled(if: TestDisk.hasLoopDevices, "needs a loop device"), .timeLimit(.minutes(1)))
  func startedOnFullDisk() async throws {
    // With blocks smaller than a page: there a mapped file has holes.
    let disk = try await TestDisk(ext4Megabytes: 6, blockBytes: 1_024)
    try await LastingIntercom.run(database: disk.path + "/sessions.db") { lasting in
      var intercom = try await lasting.serve()
      let alice = try await lasting.signedIn()
      let ballast = try await disk.fill()
      #expect(try await lasting.fetch(alice, "/plain/x").status == 200)
      #expect(try await Visitor(timeout: .seconds(20)).open(lasting.base + "/login").status == 503)
      #expect(try await lasting.fetch(alice, "/plain/x").status == 200)
      try await intercom.kill()
      for _ in 0..<2 {
        let refused = try await lasting.serve(untilReady: false)
        #expect(try await refused.child.waitForExit() == .code(1))
        #expect(refused.child.lines.count == 1 && refused.child.output.contains("free space on its disk"), "\(refused.child.outputTail)")
      }
      try FileManager.default.removeItem(atPath: ballast)
      intercom = try await lasting.serve()
      #expect(try await lasting.fetch(alice, "/plain/x").status == 200)
      #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0))
    }
  }

  /// The story of a disk that stops taking writes and takes them again; `begin` causes the trouble and gives what ends it.
  private func trouble(on path: String, cause: String, _ begin: () async throws -> () async throws -> Void) async throws {
    var lifetimes = ProviderLifetimes()
    lifetimes.accessToken = 6
    try await LastingIntercom.run(database: path, lifetimes) { lasting in
      let intercom = try await lasting.serve()
      let (alice, bob) = (try await lasting.signedIn(), try await lasting.signedIn("bob"))
      let token = try await lasting.csrfToken(alice)
      for target in ["/own/x", "/fs/x"] { #expect(try await lasting.fetch(alice, target).status == 200) }
      let late = Visitor(timeout: .seconds(20))
      try await late.open(lasting.base + "/login")

      let end = try await begin()
      try await noSignIn(lasting, late)
      for target in ["/own/x", "/fs/x", "/plain/x"] { #expect(try await lasting.fetch(alice, target).status == 200, "\(target)") }
      try await noSignOut(lasting, alice, token)
      try await told(intercom, cause)
      // The tokens expire: only what needs none still goes.
      try await waitUntilTrue("a refresh that is due", within: .seconds(10), pause: .milliseconds(100)) {
        try await lasting.fetch(bob, "/own/x").isHonestlyUnavailable
      }
      #expect(try await lasting.fetch(alice, "/own/x").isHonestlyUnavailable)
      for visitor in [alice, bob] { #expect(try await lasting.fetch(visitor, "/plain/x").status == 200) }

      try await end()
      try await waitUntilTrue("a recovery without anybody's doing", within: .seconds(10), pause: .milliseconds(50)) {
        let (status, text) = try await intercom.readiness()
        return status == 200 && text.hasPrefix("ready\nprovider: ok\nsessions: ok\n")
      }
      #expect(!intercom.logLines("session_store_recovered").isEmpty)
      #expect(try await intercom.metric(#"intercom_session_store_failing{work="write"}"#) == 0)
      for visitor in [alice, bob] { #expect(try await lasting.fetch(visitor, "/own/x").status == 200) }
      #expect(try await lasting.backChannelLogout(lasting.logoutToken(subject: "bob-id")).status == 200)
      #expect(try await lasting.fetch(bob, "/plain/x").status == 401)
      // The callback that could not be taken was not used up.
      try await late.open(late.location)
      #expect(try await lasting.fetch(late, "/plain/x").status == 200)
      #expect(try await alice.send("GET", LoopbackURL(lasting.base + "/logout"), [("Accept", "text/html")]).status == 302)
      #expect(try await lasting.fetch(alice, "/plain/x").status == 401)
      #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0), "\(intercom.child.outputTail)")
      #expect(intercom.tokensInLog.isEmpty)
    }
  }

  /// Nobody can sign in: a page for people, problem details for scripts, no cookie either way.
  private func noSignIn(_ lasting: LastingIntercom, _ late: Visitor) async throws {
    try await waitUntilTrue("a sign-in that is refused", within: .seconds(10), pause: .milliseconds(10)) {
      try await Visitor(timeout: .seconds(20)).send("GET", LoopbackURL(lasting.base + "/login"), [("Accept", "*/*")]).isHonestlyUnavailable
    }
    for target in ["/login", "/plain/x"] {
      let page = try await Visitor().send(
        "GET", LoopbackURL(lasting.base + target), [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")])
      #expect(page.status == 503 && page.field("retry-after") != nil && page.all("set-cookie").isEmpty, "\(page.wholeText)")
      #expect(page.field("content-type")?.hasPrefix("text/html") == true)
    }
    let silent = try await Visitor().send(
      "GET", LoopbackURL(lasting.base + "/silent"), [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")])
    #expect(silent.status == 200 && silent.text.contains(#""reason":"store_unavailable""#) && silent.all("set-cookie").isEmpty)
    // A sign-in that was begun before comes back now.
    let back = try await late.submit(["username": "alice", "password": LastingIntercom.password])
    #expect(back.status == 503 && back.field("retry-after") != nil && back.all("set-cookie").isEmpty, "\(back.wholeText)")
    #expect(await late.location.hasPrefix(lasting.base + "/callback?"))
  }

  /// Nobody can sign out, and nobody is told that he did.
  private func noSignOut(_ lasting: LastingIntercom, _ alice: Visitor, _ token: String) async throws {
    let url = try LoopbackURL(lasting.base + "/logout")
    let page = try await alice.send("GET", url, [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")])
    #expect(page.status == 503 && page.field("retry-after") != nil && page.all("set-cookie").isEmpty)
    #expect(page.field("content-type")?.hasPrefix("text/html") == true)
    let script = try await alice.send("POST", url, [("X-CSRF-Token", token), ("Sec-Fetch-Mode", "cors")], body: [])
    #expect(script.isHonestlyUnavailable, "\(script.wholeText)")
    let provider = try await lasting.backChannelLogout(lasting.logoutToken(subject: "bob-id"))
    #expect(provider.status == 503 && provider.field("retry-after") != nil && provider.text.contains("temporarily_unavailable"))
    #expect(try await lasting.csrfToken(alice) == token, "/silent says that she is signed in")
    #expect(try await lasting.fetch(alice, "/nob/x", ["X-CSRF-Token": token]).status == 200)
  }

  /// Log, metrics and readiness tell the cause.
  private func told(_ intercom: IntercomProcess, _ cause: String) async throws {
    let readiness = try await intercom.readiness()
    #expect(readiness.status == 200 && readiness.text.contains("sessions: limited: takes no writes: "), "\(readiness)")
    #expect(try await intercom.metric(#"intercom_session_store_failing{work="write"}"#) == 1)
    #expect(try await intercom.metric(#"intercom_session_store_failing{work="read"}"#) == 0)
    let series = #"intercom_session_store_failures_total{work="write",cause="\#(cause)"}"#
    #expect(try await intercom.metric(series) ?? 0 > 0)
    let lines = intercom.logLines("session_store_unavailable")
    #expect(
      (1...4).contains(lines.count) && lines.contains { $0.contains("\"cause\":\"\(cause)\"") && $0.contains("What to do: ") }, "\(lines)")
  }

  @Test(
    "a database that is destroyed while it is used: not ready, 503 and never a logout; without it the program starts anew",
    .timeLimit(.minutes(1)))
  func destroyed() async throws {
    try await LastingIntercom.run { lasting in
      var intercom = try await lasting.serve()
      var people: [Visitor] = []
      for _ in 0..<4 { people.append(try await lasting.signedIn()) }
      await intercom.child.terminate(grace: .seconds(10))
      intercom = try await lasting.serve()
      #expect(try await lasting.fetch(people[0], "/plain/x").status == 200)
      try await TestDisk.run("dd", ["if=/dev/urandom", "of=\(lasting.database)", "bs=4096", "count=20", "conv=notrunc"])
      let quiet = people
      try await waitUntilTrue("not ready", within: .seconds(15), pause: .milliseconds(20)) {
        for visitor in quiet.dropFirst() {
          let answer = try await lasting.fetch(visitor, "/plain/x")
          guard answer.status == 200 || answer.isHonestlyUnavailable else {
            throw WaitFailure("a logout", within: .zero, seen: answer.wholeText)
          }
        }
        return try await intercom.readiness().status == 503
      }
      #expect(try await intercom.readiness().text.contains("sessions: the session database: "))
      #expect(!intercom.logLines("session_store_unavailable").isEmpty)
      await intercom.child.terminate(grace: .seconds(15))
      let refused = try await lasting.serve(untilReady: false)
      #expect(try await refused.child.waitForExit() == .code(1))
      #expect(refused.child.output.contains("move it away with its -wal"))
      for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: lasting.database + suffix) {
        try FileManager.default.moveItem(atPath: lasting.database + suffix, toPath: lasting.database + suffix + ".broken")
      }
      intercom = try await lasting.serve()
      #expect(try await lasting.fetch(people[0], "/plain/x").status == 401)
      try await lasting.signIn(people[0])
      #expect(try await lasting.fetch(people[0], "/plain/x").status == 200)
      await intercom.child.terminate()
    }
  }

  /// What stands in the place of the database, and words that the message must have.
  struct Obstacle: Sendable, CustomStringConvertible {
    let description: String
    let says: [String]
    let prepare: @Sendable (String) throws -> Void
  }

  static let obstacles = [
    Obstacle(description: "no folder", says: ["its folder does not exist; create it"]) { path in
      try FileManager.default.removeItem(atPath: folder(of: path))
    },
    Obstacle(description: "a folder that everybody may write", says: ["everybody may replace files in its folder; ", "chmod o-w"]) { path in
      try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder(of: path))
    },
    Obstacle(description: "a folder in its place", says: ["it is a link, a folder or a device; name the file itself"]) { path in
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    },
    Obstacle(description: "a symbolic link", says: ["it is a link, a folder or a device"]) { path in
      try TestFolder.makeFile(path + ".target")
      try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path + ".target")
    },
    Obstacle(description: "another program's database", says: ["it is not a session database of Intercom"]) { path in
      try TestFolder.makeFile(path)
      try SQLiteConnection(path: path).execute("CREATE TABLE notes (text TEXT)")
    },
    Obstacle(description: "a newer schema", says: ["a newer Intercom has written it (schema 99", "all users then sign in again"]) { path in
      try TestFolder.makeFile(path)
      let file = try SQLiteConnection(path: path)
      for statement in ["CREATE TABLE records (id INTEGER)", "PRAGMA application_id=1229148977", "PRAGMA user_version=99"] {
        try file.execute(statement)
      }
    },
    Obstacle(description: "text", says: ["file is not a database", "restore the file from a backup"]) { path in
      try Data(repeating: 65, count: 9_000).write(to: URL(filePath: path))
    },
  ]

  private static func folder(of path: String) -> String { "/" + path.split(separator: "/").dropLast().joined(separator: "/") }

  @Test("what is not its database is refused: exit code 1 and one message that names it and says what to do", arguments: obstacles)
  func refused(_ obstacle: Obstacle) async throws {
    let folder = try TestFolder()
    let path = folder.file("state/sessions.db")
    try FileManager.default.createDirectory(
      atPath: Self.folder(of: path), withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    try obstacle.prepare(path)
    try await LastingIntercom.run(database: path) { lasting in
      let intercom = try await lasting.serve(untilReady: false)
      #expect(try await intercom.child.waitForExit() == .code(1))
      let lines = intercom.child.lines
      #expect(lines.count == 1 && lines[0].hasPrefix("intercom serve: the session database \(path) cannot be opened: "), "\(lines)")
      for words in obstacle.says { #expect(lines.contains { $0.contains(words) }, "\(lines)") }
    }
  }

  @Test("a second program on the same database is refused and told which process has it; wider rights are taken away at the start")
  func heldAndNarrowed() async throws {
    try await LastingIntercom.run { lasting in
      try TestFolder.makeFile(lasting.database, mode: 0o644)
      let intercom = try await lasting.serve()
      for suffix in ["", "-wal", ".lock"] {
        let mode = try FileManager.default.attributesOfItem(atPath: lasting.database + suffix)[.posixPermissions] as? Int
        #expect(mode == 0o600, "\(suffix): \(String(mode ?? 0, radix: 8))")
      }
      // No file is mapped: on a full disk that would be SIGBUS.
      #expect(!FileManager.default.fileExists(atPath: lasting.database + "-shm"))
      let second = try await IntercomProcess.serve(lasting.configuration(), untilReady: false)
      #expect(try await second.child.waitForExit() == .code(1))
      #expect(second.child.output.contains("another process uses it (process id \(intercom.child.identifier))"))
      #expect(try await lasting.fetch(lasting.signedIn(), "/plain/x").status == 200)
      await intercom.child.terminate()
    }
  }
}
