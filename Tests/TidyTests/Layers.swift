import IntercomTesting

/// The rows of `docs/decisions` and of the folders of Sources, from the top down.
let rows = ["App", "Features", "HTTP", "Adapters", "Domain", "IO", "Wire", "Core", "System"]

/// A target of Package.swift, in the order of the manifest.
struct Target: Sendable, Equatable {
  let layer: String
  let name: String
  let dependencies: [String]
  /// The module is a C library, imported by the face of this folder alone.
  var face: String?
}

/// Reads the helper calls `module`, `face`, `library`, `ownC` and the executable from the manifest.
func targets(in manifest: SourceFile) -> [Target] {
  var targets: [Target] = []
  let text = manifest.bytes
  for position in text.positions(of: Array("(".utf8)) {
    let head = text[..<position]
    let name = String(decoding: head.reversed().prefix { $0.isIdentifierPart }.reversed(), as: UTF8.self)
    let isDeclaration = head.dropLast(name.utf8.count).suffix(5).elementsEqual("func ".utf8)
    guard ["module", "face", "library", "ownC", "executableTarget"].contains(name), !isDeclaration else { continue }
    let strings = literals(in: text[position...])
    switch name {
    case "module" where strings.count >= 2:
      targets.append(Target(layer: strings[0], name: strings[1], dependencies: Array(strings.dropFirst(2)).filter { $0 != "assets" }))
    case "face" where !strings.isEmpty:
      targets.append(Target(layer: "System", name: strings[0], dependencies: Array(strings.dropFirst())))
    case "library" where strings.count >= 2, "ownC" where strings.count >= 2:
      targets.append(Target(layer: "System", name: strings[1], dependencies: [], face: strings[0]))
    case "executableTarget" where strings.count >= 2:
      // Its folder says the layer: programs that tests run stand below Testing.
      let path = strings.last { $0.hasPrefix("Sources/") } ?? ""
      let layer = path.split(separator: "/").dropFirst().first.map(String.init) ?? "App"
      targets.append(Target(layer: layer, name: strings[0], dependencies: strings.dropFirst().filter { !$0.contains("/") }))
    default: continue
    }
  }
  return targets
}

/// The string literals between the parenthesis at the beginning of `text` and the one that closes it.
private func literals(in text: ArraySlice<UInt8>) -> [String] {
  var found: [String] = []
  var depth = 0
  var literal: [UInt8]?
  for byte in text {
    if var open = literal {
      if byte == UInt8(ascii: "\"") {
        found.append(String(decoding: open, as: UTF8.self))
        literal = nil
      } else {
        open.append(byte)
        literal = open
      }
    } else if byte == UInt8(ascii: "\"") {
      literal = []
    } else if byte == UInt8(ascii: "(") {
      depth += 1
    } else if byte == UInt8(ascii: ")") {
      depth -= 1
      if depth == 0 { return found }
    }
  }
  return found
}

/// Why `from` may not import `to`; nil when it may.
func layerFault(from: Target, to: Target, order: [Target]) -> String? {
  if let face = to.face { return from.name == face ? nil : "the C module \(to.name) is imported by its face \(face) alone" }
  // A program of the tests or of dev/bench may be a whole Intercom; what tests share may not.
  if from.layer == "Testing" {
    return to.layer == "App" && from.name == "IntercomTesting" ? "IntercomTesting may import everything but App" : nil
  }
  if to.layer == "Testing" { return "IntercomTesting is imported by tests only" }
  // Embedded pages are data with a compile time of their own, not a feature.
  if from.name == "DemoWorkplace", to.name == "DemoPages" { return nil }
  guard let fromRow = rows.firstIndex(of: from.layer), let toRow = rows.firstIndex(of: to.layer) else {
    return "\(from.layer) or \(to.layer) is not a layer: \(rows.joined(separator: ", "))"
  }
  if to.layer == "Adapters", from.layer != "App" { return "only App imports adapters: take the protocol that \(to.name) implements" }
  if toRow < fromRow { return "\(to.layer) lies above \(from.layer): imports go downwards" }
  if toRow == fromRow {
    if from.layer == "Features" { return "features never import each other: meet in a lower layer" }
    let position = { (target: Target) in order.firstIndex { $0.name == target.name } ?? 0 }
    return position(to) < position(from) ? nil : "in a row a target imports only what stands to its left in Package.swift"
  }
  let apart: Set<String> = ["Domain", "IO", "Wire"]
  if apart.contains(from.layer), apart.contains(to.layer) { return "Domain, IO and Wire do not import each other" }
  return nil
}

