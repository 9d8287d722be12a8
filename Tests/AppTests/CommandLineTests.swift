import Linux
import Synchronization
import Telemetry
import Testing

@testable import IntercomApp

@Suite("Command line")
struct CommandLineTests {
  @Test(
    "a command line is read by the grammar",
    arguments: [
      ("serve --config a.yaml", Invocation.serve(configuration: "a.yaml")), ("serve --config=a.yaml", .serve(configuration: "a.yaml")),
      ("serve --threads 4 --config a.yaml", .serve(configuration: "a.yaml", threads: 4)),
      ("serve --config a.yaml --threads=0", .serve(configuration: "a.yaml", threads: 0)),
      ("config check a.yaml", .checkConfiguration(file: "a.yaml", .text)),
      ("config check --format json a.yaml", .checkConfiguration(file: "a.yaml", .json)),
      ("config check a.yaml --format=text", .checkConfiguration(file: "a.yaml", .text)),
      ("config check -- --odd.yaml", .checkConfiguration(file: "--odd.yaml", .text)),
      ("serve", .serve(configuration: nil)), ("serve --threads 2", .serve(configuration: nil, threads: 2)),
      ("config check", .checkConfiguration(file: nil, .text)), ("config check --format json", .checkConfiguration(file: nil, .json)),
      ("config from-env", .configurationFromEnvironment(secrets: nil)),
      ("config from-env --secrets /run/x", .configurationFromEnvironment(secrets: "/run/x")),
      ("config reference", .configurationReference), ("demo", .demo(DemoOptions(port: 8008))),
      ("demo --port 9000", .demo(DemoOptions(port: 9000))),
      ("--version", .version), ("version", .version), ("", .help(nil)), ("--help", .help(nil)), ("help", .help(nil)),
      ("help config check", .help(.check)),
      ("serve --help", .help(.serve)), ("demo -h", .help(.demo)), ("config check --help", .help(.check)),
    ])
  func invocations(line: String, expected: Invocation) throws {
    #expect(try CommandParser.parse(line.split(separator: " ").map(String.init)) == expected)
  }

  @Test(
    "a wrong command line says what to write",
    arguments: [
      ("srve", "unknown command 'srve'; did you mean 'serve'?"),
      ("serve --conf x", "'serve' has no option '--conf'; did you mean --config?"),
      ("serve --config", "--config needs a value; write intercom serve [--config FILE] [--threads N]"),
      ("serve --config=", "--config needs a value; write intercom serve [--config FILE] [--threads N]"),
      ("serve --config a --config b", "--config is given twice; keep one"),
      ("serve x --config a", "'serve' does not take 'x'; write intercom serve [--config FILE] [--threads N]"),
      ("serve --config a --threads 257", "'257' is no number of threads; write a number from 0 to 256; 0 chooses by the cores"),
      ("serve --config a --threads -1", "'-1' is no number of threads; write a number from 0 to 256; 0 chooses by the cores"),
      ("config", "'config' needs one more word; write config check or config from-env or config reference"),
      ("config chekc x", "unknown command 'config chekc'; did you mean 'config check'?"),
      ("config check a b", "'config check' does not take 'b'; write intercom config check [--format text|json] [FILE]"),
      ("config from-env x", "'config from-env' does not take 'x'; write intercom config from-env [--secrets FOLDER]"),
      ("config fromenv", "unknown command 'config fromenv'; did you mean 'config from-env'?"),
      ("config check --format xml a", "'xml' is no format; write --format text or --format json"),
      ("demo --port 0", "'0' is no port; write a number from 1 to 65535"),
      ("demo --port 70000", "'70000' is no port; write a number from 1 to 65535"),
      ("demo --prot 1", "'demo' has no option '--prot'; did you mean --port?"),
      ("--versoin", "unknown option '--versoin'; did you mean '--version'?"), ("quux", "unknown command 'quux'; run 'intercom --help'"),
      ("-x", "unknown option '-x'; run 'intercom --help'"),
    ])
  func usageFaults(line: String, expected: String) {
    #expect(throws: UsageFault.self) { try CommandParser.parse(line.split(separator: " ").map(String.init)) }
    do throws(UsageFault) { _ = try CommandParser.parse(line.split(separator: " ").map(String.init)) } catch {
      #expect(error.description == expected)
    }
  }

