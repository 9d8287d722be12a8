import FoundationEssentials
import IntercomCore
import IntercomTesting
import Linux
import Testing

/// The image's file tree, assembled and started by `dev/image` as a container runtime would start it: with the environment of an existing
/// Intercom Service and nothing else.
@Suite(
  "The image", .serialized, .timeLimit(.minutes(5)),
  .enabled(if: ImageTree.isAvailable && RedisServer.isAvailable, "dev/image tree makes the tree, dev/test installs Redis; root starts it"))
struct ImageTests {
  @Test("It holds no shell, lacks no library and has 40 MB at most")
  func contents() async throws {
    let check = try ImageTree.script(["check"])
    #expect(try await check.waitForExit(within: .seconds(60)) == .code(0), "\(check.outputTail)")
    #expect(check.output.contains(" bytes in "))
  }

  @Test("Started with the variables alone it is ready, is nobody's root, cannot write, and ends in order")
  func serves() async throws {
    let redis = try await RedisServer()
    try await ImageTree.run(redis) { image, port, admin in
      let client = RawHTTPClient(timeout: .seconds(5))
      #expect(try await client.get("http://127.0.0.1:\(admin)/livez").status == 200)
      #expect(try await client.get("http://127.0.0.1:\(port)/").status == 200)
      #expect(try await client.get("http://127.0.0.1:\(port)/fs/x").status == 401)
      let status = try String(contentsOfFile: "/proc/\(image.identifier)/status", encoding: .utf8).split(separator: "\n").map(String.init)
      #expect(status.contains("Uid:\t1000\t1000\t1000\t1000"))
      #expect(status.contains("CapEff:\t0000000000000000"))
      #expect(status.contains("NoNewPrivs:\t1"))
      // What can be written is there, for a runtime's mounts; nothing else is.
      let mounts = try String(contentsOfFile: "/proc/\(image.identifier)/mountinfo", encoding: .utf8).split(separator: "\n")
      // Its root, as it sees it (proc(5)): identifier, parent, device, where in the file system, where in its tree, options.
      let root = try #require(mounts.last { $0.split(separator: " ").dropFirst(4).first == "/" })
      #expect(root.split(separator: " ")[5].split(separator: ",").contains("ro"), "\(root)")
      image.send(Signal.terminate)
      #expect(try await image.waitForExit(within: .seconds(30)) == .code(0), "\(image.outputTail)")
    }
  }

  @Test("Without its variables it says all that is missing, and does not start")
  func saysWhatIsMissing() async throws {
    let image = try ImageTree.script(["run"], ["CLIENT_ID": nil, "SECRET": nil])
    #expect(try await image.waitForExit(within: .seconds(30)) == .code(78))
    for name in ["BASE_URL", "ISSUER_BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "SECRET"] {
      #expect(image.output.contains(name), "\(image.output)")
    }
  }
}

/// The tree below `.build/image`.
private enum ImageTree {
  static var isAvailable: Bool {
    let program = PackageRoot.build + "/image/root/usr/bin/intercom"
    return Services.areRequired || (isSuperuser && FileManager.default.isExecutableFile(atPath: program))
  }

  static func script(_ words: [String], _ environment: [String: String?] = [:]) throws -> ChildProcess {
    try ChildProcess(PackageRoot.path + "/dev/image", words, environment: environment, log: "image")
  }

  /// Starts it beside a provider that is only a port: who is signed in is not asked here.
  static func run(_ redis: RedisServer, _ story: (ChildProcess, _ port: Int, _ admin: Int) async throws -> Void) async throws {
    let (port, admin) = (try FreePort.next(), try FreePort.next())
    let image = try script(
      ["run"],
      [
        "PORT": "\(port)", "ADMIN_PORT": "\(admin)", "BASE_URL": "http://localhost:\(port)", "INTERCOM_URL": "http://localhost:\(port)",
        "ISSUER_BASE_URL": "http://127.0.0.1:1/realms/none", "CLIENT_ID": "intercom", "CLIENT_SECRET": "0123456789abcdef0123456789abcdef",
        "SECRET": "0f1e2d3c4b5a69788796a5b4c3d2e1f0ffeeddcc", "ORIGIN_REGEX": #"http://mail\.example\.org"#, "NC_ENABLED": "true",
        "NC_URL": "http://127.0.0.1:9", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "\(redis.port)", "LOG_LEVEL": "info",
      ])
    try await waitUntilTrue("that it listens", within: .seconds(30)) {
      if let exit = image.exit { throw WaitFailure("it ended: \(exit)", within: .zero, seen: image.outputTail) }
      return (try? await RawHTTPClient(timeout: .seconds(2)).get("http://127.0.0.1:\(port)/").status) == 200
    }
    try await story(image, port, admin)
  }
}