/// Modules from outside the package and the layers that may import them (nil: all).
private let outside: [String: Set<String>?] = [
  "FoundationEssentials": nil, "Synchronization": nil, "Glibc": ["System"], "Testing": ["Testing", "Tests"],
  "PackageDescription": ["Package.swift"],
]

/// The module names of the import lines of a file, with their lines.
func imports(of file: SourceFile) -> [(module: String, line: Int)] {
  file.codeLines.enumerated().compactMap { index, line in
    var words = line.trimmed.split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }[...]
    while let word = words.first, word.hasPrefix("@") || ["package", "internal", "private", "fileprivate", "public"].contains(word) {
      words = words.dropFirst()
    }
    guard words.first == "import", var module = words.dropFirst().first else { return nil }
    if ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"].contains(module) {
      module = words.dropFirst(2).first ?? ""
    }
    return (String(module.prefix { $0 != "." }), index + 1)
  }
}

/// Every import of Sources and Tests against the rows.
func layerViolations(in tree: SourceTree) -> [Violation] {
  guard let manifest = tree.file("Package.swift") ?? SourceTree.checkout.file("Package.swift") else { return [] }
  let order = targets(in: manifest)
  let byName = Dictionary(order.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  var violations: [Violation] = []
  for file in tree.swiftFiles {
    let parts = file.parts
    guard parts.first == "Sources" && parts.count > 3 || parts.first == "Tests" else { continue }
    let isTest = parts[0] == "Tests"
    let name = parts[1] == "System" && parts.count > 4 ? parts[3] : parts[min(2, parts.count - 1)]
    let layer = isTest ? "Tests" : parts[1]
    for (module, line) in imports(of: file) {
      var fault: String?
      if let to = byName[module] {
        guard !isTest else {
          if to.face != nil { violations.append(Violation(path: file.path, line: line, message: "tests use the face of \(module)")) }
          continue
        }
        guard let from = byName[name] else {
          violations.append(Violation(path: file.path, line: line, message: "\(name) is no target of Package.swift"))
          continue
        }
        fault = layerFault(from: from, to: to, order: order)
      } else if let layers = outside[module] {
        if let layers, !layers.contains(layer) { fault = "only \(layers.sorted().joined(separator: " and ")) may import \(module)" }
      } else {
        fault = "\(module) is neither a target nor an allowed module: no outside Swift packages, FoundationEssentials instead of Foundation"
      }
      if let fault { violations.append(Violation(path: file.path, line: line, message: "import \(module): \(fault)")) }
    }
  }
  return violations
}

/// The manifest's own dependency edges against the rows, and each source folder against the manifest.
func manifestViolations(in tree: SourceTree) -> [Violation] {
  guard let manifest = tree.file("Package.swift") else { return [] }
  let order = targets(in: manifest)
  let byName = Dictionary(order.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  var violations: [Violation] = []
  for target in order {
    for dependency in target.dependencies {
      guard let to = byName[dependency] else {
        violations.append(Violation(path: manifest.path, line: 1, message: "\(target.name) depends on the unknown target \(dependency)"))
        continue
      }
      if let fault = layerFault(from: target, to: to, order: order) {
        violations.append(Violation(path: manifest.path, line: 1, message: "\(target.name) depends on \(dependency): \(fault)"))
      }
    }
  }
  if manifest.bytes.contains(".package(url") || manifest.bytes.contains(".package(path") {
    violations.append(
      Violation(path: manifest.path, line: 1, message: "no outside Swift packages: C libraries of Debian behind a face in System"))
  }
  return violations
}