  /// What a run printed, and its exit code.
  final class Run: Sendable {
    /// Whether standard output takes anything.
    private let takesOutput: Bool
    private let texts = Mutex<(output: String, error: String)>(("", ""))
    var output: String { texts.withLock { $0.output } }
    var error: String { texts.withLock { $0.error } }

    init(takesOutput: Bool = true) { self.takesOutput = takesOutput }

    func command(_ environment: [String: String] = [:], serve: @escaping @Sendable (Configuration) async throws -> Int32 = { _ in 0 })
      -> IntercomCommand
    {
      IntercomCommand(environment: environment, commands: Commands(serve: { try await serve($0.configuration) }, demo: { Int32($0.port) }))
      { stream, text in
        self.texts.withLock { if stream == .output { $0.output += text } else { $0.error += text } }
        return stream == .error || self.takesOutput
      }
    }
  }

  /// A file that needs nothing of this machine.
  private static let minimal = ConfigurationFixture.minimal + "sessions: {store: memory}\n"

  private func withFile(_ text: String, _ body: (String) async throws -> Void) async throws {
    let folder = try makeTemporaryFolder(prefix: "/tmp/intercom-configuration-")
    let opened = try OpenFile.folder(path: folder)
    try opened.creating(Array("c.yaml".utf8)).write(Array(text.utf8))
    try await body("\(folder)/c.yaml")
    try opened.remove(Array("c.yaml".utf8), isFolder: false)
    try OpenFile.folder(path: "/tmp").remove(Array(folder.utf8.dropFirst("/tmp/".utf8.count)), isFolder: true)
  }

  @Test("a wrong use ends with 64 and writes to standard error alone")
  func usage() async {
    let run = Run()
    #expect(await run.command().run(["sreve"]) == 64)
    #expect(run.error == "intercom: unknown command 'sreve'; did you mean 'serve'?\n")
    #expect(run.output == "")
  }

