import IntercomCore
import YAML

/// A configuration that was put together from variables of the environment: what a file would say, each value with the variable that it
/// comes from. `ConfigurationReader` reads it as it reads a file, so both have the same checks and defaults.
package struct ConfigurationTree: Sendable {
  enum Value: Sendable {
    case text(String)
    /// A number or `true` or `false`.
    case literal(String)
    /// In YAML its path is whole: there a relative one begins elsewhere.
    case file(String)
    /// One of a list: all leaves of its path are.
    case item(String)
    /// In YAML it is read from a file of this name; `isList`: a list of one.
    case secret(Secret<String>, file: String, isList: Bool)
  }

  struct Leaf: Sendable {
    let path: [String]
    let value: Value
    let variable: String
    /// For people, in YAML behind a `#`.
    let note: String?
  }

  private(set) var leaves: [Leaf] = []

  package init() {}

  package mutating func set(_ path: String..., to text: String, from variable: String, note: String? = nil) {
    leaves.append(Leaf(path: path, value: .text(text), variable: variable, note: note))
  }

  /// Sets a boolean or a number.
  package mutating func set(_ path: String..., toLiteral text: String, from variable: String) {
    leaves.append(Leaf(path: path, value: .literal(text), variable: variable, note: nil))
  }

  /// Sets the path of a file, which begins at the working directory.
  package mutating func set(_ path: String..., toFile file: String, from variable: String) {
    leaves.append(Leaf(path: path, value: .file(file), variable: variable, note: nil))
  }

  /// Adds to the list of that path.
  package mutating func add(_ path: String..., item: String, from variable: String) {
    leaves.append(Leaf(path: path, value: .item(item), variable: variable, note: nil))
  }

  /// - Parameters:
  ///   - file: the name under which YAML finds it.
  ///   - isList: the setting is a list, of which this is the only item.
  package mutating func set(
    _ path: String..., toSecret secret: Secret<String>, file: String, isList: Bool = false, from variable: String, note: String? = nil
  ) {
    leaves.append(Leaf(path: path, value: .secret(secret, file: file, isList: isList), variable: variable, note: note))
  }

  /// The secrets by the names of their files, in order.
  package var secrets: [(file: String, variable: String, secret: Secret<String>)] {
    leaves.compactMap { leaf in
      guard case .secret(let secret, let file, _) = leaf.value else { return nil }
      return (file, leaf.variable, secret)
    }
  }

  // MARK: As a tree with marks

  /// The line of a mark is the number of the leaf, from 1.
  func place(_ mark: YAMLMark) -> ConfigurationPlace {
    leaves.indices.contains(mark.line - 1) ? .variable(leaves[mark.line - 1].variable) : .variable("the environment")
  }

  var root: YAMLNode { Self.node(leaves.enumerated().map { ($0.offset + 1, $0.element, 0) }, YAMLMark(line: 0, column: 1)) }

  private static func node(_ leaves: [(line: Int, leaf: Leaf, depth: Int)], _ mark: YAMLMark) -> YAMLNode {
    var entries: [YAMLNode.Entry] = []
    for (key, inner) in groups(leaves) {
      let mark = YAMLMark(line: inner.first?.line ?? 0, column: 1)
      let isLeaf = inner[0].leaf.path.count == inner[0].depth + 1
      let value = isLeaf ? self.value(inner) : node(inner.map { ($0.line, $0.leaf, $0.depth + 1) }, mark)
      entries.append(YAMLNode.Entry(key: key, mark: mark, value: value))
    }
    return YAMLNode(.map(entries), mark)
  }

  /// Those with the same key at their depth together, in the order in which the keys appear.
  private static func groups(
    _ leaves: [(line: Int, leaf: Leaf, depth: Int)]
  ) -> [(key: String, leaves: [(line: Int, leaf: Leaf, depth: Int)])] {
    var groups: [(key: String, leaves: [(line: Int, leaf: Leaf, depth: Int)])] = []
    for one in leaves where one.leaf.path.indices.contains(one.depth) {
      let key = one.leaf.path[one.depth]
      if let index = groups.firstIndex(where: { $0.key.utf8.elementsEqual(key.utf8) }) {
        groups[index].leaves.append(one)
      } else {
        groups.append((key, [one]))
      }
    }
    return groups
  }

  private static func value(_ leaves: [(line: Int, leaf: Leaf, depth: Int)]) -> YAMLNode {
    let scalars = leaves.map { line, leaf, _ in
      let text =
        switch leaf.value {
        case .text(let text), .literal(let text), .file(let text), .item(let text): text
        case .secret(let secret, _, _): secret.reveal()
        }
      return YAMLNode(.scalar(text, plain: false), YAMLMark(line: line, column: 1))
    }
    switch leaves[0].leaf.value {
    case .item, .secret(_, _, isList: true): return YAMLNode(.list(scalars), scalars[0].mark)
    case .text, .literal, .file, .secret: return scalars[0]
    }
  }

  // MARK: As text

  /// Folders of the machine, as whole paths.
  private struct Folders {
    let secrets: String
    let working: String
  }

  /// The same as a file. Secrets are `{fromFile: folder/name}`: none of them is in the text.
  ///
  /// - Parameters:
  ///   - folder: of the files with the secrets; like other files it is written as a whole path.
  ///   - working: where relative paths begin.
  package func yaml(secretFolder folder: String, workingFolder working: String) -> String {
    let folders = Folders(secrets: Self.whole(folder, working), working: working)
    return Self.lines(leaves.enumerated().map { ($0.offset + 1, $0.element, 0) }, folders).joined(separator: "\n") + "\n"
  }

  /// The path from the root on.
  package static func whole(_ path: String, _ working: String) -> String {
    path.hasPrefix("/") ? path : (working.hasSuffix("/") ? working : working + "/") + path
  }

  private static func lines(_ leaves: [(line: Int, leaf: Leaf, depth: Int)], _ folders: Folders) -> [String] {
    groups(leaves).flatMap { key, inner -> [String] in
      let indent = String(repeating: "  ", count: inner[0].depth)
      guard inner[0].leaf.path.count == inner[0].depth + 1 else {
        return [indent + quotedIfNeeded(key) + ":"] + lines(inner.map { ($0.line, $0.leaf, $0.depth + 1) }, folders)
      }
      let note = inner[0].leaf.note.map { "  # \($0)" } ?? ""
      return ["\(indent)\(quotedIfNeeded(key)): \(text(inner.map(\.leaf.value), folders))\(note)"]
    }
  }

  private static func text(_ values: [Value], _ folders: Folders) -> String {
    switch values[0] {
    case .text(let text): return quotedIfNeeded(text)
    case .literal(let text): return wholeNumber(text) != nil || ["true", "false"].contains(text) ? text : inQuotes(text)
    case .file(let path): return quotedIfNeeded(whole(path, folders.working))
    case .item:
      let items = values.map { value in if case .item(let text) = value { inQuotes(text) } else { "" } }
      return "[" + items.joined(separator: ", ") + "]"
    case .secret(_, let file, let isList):
      let map = "{fromFile: \(inQuotes(folders.secrets + "/" + file))}"
      return isList ? "[\(map)]" : map
    }
  }

  /// What readers of YAML 1.1 or 1.2 take for something else than text, in any case.
  private static let reserved: Set<String> = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"]

  /// Plain where no reader of YAML could take it for anything else: numbers, dates and the like begin with no letter.
  private static func quotedIfNeeded(_ text: String) -> String {
    let isPlain = { (byte: UInt8) in
      byte &- 48 < 10 || (byte | 0x20) &- 97 < 26
        || [UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: "_"), UInt8(ascii: "-")].contains(byte)
    }
    guard let first = text.utf8.first, (first | 0x20) &- 97 < 26 || first == UInt8(ascii: "/"), text.utf8.allSatisfy(isPlain),
      !reserved.contains(text.lowercased())
    else { return inQuotes(text) }
    return text
  }

  private static func inQuotes(_ text: String) -> String {
    let pairs = [("\\", "\\\\"), ("\"", "\\\""), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")]
    return "\"" + pairs.reduce(text) { $0.replacing($1.0, with: $1.1) } + "\""
  }
}
