import FoundationEssentials
import IntercomCore
import Linux

/// The program itself, as built, in a process of its own.
package struct IntercomProcess: Sendable {
  package let child: ChildProcess
  /// The main listener's port on 127.0.0.1.
  package let port: Int
  package let adminPort: Int
  /// The path of its configuration file.
  private let file: String
  /// What stands in it before the configuration.
  private let listeners: String

  /// The debug build's executable; `swift build --build-tests` makes it.
  package static let binary = PackageRoot.build + "/debug/intercom"

  /// Runs `intercom serve` with this configuration and waits until it is ready.
  ///
  /// - Parameters:
  ///   - configuration: YAML without `listen` and `admin`, which are added.
  ///   - port: nil takes a free one.
  ///   - isSecure: the listener speaks TLS, with the certificates that the configuration names.
  ///   - more: further listeners, each as in a YAML list and with a comma before it.
  ///   - descriptors: how many descriptors the process may have; nil: as many as the system allows.
  ///   - untilReady: false returns as soon as the process lives: for tests of a provider that is not there.
  package static func serve(
    _ configuration: String, port: Int? = nil, isSecure: Bool = false, listeners more: String = "", environment: [String: String?] = [:],
    descriptors: Int? = nil,
    untilReady: Bool = true
  ) async throws -> IntercomProcess {
    let port = try port ?? FreePort.next()
    let adminPort = try FreePort.next()
    let folder = PackageRoot.build + "/test-logs"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let file = "\(folder)/intercom-\(port).yaml"
    let listen = isSecure ? "{address: \"127.0.0.1:\(port)\", tls: true}" : "\"127.0.0.1:\(port)\""
    let listeners = "listen: [\(listen)\(more)]\nadmin:\n  listen: 127.0.0.1:\(adminPort)\n"
    try write(listeners + configuration, to: file)
    // The shell becomes the program: pid and signals are its own.
    let command = descriptors.map { ["/bin/sh", "-c", "ulimit -n \($0) && exec \"$0\" \"$@\""] } ?? []
    let words = command + [binary, "serve", "--config", file]
    let child = try ChildProcess(words[0], Array(words.dropFirst()), environment: environment, log: "intercom-serve")
    let process = IntercomProcess(child: child, port: port, adminPort: adminPort, file: file, listeners: listeners)
    if untilReady { try await process.waitUntilReady() }
    return process
  }

  /// Runs `intercom serve` with nothing but variables, on this port of 127.0.0.1, and waits until it is ready.
  ///
  /// - Parameter environment: of the Intercom Service; listener and admin listener are added.
  package static func serve(
    environment: [String: String], port: Int, untilReady: Bool = true
  ) async throws -> IntercomProcess {
    let adminPort = try FreePort.next()
    var all: [String: String?] = environment
    all["HOST"] = environment["HOST"] ?? "127.0.0.1"
    all["PORT"] = "\(port)"
    all["ADMIN_PORT"] = "\(adminPort)"
    let child = try ChildProcess(binary, ["serve"], environment: all, log: "intercom-environment")
    let process = IntercomProcess(child: child, port: port, adminPort: adminPort, file: "", listeners: "")
    if untilReady { try await process.waitUntilReady() }
    return process
  }

  /// Runs `intercom demo` and waits for its last line, `ready URL`.
  package static func demo(port: Int? = nil) async throws -> IntercomProcess {
    let port = try port ?? FreePort.next()
    let adminPort = try FreePort.next()
    let child = try ChildProcess(binary, ["demo", "--port", "\(port)"], environment: ["ADMIN_PORT": "\(adminPort)"], log: "intercom-demo")
    _ = try await child.line("ready", within: .seconds(30)) { $0.hasPrefix("ready http://") }
    return IntercomProcess(child: child, port: port, adminPort: adminPort, file: "", listeners: "")
  }

  /// Puts another configuration into the place of the file, whole; nil: takes the file away. It is not read before SIGHUP.
  package func rewrite(_ configuration: String?) throws {
    guard let configuration else { return try FileManager.default.removeItem(atPath: file) }
    try Data((listeners + configuration).utf8).write(to: URL(filePath: file), options: .atomic)
  }

  private static func write(_ text: String, to file: String) throws {
    guard FileManager.default.createFile(atPath: file, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600]) else {
      throw WaitFailure("cannot write \(file)", within: .zero)
    }
  }

  /// Waits until `/readyz` answers 200; throws at once when the program ends before.
  package func waitUntilReady(within limit: Duration = .seconds(30)) async throws {
    let client = RawHTTPClient(timeout: .seconds(2))
    do {
      try await waitUntilTrue("200 at /readyz", within: limit, pause: .milliseconds(50)) {
        if let exit = child.exit {
          throw WaitFailure("intercom ended (\(exit)) before it was ready", within: limit, seen: child.outputTail)
        }
        return (try? await client.get("http://127.0.0.1:\(adminPort)/readyz").status) == 200
      }
    } catch let failure as WaitFailure {
      throw WaitFailure(failure.description, within: limit, seen: child.outputTail)
    }
  }

  /// Tells a story about it. When the story fails, it is ended, and the failure shows its last lines.
  package func tell(_ story: () async throws -> Void) async throws {
    do { try await story() } catch {
      await child.terminate()
      throw WaitFailure("\(error)", within: .zero, seen: child.outputTail)
    }
  }

  /// The text of `/metrics`.
  package func metrics() async throws -> String { try await RawHTTPClient().get("http://127.0.0.1:\(adminPort)/metrics").text }

  /// Everything that looks like a JWT in what the program wrote: must be none.
  package var tokensInLog: [String] {
    child.output.split(whereSeparator: { !($0.isLetter || $0.isNumber || $0 == "." || $0 == "-" || $0 == "_") })
      .filter { $0.hasPrefix("eyJ") }.map(String.init)
  }
}
