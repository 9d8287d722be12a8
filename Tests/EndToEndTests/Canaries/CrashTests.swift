import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import Testing

/// What leaves the process when it dies, or when somebody looks at it from outside.
@Suite("Canaries: crashes and the memory of the process", .serialized)
struct CrashTests {
  @Test(
    "Crash dumps: a crash in the middle of an exchange reports frames, but no register, no memory and no secret (fault 57, S29)",
    .timeLimit(.minutes(2)))
  func crashReport() async throws {
    // As an operator would ask for it, with everything.
    let setting = "enable=yes,color=no,interactive=no,threads=all,registers=all,timeout=20s"
    try await CanaryWorkplace.run(environment: ["SWIFT_BACKTRACE": setting]) { place in
      let visitor = try await place.signedIn()
      #expect(try await place.fetch(visitor, "GET", "/own/a").status == 200)
      // The exchange is answered when Intercom is gone.
      place.provider.answer { request in
        guard request.text.contains("token-exchange") else { return nil }
        try await SystemTime().sleep(for: .seconds(30))
        return nil
      }
      let held = Task { try? await place.fetch(visitor, "GET", "/fs/a") }
      try await waitUntilTrue("an exchange in flight", within: .seconds(10)) {
        place.provider.requests.contains { $0.text.contains("token-exchange") }
      }
      place.intercom.child.send(Signal.abort)
      _ = try await place.intercom.child.line("the end of a crash report", within: .seconds(60)) { $0.hasPrefix("Backtrace took") }
      let report = place.intercom.child.lines
      #expect(report.contains { $0.hasPrefix("*** Program crashed: Aborted") }, "\(place.intercom.child.outputTail)")
      #expect(report.contains { $0.contains("IntercomCommand.main") }, "frames have names: \(place.intercom.child.outputTail)")
      #expect(!report.contains { $0.hasPrefix("Registers:") }, "\(place.intercom.child.outputTail)")
      #expect(report.contains { $0.contains("\"event\":\"crash_reports_on\"") })
      held.cancel()
      let finds = try await place.finds()
      #expect(finds.isEmpty, "\(finds)")
    }
  }

  @Test("Crash dumps: killed by a fault it leaves no core and no secret in the database (fault 57)", .timeLimit(.minutes(1)))
  func killed() async throws {
    for signal in [Signal.segmentation, Signal.abort] {
      try await CanaryWorkplace.run { place in
        let visitor = try await place.signedIn()
        #expect(try await place.fetch(visitor, "GET", "/fs/a").status == 200)
        let limits = String(
          decoding: FileManager.default.contents(atPath: "/proc/\(place.intercom.child.identifier)/limits") ?? Data(), as: UTF8.self)
        let core = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") }?.split(separator: " ").suffix(3)
        // 1 byte: less than any core, and what keeps a core_pattern that is a pipe from being run.
        #expect(core.map(Array.init) == ["1", "1", "bytes"] || core.map(Array.init) == ["0", "0", "bytes"], "\(limits)")
        place.intercom.child.send(signal)
        // The runtime's handler, where it is, writes its report and lets a signal from outside pass.
        try await waitUntilTrue("the end or a whole report", within: .seconds(60), pause: .milliseconds(50)) {
          place.intercom.child.exit != nil || place.intercom.child.lines.contains { $0.hasPrefix("Backtrace took") }
        }
        // While the handler still cleans up, one is lost.
        try await waitUntilTrue("the end", within: .seconds(30), pause: .milliseconds(500)) {
          place.intercom.child.send(signal)
          return place.intercom.child.exit != nil
        }
        #expect(place.intercom.child.exit == .signal(signal))
        #expect(!place.intercom.child.lines.contains { $0.hasPrefix("Registers:") }, "\(place.intercom.child.outputTail)")
        let finds = try await place.finds()
        #expect(finds.isEmpty, "\(finds)")
      }
    }
  }

  /// Looks as a process of the same user: which of these can be opened?
  private static let peek = """
    for f in environ maps mem; do if head -c 0 "/proc/$1/$f"; then echo "$f open"; else echo "$f closed"; fi 2>/dev/null; done
    """

  @Test(
    "Memory of the process: another process of the same user can read neither memory nor environment (fault 57, S29)",
    .timeLimit(.minutes(1)))
  func otherProcesses() async throws {
    // Root may read everything, so a test that runs as root becomes somebody else.
    let nobody: [String] = isRoot ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : ["env"]
    let folder = try TestFolder()
    let (port, admin) = (try FreePort.next(), try FreePort.next())
    let text = """
      listen: 127.0.0.1:\(port)
      admin: {listen: "127.0.0.1:\(admin)"}
      baseURL: http://intercom.localhost:\(port)
      provider: {issuer: "http://127.0.0.1:1", clientID: intercom, clientSecret: overlaid}
      sessions: {store: memory}
      routes: {plain: {path: /plain, upstream: "http://127.0.0.1:1", credential: none}}

      """
    let file = folder.file("intercom.yaml")
    try Data(text.utf8).write(to: URL(filePath: file))
    for path in [folder.path, file] {
      try FileManager.default.setAttributes([.posixPermissions: path == file ? 0o600 : 0o755], ofItemAtPath: path)
      if isRoot { try FileManager.default.setAttributes([.ownerAccountID: 65534], ofItemAtPath: path) }
    }
    let intercom = try ChildProcess(
      nobody[0], nobody.dropFirst() + [IntercomProcess.binary, "serve", "--config", file],
      environment: ["INTERCOM_CFG_PROVIDER__CLIENT_SECRET": CanaryWorkplace.clientSecret, "SWIFT_BACKTRACE": nil], log: "intercom-nobody")
    _ = try await intercom.line("that it listens") { $0.contains("\"listening\"") }
    let other = try ChildProcess(nobody[0], nobody.dropFirst() + ["sleep", "60"], log: "sleep-nobody")
    func look(_ process: Int32) async throws -> [String] {
      let child = try ChildProcess(
        nobody[0], nobody.dropFirst() + ["sh", "-c", Self.peek, "peek", "\(process)"], log: "peek")
      #expect(try await child.waitForExit() == .code(0))
      return child.lines.filter { $0.hasSuffix("open") || $0.hasSuffix("closed") }
    }
    try await waitUntilTrue("the other process under its own name", within: .seconds(10)) {
      String(decoding: FileManager.default.contents(atPath: "/proc/\(other.identifier)/comm") ?? Data(), as: UTF8.self) == "sleep\n"
    }
    // The same look at an ordinary process of that user succeeds, so it can find something.
    #expect(try await look(other.identifier).contains("environ open"))
    #expect(try await look(intercom.identifier) == ["environ closed", "maps closed", "mem closed"])
    #expect(await intercom.terminate() == .code(0))
    await other.terminate()
  }

  private var isRoot: Bool {
    (try? FileManager.default.attributesOfItem(atPath: "/proc/self")[.ownerAccountID] as? Int) == 0
  }

  @Test(
    "crash reports are asked for without registers, whatever the operator's setting says",
    arguments: [
      ("enable=yes", "enable=yes,registers=none"), ("enable=tty,registers=all,color=no", "enable=tty,color=no,registers=none"),
      ("registers=all,enable=yes", "enable=yes,registers=none"), ("enable=yes,registers=none", nil), ("enable=no", nil),
      ("", "registers=none"), (nil, "registers=none"),
      ("color=no", "color=no,registers=none"), ("enable=yes,enable=no", nil),
    ] as [(String?, String?)])
  func setting(given: String?, expected: String?) { #expect(crashReportSetting(from: given) == expected) }
}
