import FoundationEssentials
import IntercomCore
import IntercomTesting
import Linux

/// Tools that look at the pages: axe-core and the TypeScript compiler, from the shared folder's `tools`.
///
/// `INTERCOM_SHARED` names that folder (default `../shared`). Both are published on npm (`axe-core`, `typescript`).
enum PageTools {
  static let shared: String = {
    let name = "INTERCOM_SHARED="
    let set = environmentStrings().first { $0.utf8.starts(with: name.utf8) }
    return set.map { String($0.dropFirst(name.count)) } ?? PackageRoot.path + "/../shared"
  }()
  static let assets = PackageRoot.path + "/Sources/Features/DemoPages/assets"

  /// The archive in the shared folder whose name begins like this.
  static func archive(_ prefix: String) -> String? {
    let folder = shared + "/tools"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.first { $0.hasPrefix(prefix) && $0.hasSuffix(".xz") }.map { "\(folder)/\($0)" }
  }

  /// The script of axe-core.
  static func axe() async throws -> String {
    let packed = try found("axe-")
    let child = try ChildProcess("xz", ["-dc", packed], log: "axe")
    guard try await child.waitForExit(within: .seconds(30)) == .code(0) else { throw MissingTool(name: child.outputTail) }
    return String(decoding: FileManager.default.contents(atPath: child.logPath) ?? Data(), as: UTF8.self)
  }

  /// The native compiler, unpacked once below `.build`.
  static func typeScript() async throws -> String {
    let folder = PackageRoot.build + "/tools"
    let program = folder + "/typescript/node_modules/@typescript/typescript-linux-x64/lib/tsc"
    if !FileManager.default.isExecutableFile(atPath: program) {
      try FileManager.default.createDirectory(atPath: folder + "/typescript", withIntermediateDirectories: true)
      let child = try ChildProcess("tar", ["-xJf", try found("typescript-"), "-C", folder + "/typescript"], log: "tar")
      guard try await child.waitForExit(within: .seconds(60)) == .code(0) else { throw MissingTool(name: child.outputTail) }
    }
    return program
  }

  private static func found(_ prefix: String) throws -> String {
    guard let path = archive(prefix) else { throw MissingTool(name: prefix) }
    return path
  }
}

struct MissingTool: Error { let name: String }
