import FoundationEssentials
import IntercomTesting
import Linux

/// Apache's mod_dav on a free port of 127.0.0.1: everybody may do everything below `/dav/`.
struct DavServer: Sendable {
  let port: Int
  private let child: ChildProcess
  private let folder: TestFolder

  private static let program = "/usr/sbin/apache2"
  static var isThere: Bool { FileManager.default.isExecutableFile(atPath: program) || Services.areRequired }

  /// Returns when it answers.
  static func start() async throws -> DavServer {
    let folder = try TestFolder()
    let port = try FreePort.next()
    for name in ["files/dav", "run"] {
      try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true)
    }
    // Started by root it becomes another user, who must be able to enter and write.
    let owner = ["sh", "-c", "[ $(id -u) != 0 ] || { chmod 755 \"$0\"; chown -R www-data \"$0/files\" \"$0/run\"; }", folder.path]
    guard try await ChildProcess("/usr/bin/env", owner).waitForExit() == .code(0) else {
      throw WaitFailure("cannot give \(folder.path) to www-data", within: .zero)
    }
    let file = folder.file("httpd.conf")
    guard FileManager.default.createFile(atPath: file, contents: Data(configuration(folder.path, port).utf8)) else {
      throw WaitFailure("cannot write \(file)", within: .zero)
    }
    let server = DavServer(
      port: port, child: try ChildProcess(program, ["-f", file, "-DFOREGROUND"], log: "apache-dav"), folder: folder)
    do {
      try await waitUntilTrue("an answer of Apache", within: .seconds(20), pause: .milliseconds(50)) {
        (try? await RawHTTPClient().send("OPTIONS", "http://127.0.0.1:\(port)/dav/").status) == 200
      }
    } catch { throw WaitFailure("\(error)", within: .zero, seen: server.child.outputTail) }
    return server
  }

  func stop() async { await child.terminate() }

  private static func configuration(_ folder: String, _ port: Int) -> String {
    """
    ServerRoot /usr/lib/apache2
    ServerName 127.0.0.1
    Listen 127.0.0.1:\(port)
    PidFile \(folder)/run/httpd.pid
    ErrorLog /dev/stderr
    LogLevel warn
    User www-data
    Group www-data
    DefaultRuntimeDir \(folder)/run
    Mutex file:\(folder)/run default
    LoadModule mpm_event_module modules/mod_mpm_event.so
    LoadModule authz_core_module modules/mod_authz_core.so
    LoadModule dav_module modules/mod_dav.so
    LoadModule dav_fs_module modules/mod_dav_fs.so
    StartServers 1
    ServerLimit 2
    ThreadsPerChild 25
    MaxRequestWorkers 50
    DocumentRoot \(folder)/files
    DavLockDB \(folder)/run/lock
    <Directory \(folder)/files>
      Require all granted
      Dav On
    </Directory>

    """
  }
}
