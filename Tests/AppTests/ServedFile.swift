import ConfigurationYAML
import FoundationEssentials
import IntercomCore
import IntercomTesting
import Linux
import Telemetry

@testable import IntercomApp

/// Intercom as `intercom serve` makes it of a configuration file, with one backend behind the public route `/pub` and the session route
/// `/own`. Nobody is its provider.
struct ServedFile: Sendable {
  let running: RunningIntercom
  let upstream: RecordingServer
  let sink: MemorySink
  /// Of the listeners, in their order.
  var ports: [UInt16] { running.addresses.map(\.port) }

  /// - Parameter text: `listen` and what belongs to it; routes, provider and admin listener are added.
  static func run(_ text: String, baseURL: String = "https://localhost", _ body: (ServedFile) async throws -> Void) async throws {
    let upstream = try RecordingServer()
    try await upstream.start()
    let folder = try TestFolder()
    let whole = """
      baseURL: \(baseURL)
      admin: {listen: "127.0.0.1:0"}
      sessions: {store: memory}
      limits: {loops: 2, workers: 2}
      timeouts: {drain: 2s}
      provider: {issuer: "http://127.0.0.1:1", clientID: intercom, clientSecret: 0123456789abcdef0123456789abcdef}
      routes:
        pub: {path: /pub, upstream: "http://127.0.0.1:\(upstream.port)", credential: none, public: true}
        own: {path: /own, upstream: "http://127.0.0.1:\(upstream.port)", credential: none}
        wide: {host: files.example, upstream: "http://127.0.0.1:\(upstream.port)", credential: none, public: true}
      \(text)
      """
    try Data(whole.utf8).write(to: URL(filePath: folder.file("intercom.yaml")))
    let reading = ConfigurationLoader(environment: [:]).load(folder.file("intercom.yaml"))
    guard let configuration = reading.configuration else {
      throw FixtureFault.unexpected(reading.errors.map(\.description).joined(separator: "\n"))
    }
    let sink = MemorySink()
    let log = StructuredLog(to: sink, minimum: .trace)
    let running = try await Composition.start(try Deployment(configuration, log: log, random: SystemRandom()))
    let result: Result<Void, any Error>
    do { result = .success(try await body(ServedFile(running: running, upstream: upstream, sink: sink))) } catch {
      result = .failure(error)
    }
    _ = await running.stop()
    await upstream.stop()
    try result.get()
  }

  /// What curl wrote: the body, and a line with status and version; its own words on failure.
  ///
  /// - Parameters:
  ///   - authority: nil asks without TLS.
  ///   - port: nil: the first listener's.
  func curl(
    _ authority: TestAuthority?, _ target: String, _ more: [String] = [], host: String = "localhost", address: String = "127.0.0.1",
    port: UInt16? = nil
  ) async throws -> String {
    let port = port ?? ports[0]
    let child = try ChildProcess(
      "curl",
      [
        "-sS", "--max-time", "20", "--connect-to", "\(host):\(port):\(address):\(port)", "-w", "\n%{http_code} %{http_version}\n",
        "\(authority == nil ? "http" : "https")://\(host):\(port)\(target)",
      ] + (authority.map { ["--cacert", $0.path] } ?? []) + more, log: "curl")
    _ = try await child.waitForExit(within: .seconds(30))
    return child.output
  }

  /// The values of a metric's series, by their labels as they are written.
  func series(_ name: String) async throws -> [String: Double] {
    guard let port = running.adminAddress?.port else { return [:] }
    let text = try await RawHTTPClient(timeout: .seconds(10)).get("http://127.0.0.1:\(port)/metrics").text
    let pairs = text.split(separator: "\n").compactMap { line -> (String, Double)? in
      guard line.hasPrefix("intercom_\(name){"), let end = line.lastIndex(of: " ") else { return nil }
      return Double(line[line.index(after: end)...]).map { (String(line[..<end].dropFirst("intercom_\(name)".count)), $0) }
    }
    return Dictionary(pairs) { first, _ in first }
  }

  /// What `openssl s_client` says of the first listener, its standard input being these lines.
  func client(_ options: String, input: String = "") async throws -> String {
    let child = try ChildProcess(
      "/bin/sh", ["-c", "(printf '\(input)'; sleep 2) | openssl s_client -connect 127.0.0.1:\(ports[0]) \(options) 2>&1"], log: "s_client")
    _ = try await child.waitForExit(within: .seconds(30))
    return child.output
  }
}
