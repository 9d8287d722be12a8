import Cryptography
import DemoWorkplace
import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Testing
import Workers

/// The WebDAV community's own test program (Debian's `litmus`) against the store behind the real server.
@Suite(.timeLimit(.minutes(3))) struct LitmusTests {
  static let program = "/usr/bin/litmus"
  static var isThere: Bool { FileManager.default.isExecutableFile(atPath: program) || Services.areRequired }

  /// litmus signs in by name and password, which no store of ours takes: here they stand for the token.
  private static func user(_ request: Request) -> FileStore.Authentication {
    let expected = "Basic \(Base64.encode(Array("alice:alice".utf8)))"
    guard let given = request.fields.single("authorization"), Identifier(given) == Identifier(expected) else {
      return .refused(challenge: #"Basic realm="litmus""#, Problem(401, "token_required", "Sign in."))
    }
    return .user("alice")
  }

  @Test(
    "the standard's own test program finds no fault in class 1",
    .enabled(if: LitmusTests.isThere, "litmus is not installed (apt-get install litmus)"))
  func litmus() async throws {
    let folder = try DemoFolder.make()
    defer { folder.remove() }
    try folder.seed("alice")
    let workers = try Workers(threads: 2)
    defer { workers.stop() }
    let store = FileStore(users: try folder.users(), workers: workers) { Self.user($0) }
    var table = EndpointTable()
    for method in HTTPMessage.Method.allCases { table.add(method, "/*", store.endpoint) }
    try await TestServer.run(table) { server in
      // It leaves its traces where it is started.
      let logs = PackageRoot.build + "/test-logs"
      try FileManager.default.createDirectory(atPath: logs, withIntermediateDirectories: true)
      let child = try ChildProcess(
        "/bin/sh",
        ["-c", #"cd "$1" && exec "$0" -k "$2" alice alice"#, Self.program, logs, "http://127.0.0.1:\(server.port)/"],
        environment: ["TESTS": "basic copymove http"], log: "litmus")
      let exit = try await child.waitForExit(within: .seconds(120))
      #expect(exit == .code(0), "\(child.outputTail)")
      #expect(child.output.contains("summary for `copymove': of 13 tests run: 13 passed, 0 failed. 100.0%"), "\(child.outputTail)")
    }
  }
}
