import FoundationEssentials
import IntercomTesting

/// Words that say that something is not done. Written in two parts so that this file does not hold them.
private let openWork = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]

/// Work that is open belongs into the tracker, or is done now.
func openWorkViolations(in tree: SourceTree) -> [Violation] {
  words(openWork, in: tree, skipping: ["LICENSE"]) { "\($0): finish it, or put it into the tracker" }
}

/// Paths that exist on one machine only.
func machinePathViolations(in tree: SourceTree) -> [Violation] {
  let folders = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"]
  return words(folders, in: tree, skipping: []) { "\($0)… is a path of one machine: make it relative to the checkout, or a variable" }
}

/// Where packages come from is the machine's business (its package manager's configuration), never the project's.
func registryViolations(in tree: SourceTree) -> [Violation] {
  let hosts = [
    "py" + "pi.org", "python" + "hosted.org", "deb.deb" + "ian.org", "npm" + "js.org", "npm" + "js.com", "docker" + ".io", "gh" + "cr.io",
    "crates" + ".io", "ruby" + "gems.org", "proxy.go" + "lang.org", "quay" + ".io", "archive.ubu" + "ntu.com",
  ]
  return words(hosts, in: tree, skipping: []) { "\($0) is a package registry: leave it to the package manager" }
}

/// Finds words that are not part of a longer one, in comments and text too.
private func words(
  _ words: [String], in tree: SourceTree, skipping: [String], message: (String) -> String
) -> [Violation] {
  words.flatMap { word -> [Violation] in
    let needle = Array(word.utf8)
    return tree.files.filter { !skipping.contains($0.path) }.flatMap { file in
      file.bytes.positions(of: needle).compactMap { position -> Violation? in
        if position > 0 {
          let before = file.bytes[position - 1]
          if before.isIdentifierPart || (word.hasPrefix("/") && [UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "}")].contains(before))
          {
            return nil
          }
        }
        let end = position + needle.count
        if needle.last?.isIdentifierPart == true, end < file.bytes.count, file.bytes[end].isIdentifierPart { return nil }
        return Violation(path: file.path, line: file.line(of: position), message: message(word))
      }
    }
  }
}

/// A link of a document leads to something that is there.
func linkViolations(in tree: SourceTree) -> [Violation] {
  tree.files.filter { $0.path.hasSuffix(".md") }.flatMap { file -> [Violation] in
    file.bytes.positions(of: Array("](".utf8)).compactMap { position -> Violation? in
      let target = String(decoding: file.bytes[(position + 2)...].prefix { $0 != 0x29 && $0 != 0x23 && $0 != 0x0a }, as: UTF8.self)
      guard !target.isEmpty, !target.utf8.contains(UInt8(ascii: ":")) else { return nil }
      var parts = Array(file.parts.dropLast())
      for part in target.split(separator: "/") {
        if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(String(part)) }
      }
      let path = parts.joined(separator: "/")
      let isThere = tree.files.contains { $0.path == path || $0.path.hasPrefix(path + "/") }
      if isThere || FileManager.default.fileExists(atPath: PackageRoot.path + "/" + path) { return nil }
      return Violation(path: file.path, line: file.line(of: position), message: "the link to \(target) leads nowhere")
    }
  }
}

private let maximumScriptLines = 150

/// Scripts start things; logic belongs into Swift, where it has types and tests.
func scriptViolations(in tree: SourceTree) -> [Violation] {
  tree.files.filter { $0.path.hasPrefix("dev/") || $0.path.hasPrefix(".ci/") }.flatMap { file -> [Violation] in
    var faults: [String] = []
    if file.lines.count > maximumScriptLines {
      faults.append("\(file.lines.count) lines, at most \(maximumScriptLines): move the logic into Swift")
    }
    if !file.path.hasSuffix(".sh") {
      if !file.isExecutable { faults.append("not executable: chmod +x") }
      if !file.bytes.starts(with: "#!/usr/bin/env bash\n".utf8) { faults.append("begins with #!/usr/bin/env bash") }
      if !file.bytes.contains("set -euo pipefail") { faults.append("set -euo pipefail: a failed step must not be passed over") }
    }
    return faults.map { Violation(path: file.path, line: 1, message: $0) }
  }
}
