import ConfigurationYAML
import Linux
import SessionStoreSQLite

/// Intercom's version; CHANGELOG.md says what is in it.
package let intercomVersion = "0.1.0"

/// The program `intercom`: from the words of the command line to an exit code.
package struct IntercomCommand: Sendable {
  /// Where a command's text goes.
  package enum Stream: Sendable { case output, error }

  private let environment: [String: String]
  private let commands: Commands
  private let write: @Sendable (Stream, String) -> Bool

  /// - Parameter write: false when not all of the text was taken.
  package init(environment: [String: String], commands: Commands, write: @escaping @Sendable (Stream, String) -> Bool) {
    self.environment = environment
    self.commands = commands
    self.write = write
  }

  /// Runs the process's own command line and ends the process.
  ///
  /// Not an async `main`: the runtime then parks the main thread in sigsuspend(2) with every signal unblocked, and SIGTERM would kill the
  /// process there instead of reaching the thread that waits for it.
  package static func main() -> Never {
    withholdRegistersFromCrashReports()
    let exposed = forbidMemoryDumps()
    prepareServerSignals()
    let command = IntercomCommand(environment: processEnvironment(), commands: .built) { stream, text in
      writeAll(Array(text.utf8), to: stream == .output ? 1 : 2)
    }
    for failure in exposed { command.say("intercom: warning: a dump of memory could not be forbidden: \(failure)\n") }
    Task { endProcess(await command.run(Array(CommandLine.arguments.dropFirst()))) }
    parkThread()
  }

  private static func processEnvironment() -> [String: String] {
    let pairs = environmentStrings().compactMap { entry -> (String, String)? in
      guard let separator = entry.firstIndex(of: "=") else { return nil }
      return (String(entry[..<separator]), String(entry[entry.index(after: separator)...]))
    }
    return Dictionary(pairs) { first, _ in first }
  }

  /// To standard error. When nobody takes it there is nobody to tell.
  private func say(_ text: String) { _ = write(.error, text) }

  /// To standard output. What could not be written is a failure: half a configuration file must not look like a whole one.
  private func answer(_ text: String, _ code: Int32 = ExitCode.success) -> Int32 {
    guard !write(.output, text) else { return code }
    say("intercom: the output could not be written: is the disk full, or the reader gone?\n")
    return ExitCode.failure
  }

  /// The exit code of these words.
  package func run(_ words: [String]) async -> Int32 {
    do throws(UsageFault) {
      return await run(try CommandParser.parse(words))
    } catch {
      say("intercom: \(error)\n")
      return ExitCode.usage
    }
  }

  private func run(_ invocation: Invocation) async -> Int32 {
    switch invocation {
    case .version: return answer("intercom \(intercomVersion)\n")
    case .help(let command): return answer(CommandHelp.text(command))
    case .configurationReference: return answer(ConfigurationReference.markdown)
    case .checkConfiguration(let file, let format): return check(file, format)
    case .configurationFromEnvironment(let folder): return writeFile(secrets: folder)
    case .serve(let file, let threads): return await serve(file, threads: threads)
    case .demo(let options):
      return await started("demo") {
        var options = options
        options.admin = try demoAdmin()
        return try await commands.demo(options)
      }
    }
  }

  private func check(_ file: String?, _ format: Invocation.Format) -> Int32 {
    let loader = ConfigurationLoader(
      environment: environment, foresee: { SQLiteSessionStore.obstacle(path: $0)?.explanation },
      foreseeLog: { path in AppendFile.obstacle(path: path).map { ($0.sentence, $0.isFolder) } })
    let reading = loader.read(file)
    let report = ConfigurationReport(file ?? ConfigurationLoader.environmentName, reading)
    return answer(
      format == .json ? String(decoding: report.json, as: UTF8.self) : report.text,
      reading.errors.isEmpty ? ExitCode.success : ExitCode.failure)
  }

  private func serve(_ file: String?, threads: Int?) async -> Int32 {
    let loader = ConfigurationLoader(environment: environment)
    let read: @Sendable () -> ConfigurationReading = { loader.read(file).with(threads: threads) }
    let reading = read()
    guard let configuration = reading.configuration else {
      // Where the log goes is not known.
      for fault in (reading.errors + reading.warnings).sorted() { say("\(fault)\n") }
      say(
        file == nil
          ? "intercom: not started: the variables have faults (docs/migrating-from-ics.md); with a file: intercom serve --config FILE\n"
          : "intercom: not started: the configuration has faults\n")
      return ExitCode.configuration
    }
    return await started("serve") {
      try await commands.serve(ServedConfiguration(configuration, warnings: reading.warnings, readAgain: read))
    }
  }

  /// `config from-env`.
  private func writeFile(secrets folder: String?) -> Int32 {
    let loader = ConfigurationLoader(environment: environment)
    let reading = loader.loadEnvironment()
    for fault in (reading.errors + reading.warnings).sorted() { say("\(fault)\n") }
    guard reading.errors.isEmpty else {
      say("intercom config from-env: nothing written: the variables have faults\n")
      return ExitCode.failure
    }
    let working = workingFolder()
    let target = ConfigurationTree.whole(folder ?? "/run/secrets", working)
    let export = loader.exportEnvironment(secretFolder: target, workingFolder: working)
    let text = Self.introduction(target, isWritten: folder != nil, export.secrets.map { ($0.file, $0.variable) }) + export.yaml
    guard let folder else { return answer(text) }
    let files = SecretFiles(folder: folder, export.secrets.map { ($0.file, $0.secret) })
    do throws(SecretFiles.Fault) { try files.write() } catch {
      say("intercom config from-env: \(error.description)\n")
      return ExitCode.failure
    }
    let code = answer(text)
    // Without the text that names them they would only be in the way of the next try.
    if code != ExitCode.success { files.remove() }
    return code
  }

  private static func introduction(_ folder: String, isWritten: Bool, _ secrets: [(file: String, variable: String)]) -> String {
    var lines = [
      "# Written by 'intercom config from-env' from the variables of an Intercom Service.",
      "# Variables INTERCOM_CFG_… and ADMIN_… stand over this file as they stood over those.",
      isWritten ? "# Its secrets are in \(folder):" : "# Its secrets are to be put into \(folder), or use --secrets FOLDER:",
    ]
    for (file, variable) in secrets {
      let isDerived = file == ServiceEnvironment.keyFile
      let source = isDerived ? "derived from \(variable)\(isWritten ? "" : ": only --secrets writes it")" : "the value of \(variable)"
      lines.append("#   \(file): \(source)")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The variables that stand over the admin listener's address in every mode.
  private func demoAdmin() throws -> ListenAddress? {
    let (host, port) = (environment["ADMIN_HOST"] ?? "", environment["ADMIN_PORT"] ?? "")
    guard !host.isEmpty || !port.isEmpty else { return nil }
    return try ListenAddress("\(host.isEmpty ? "127.0.0.1" : host):\(port.isEmpty ? "8009" : port)")
  }

  private func started(_ name: String, _ body: () async throws -> Int32) async -> Int32 {
    do {
      return try await body()
    } catch {
      say("intercom \(name): \(error)\n")
      return ExitCode.failure
    }
  }
}

/// The text of `--help`.
enum CommandHelp {
  static func text(_ command: CommandGrammar?) -> String { command.map(one) ?? all }

  private static let all = """
    intercom \(intercomVersion): an identity-aware intermediary between browser apps and their backends

    \(lines(CommandGrammar.all.map { ("intercom " + $0.name, $0.summary) }))
      intercom --version           print the version
      intercom COMMAND --help      explain one command

    To see it work:      intercom demo
    To set it up:        copy Examples/intercom.yaml, then: intercom config check FILE
    To run it:           intercom serve --config FILE
    Instead of Univention's Intercom Service, with its variables:
                         intercom config check, then: intercom serve

    Exit codes: 0 done, 1 failed, 64 wrong use, 78 the configuration has faults.

    """

  private static func one(_ command: CommandGrammar) -> String {
    var text = "\(command.summary.prefix(1).uppercased())\(command.summary.dropFirst()).\n\nUsage: \(command.usage)\n\n"
    if !command.options.isEmpty { text += lines(command.options.map { ("\($0.name) \($0.value ?? "")", $0.summary) }) + "\n\n" }
    return text + command.details + "\n"
  }

  private static func lines(_ rows: [(String, String)]) -> String {
    rows.map { "  " + $0.0 + String(repeating: " ", count: max(2, 29 - $0.0.count)) + $0.1 }.joined(separator: "\n")
  }
}
