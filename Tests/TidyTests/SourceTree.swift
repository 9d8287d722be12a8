import FoundationEssentials
import IntercomTesting
import Testing

/// One text file of the checkout. `path` is relative to the package root.
struct SourceFile: Sendable {
  let path: String
  let bytes: [UInt8]
  let isExecutable: Bool
  /// The bytes with comments and the text of string literals replaced by spaces; line ends stay. Equal to `bytes` for other languages.
  let code: [UInt8]

  init(path: String, bytes: [UInt8], isExecutable: Bool = false) {
    self.path = path
    self.bytes = bytes
    self.isExecutable = isExecutable
    code = path.hasSuffix(".swift") ? maskSwift(bytes) : bytes
  }

  init(_ path: String, _ text: String, isExecutable: Bool = false) {
    self.init(path: path, bytes: Array(text.utf8), isExecutable: isExecutable)
  }

  var isSwift: Bool { path.hasSuffix(".swift") }
  /// The path's folders and the file's name.
  var parts: [String] { path.split(separator: "/").map(String.init) }

  /// The lines of the masked code, first line first.
  var codeLines: [[UInt8]] { code.split(separator: 0x0a, omittingEmptySubsequences: false).map(Array.init) }
  var lines: [[UInt8]] { bytes.split(separator: 0x0a, omittingEmptySubsequences: false).map(Array.init) }

  /// The line, counted from 1, of a position in `bytes` or `code`.
  func line(of position: Int) -> Int { 1 + bytes[..<min(position, bytes.count)].count { $0 == 0x0a } }
}

/// What a rule found: where, what, and what to do instead.
struct Violation: Sendable, CustomStringConvertible {
  let path: String
  let line: Int
  let message: String

  var description: String { "\(path):\(line): \(message)" }
}

/// The files that rules look at: the checkout's, or planted ones.
struct SourceTree: Sendable {
  let files: [SourceFile]

  init(_ files: [SourceFile]) { self.files = files }

  var swiftFiles: [SourceFile] { files.filter(\.isSwift) }
  func file(_ path: String) -> SourceFile? { files.first { $0.path == path } }

  /// The checkout that holds this test, read once.
  static let checkout: SourceTree = {
    let skipped: Set<String> = [".git", ".build", ".swiftpm", "node_modules", "Package.resolved"]
    let textEndings = [
      ".swift", ".h", ".modulemap", ".md", ".sh", ".json", ".yaml", ".yml", ".conf", ".template", ".html", ".css", ".js", ".svg", ".txt",
      ".py",
    ]
    var files: [SourceFile] = []
    func walk(_ folder: String) {
      let full = PackageRoot.path + (folder.isEmpty ? "" : "/" + folder)
      for name in ((try? FileManager.default.contentsOfDirectory(atPath: full)) ?? []).sorted() where !skipped.contains(name) {
        let path = folder.isEmpty ? name : folder + "/" + name
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: PackageRoot.path + "/" + path) else { continue }
        if attributes[.type] as? FileAttributeType == .typeDirectory {
          walk(path)
        } else if !name.contains(".") || textEndings.contains(where: name.hasSuffix) || folder.isEmpty {
          let bytes = FileManager.default.contents(atPath: PackageRoot.path + "/" + path).map(Array.init) ?? []
          let mode = (attributes[.posixPermissions] as? Int) ?? 0
          files.append(SourceFile(path: path, bytes: bytes, isExecutable: mode & 0o100 != 0))
        }
      }
    }
    walk("")
    return SourceTree(files)
  }()
}

/// A rule of the house: its name, why it is there, and how it is checked.
struct TidyRule: Sendable, CustomTestStringConvertible {
  let name: String
  let check: @Sendable (SourceTree) -> [Violation]

  var testDescription: String { name }

  static let all: [TidyRule] =
    [
      TidyRule(name: "layers") { layerViolations(in: $0) },
      TidyRule(name: "manifest") { manifestViolations(in: $0) },
      TidyRule(name: "sizes") { sizeViolations(in: $0) },
      TidyRule(name: "documentation") { documentationViolations(in: $0) },
      TidyRule(name: "force unwrap") { forceUnwrapViolations(in: $0) },
      TidyRule(name: "secrets are compared in constant time") { secretComparisonViolations(in: $0) },
      TidyRule(name: "public") { publicViolations(in: $0) },
      TidyRule(name: "open work") { openWorkViolations(in: $0) },
      TidyRule(name: "machine paths") { machinePathViolations(in: $0) },
      TidyRule(name: "registry hosts") { registryViolations(in: $0) },
      TidyRule(name: "links") { linkViolations(in: $0) },
      TidyRule(name: "scripts") { scriptViolations(in: $0) },
      TidyRule(name: "threat model") { threatModelViolations(in: $0) },
      TidyRule(name: "HTTP conformance") { conformanceViolations(in: $0) },
      TidyRule(name: "the wire") { wireViolations(in: $0) },
      TidyRule(name: "faults") { faultViolations(in: $0) },
    ] + Ban.all.map { ban in TidyRule(name: ban.pattern) { ban.violations(in: $0) } }
}