  @Test("a right file is ok and shows what will hold, a wrong one shows its faults and ends with 1")
  func check() async throws {
    try await withFile(Self.minimal) { path in
      let run = Run()
      #expect(await run.command().run(["config", "check", path]) == 0)
      #expect(
        run.output == """
          \(path): ok
            listen        127.0.0.1:8008
            base URL      https://intercom.example.org
            provider      https://id.example.org, TLS verified by the system's authorities
            client        intercom, secret <redacted>, basic, scopes openid
            exchange      RFC 8693
            redirect URI  https://intercom.example.org/callback (register it at the provider)
            back-channel  https://intercom.example.org/backchannel-logout (register it at the provider)
            origins       none but the base URL's
            sessions      memory, a key drawn at the start, idle 24h, absolute 7d
            cookie        __Host-intercom, SameSite lax, until the browser is closed
            user claim    sub, which /uuid answers
            admin         127.0.0.1:8009
            route         fs: /fs -> http://127.0.0.1:9001; no credential; plain; encoded slashes pass

          """)
    }
    try await withFile(Self.minimal + "lgo: {}\n") { path in
      let run = Run()
      #expect(await run.command().run(["config", "check", path]) == 1)
      #expect(run.output == "\(path):9:1: lgo: unknown key; did you mean 'log'?\n\(path): 1 fault\n")
      let json = Run()
      #expect(await json.command().run(["config", "check", "--format", "json", path]) == 1)
      #expect(
        json.output
          == #"{"faults":[{"column":1,"line":9,"path":"lgo","problem":"unknown key","remedy":"did you mean 'log'?","severity":"error"}],"file":""#
          + path + #"","ok":false}"# + "\n")
    }
  }

  @Test(
    "what cannot be written is a failure, not a success without a text",
    arguments: [
      ["config", "check"], ["config", "check", "--format", "json"], ["config", "from-env"], ["config", "reference"], ["--version"],
      ["--help"],
    ])
  func fullDisk(words: [String]) async {
    let run = Run(takesOutput: false)
    #expect(await run.command(EnvironmentFixture.minimal).run(words) == 1)
    #expect(run.error.hasSuffix("intercom: the output could not be written: is the disk full, or the reader gone?\n"), "\(run.error)")
  }

  @Test(
    "a file that cannot be read is a fault like any other",
    arguments: [
      ("/nowhere/c.yaml", "No such file or directory"), ("/tmp", "it is a directory"), ("/dev/zero", "it is larger than 1048576 bytes"),
    ])
  func unreadable(path: String, reason: String) async {
    let run = Run()
    #expect(await run.command().run(["config", "check", path]) == 1)
    #expect(run.output == "\(path):1:1: cannot read the file: \(reason); name a file that this process may read\n\(path): 1 fault\n")
  }

  @Test("warnings of the configuration are handed to the log, and none of them is on standard error as text")
  func warningsToTheLog() async throws {
    let environment = EnvironmentFixture.minimal.merging(["PROXY": "true", "SESSION_COOKIE_NAME": "appSession"]) { $1 }
    let (sink, errors) = (MemorySink(), MemorySink())
    let commands = Commands(
      serve: { served in
        StructuredLog(to: sink).tell(served.warnings)
        return 7
      }, demo: { _ in 0 })
    let command = IntercomCommand(environment: environment, commands: commands) { _, text in
      errors.write(Array(text.utf8))
      return true
    }
    #expect(await command.run(["serve"]) == 7)
    #expect(errors.lines == [])
    let lines = sink.lines
    for expected in [
      #""event":"configuration_warning","message":"accepted without effect; unset it when nothing else reads it","place":"PROXY","key":"""#,
      #""place":"SESSION_COOKIE_NAME","key":"sessions.cookieName""#,
    ] {
      #expect(lines.contains { $0.contains(expected) }, "\(lines)")
    }
  }

  @Test("serve starts with a right file, and refuses a wrong one with 78 before anything is started")
  func serve() async throws {
    try await withFile(Self.minimal) { path in
      #expect(await Run().command(serve: { $0.routes.count == 1 ? 7 : 8 }).run(["serve", "--config", path]) == 7)
    }
    try await withFile("listen: x\n") { path in
      let run = Run()
      #expect(
        await run.command(serve: { _ in
          Issue.record("started")
          return 0
        }).run(["serve", "--config", path]) == 78)
      #expect(run.error.hasSuffix("intercom: not started: the configuration has faults\n"))
      #expect(run.error.contains("\(path):1:9: listen: 'x' is a name, not an address"))
    }
  }

  @Test(
    "--threads stands over limits.loops, also when it says 0",
    arguments: [([], 5), (["--threads", "3"], 3), (["--threads=0"], 0)] as [([String], Int32)])
  func threads(words: [String], loops: Int32) async throws {
    try await withFile(Self.minimal + "limits: {loops: 5}\n") { path in
      let run = Run()
      let code = await run.command(serve: { Int32($0.limits.loops) }).run(["serve", "--config", path] + words)
      #expect(code == loops, "\(run.error)")
    }
  }

  @Test("what a command throws is shown and ends with 1")
  func thrown() async throws {
    try await withFile(Self.minimal) { path in
      let run = Run()
      let serve: @Sendable (Configuration) async throws -> Int32 = { _ in throw DeploymentError(description: "the port is taken") }
      #expect(await run.command(serve: serve).run(["serve", "--config", path]) == 1)
      #expect(run.error == "intercom serve: the port is taken\n")
    }
  }

  @Test("the demo gets its port")
  func demo() async { #expect(await Run().command().run(["demo", "--port", "123"]) == 123) }

  @Test("a file with secrets that everybody may read is reported")
  func readableByOthers() async throws {
    let loader = ConfigurationLoader(environment: [:])
    let reading = loader.read(Array(Self.minimal.utf8), file: "c.yaml", isReadableByOthers: true)
    #expect(
      reading.warnings.map(\.description) == [
        "c.yaml:1:1: warning: the file holds secrets and every user of this machine may read it; write 'fromFile: path' for secrets, or: chmod 600 c.yaml"
      ])
  }

  @Test("help names every command and says what to do next")
  func help() async {
    let run = Run()
    #expect(await run.command().run(["--help"]) == 0)
    for command in CommandGrammar.all { #expect(run.output.contains("intercom \(command.name)")) }
    for command in CommandGrammar.all {
      let one = Run()
      #expect(await one.command().run(command.words + ["--help"]) == 0)
      #expect(one.output.contains("Usage: intercom \(command.name)"))
    }
    let version = Run()
    #expect(await version.command().run(["--version"]) == 0)
    #expect(version.output == "intercom 0.1.0\n")
  }
}
