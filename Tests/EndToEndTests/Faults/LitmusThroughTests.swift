import FoundationEssentials
import IntercomTesting
import Testing

/// The WebDAV community's own test program against Apache's mod_dav, direct and through Intercom.
@Suite("WebDAV through Intercom", .serialized)
struct LitmusThroughTests {
  private static let program = "/usr/bin/litmus"
  static var isThere: Bool {
    FileManager.default.isExecutableFile(atPath: program) && DavServer.isThere || Services.areRequired
  }
  private static let suites = ["basic", "copymove", "props", "locks", "http"]

  /// What litmus says about each of its tests, and its summaries: lines such as "locks 17. owner_modify pass".
  private func verdicts(_ url: String) async throws -> [String] {
    // It leaves its traces where it is started.
    let folder = try TestFolder()
    let child = try ChildProcess(
      "/bin/sh", ["-c", #"cd "$1" && exec "$0" -k "$2""#, Self.program, folder.path, url],
      environment: ["TESTS": Self.suites.joined(separator: " ")], log: "litmus")
    _ = try await child.waitForExit(within: .seconds(120))
    // A line is written over itself while a test runs: what stands behind the last CR is what a terminal shows.
    return child.lines.compactMap { line in
      let shown = line.split(separator: "\r").last.map(String.init) ?? ""
      return shown.isEmpty ? nil : shown.split(separator: " ").joined(separator: " ")
    }
  }

  @Test(
    "litmus finds the same through Intercom as direct, test by test, locks and properties included",
    .enabled(if: LitmusThroughTests.isThere, "needs litmus and Apache (apt-get install litmus apache2-bin)"), .timeLimit(.minutes(4)))
  func sameVerdicts() async throws {
    let server = try await DavServer.start()
    // The same path on both sides: hrefs in bodies are not rewritten.
    let routes = "  dav: {path: /dav, upstream: \"http://127.0.0.1:\(server.port)\", credential: none, public: true, methods: webdav}"
    try await FaultWorkplace.run(routes) { place in
      let direct = try await verdicts("http://127.0.0.1:\(server.port)/dav/")
      let through = try await verdicts(place.base + "/dav/")
      #expect(through == direct)
      for suite in Self.suites {
        #expect(through.contains { $0.contains("summary for `\(suite)'") && $0.contains(" 0 failed. 100.0%") }, "\(suite): \(through)")
      }
      #expect(through.count > 90)
    }
    await server.stop()
  }
}
