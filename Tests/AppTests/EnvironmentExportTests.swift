import FoundationEssentials
import IntercomTesting
import Testing

@testable import IntercomApp

@Suite("Configuration from the environment: written as a file")
struct EnvironmentExportTests {
  private typealias Run = CommandLineTests.Run
  private static let environment = EnvironmentFixture.minimal.merging([
    "REDIS_PASSWORD": "redis-canary", "PORTAL_URL": "https://portal.example.org", "PORTAL_API_KEY": "portal-canary",
  ]) { _, new in new }
  private static let secretNames = ["client-secret", "portal-api-key", "redis-password", "session-key"]

  private func names(in folder: TestFolder) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() }

  @Test("all secrets are written, each to a file of its own")
  func written() async throws {
    let (folder, run) = (try TestFolder(), Run())
    #expect(await run.command(Self.environment).run(["config", "from-env", "--secrets", folder.path]) == 0, "\(run.error)")
    #expect(try names(in: folder) == Self.secretNames)
    #expect(String(decoding: try Data(contentsOf: URL(filePath: folder.file("redis-password"))), as: UTF8.self) == "redis-canary")
  }

  @Test("with one that is there already none is written, and that one is kept", arguments: secretNames)
  func existing(name: String) async throws {
    let (folder, run) = (try TestFolder(), Run())
    try Data("kept".utf8).write(to: URL(filePath: folder.file(name)))
    #expect(await run.command(Self.environment).run(["config", "from-env", "--secrets", folder.path]) == 1)
    #expect(try names(in: folder) == [name] && run.output.isEmpty)
    #expect(run.error.hasSuffix("intercom config from-env: nothing written: \(folder.path)/\(name): File exists; name an empty folder\n"))
    #expect(String(decoding: try Data(contentsOf: URL(filePath: folder.file(name))), as: UTF8.self) == "kept")
  }

  @Test("what was written is taken back when the text cannot be written, so that the next try finds the way free")
  func takenBack() async throws {
    let folder = try TestFolder()
    #expect(await Run(takesOutput: false).command(Self.environment).run(["config", "from-env", "--secrets", folder.path]) == 1)
    #expect(try names(in: folder) == [])
    #expect(await Run().command(Self.environment).run(["config", "from-env", "--secrets", folder.path]) == 0)
  }

  @Test("a folder that is not there is made, for its user alone")
  func newFolder() async throws {
    let (folder, run) = (try TestFolder(), Run())
    let new = folder.file("secrets")
    #expect(await run.command(Self.environment).run(["config", "from-env", "--secrets", new]) == 0, "\(run.error)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: new).sorted() == Self.secretNames)
    #expect(try FileManager.default.attributesOfItem(atPath: new)[.posixPermissions] as? Int == 0o700)
  }

  @Test("one that cannot be made is told, with its name")
  func noFolder() async throws {
    let run = Run()
    #expect(await run.command(Self.environment).run(["config", "from-env", "--secrets", "/nowhere/secrets"]) == 1)
    #expect(run.error.contains("nothing written: /nowhere/secrets: No such file or directory"))
  }

  @Test("relative paths become whole ones: those of a file would begin at its folder")
  func relative() throws {
    let environment = EnvironmentFixture.minimal.merging([
      "LOG_FILE": "logs/intercom.log", "NODE_EXTRA_CA_CERTS": "ca.pem", "REDIS_MTLS": "true", "REDIS_MTLS_FOLDER": "redis",
    ]) { _, new in new }
    let yaml = EnvironmentFixture.loader(environment).exportEnvironment(secretFolder: "secrets", workingFolder: "/srv/intercom").yaml
    for line in [
      "clientSecret: {fromFile: \"/srv/intercom/secrets/client-secret\"}", "keys: [{fromFile: \"/srv/intercom/secrets/session-key\"}]",
      "file: /srv/intercom/logs/intercom.log", "extraAuthorities: /srv/intercom/ca.pem", "chain: /srv/intercom/redis/client-cert.pem",
      "key: /srv/intercom/redis/client-key.pem", "tls: true",
    ] {
      #expect(yaml.contains(line), "\(line)\n\(yaml)")
    }
    let whole = EnvironmentFixture.minimal.merging(["LOG_FILE": "/var/log/a.log"]) { _, new in new }
    #expect(
      EnvironmentFixture.loader(whole).exportEnvironment(secretFolder: "/run/secrets", workingFolder: "/").yaml.contains(
        "file: /var/log/a.log"))
  }

  @Test("a log file that cannot be written is a fault in the check, as at the start")
  func logFile() async throws {
    let folder = try TestFolder()
    func check(_ file: String) async -> (code: Int32, text: String) {
      let run = Run()
      let environment = EnvironmentFixture.minimal.merging(["LOG_FILE": file]) { _, new in new }
      return (await run.command(environment).run(["config", "check"]), run.output)
    }
    let missing = await check(folder.path + "/none/intercom.log")
    #expect(
      missing.code == 1
        && missing.text.contains(
          "LOG_FILE: log.file: the log file '\(folder.path)/none/intercom.log' cannot be written: No such file or directory")
    )
    let isFolder = await check(folder.path)
    #expect(isFolder.code == 1 && isFolder.text.contains("cannot be written: Is a directory"))
    for usable in [folder.file("intercom.log"), "/dev/null"] {
      #expect(!(await check(usable)).text.contains("cannot be written"), "\(usable)")
    }
    #expect(try names(in: folder) == [])
  }
}
