import IntercomCore
import YAML

/// A file that the configuration names: a secret, for example.
package struct ConfigurationFile: Sendable {
  package let bytes: [UInt8]
  /// Users besides the owner and its group may read it.
  package let isReadableByOthers: Bool
  package init(_ bytes: [UInt8], isReadableByOthers: Bool = false) {
    self.bytes = bytes
    self.isReadableByOthers = isReadableByOthers
  }
}

/// Why a file could not be read, in words (`No such file or directory`).
package struct ConfigurationFileError: Error, Sendable {
  package let reason: String
  package init(_ reason: String) { self.reason = reason }
}

/// Reads a whole file of bounded size; given from outside so that tests own the files.
package typealias ReadConfigurationFile = @Sendable (String) throws(ConfigurationFileError) -> ConfigurationFile

/// Reads a configuration and collects every fault instead of stopping at the first.
///
/// Whoever builds the model asks `top` for its settings; what nobody asked for is an unknown key. Not thread-safe, used once.
package final class ConfigurationReader {
  private let file: String
  private let readFile: ReadConfigurationFile
  private var overlay: EnvironmentOverlay
  private let root: YAMLNode?
  /// What is read instead of a file.
  private let tree: ConfigurationTree?
  /// Which variables stand for settings where there is no file, by the settings' paths.
  private let variableNames: [String: String]
  private var collected: [ConfigurationFault] = []
  private var sections: [SectionRecord] = []
  /// Paths (with `*` for a name that the operator chose) of all settings asked for, for tests against the table of settings.
  package private(set) var askedPaths: Set<String> = []
  private var askedVariables: Set<String> = []
  /// Whether a secret stands in the file itself.
  package private(set) var holdsInlineSecrets = false

  /// What a map holds and which of its keys were asked for.
  private struct SectionRecord {
    let path: String
    let entries: [YAMLNode.Entry]
    var asked: Set<Identifier> = []
  }

  /// `file` is the name for messages and the directory for relative paths of secrets; `environment` is searched for `INTERCOM_CFG_…`.
  package init(file: String, bytes: [UInt8], environment: [String: String] = [:], readFile: @escaping ReadConfigurationFile) {
    self.file = file
    self.readFile = readFile
    overlay = EnvironmentOverlay(environment)
    tree = nil
    variableNames = [:]
    let reading = readYAML(bytes)
    root = reading.root
    collected = reading.faults.map {
      ConfigurationFault(.file(file, $0.mark), Self.joined($0.path), $0.problem, $0.remedy)
    }
    collected += overlay.faults
  }

  /// Reads what was put together from the environment, as if it stood in a file.
  ///
  /// - Parameters:
  ///   - environment: searched for `INTERCOM_CFG_…` all the same.
  ///   - variableNames: by the paths of settings, for remedies.
  package init(
    _ tree: ConfigurationTree, environment: [String: String], variableNames: [String: String], readFile: @escaping ReadConfigurationFile
  ) {
    file = ""
    self.readFile = readFile
    self.tree = tree
    self.variableNames = variableNames
    overlay = EnvironmentOverlay(environment)
    root = tree.root
    collected = overlay.faults
  }

  /// What mends a setting: `inFile` where there is a file, else the variable that must be set to `value`.
  package func remedy(_ inFile: String, _ path: String, _ value: String) -> String {
    guard tree != nil else { return inFile }
    return "set \(variableNames[path] ?? EnvironmentOverlay.name(of: path.split(separator: ".").map(String.init)))=\(value)"
  }

  private static func joined(_ path: [String]) -> String {
    path.reduce("") { $0 + ($0.isEmpty || $1.hasPrefix("[") ? "" : ".") + printable($1) }
  }

  /// False when the text is not YAML: then asking for settings would only bring faults that follow from the first.
  package var isReadable: Bool { root != nil }

  /// Variables are read instead of a file.
  package var isEnvironment: Bool { tree != nil }

  /// The whole document.
  package var top: ConfigurationSection {
    let place = filePlace(YAMLMark(line: 1, column: 1))
    var entries: [YAMLNode.Entry]?
    switch root?.value {
    case .map(let all)?: entries = all
    case nil, .refused?: break
    case .scalar?, .list?:
      if root?.isNull == true {
        entries = []
      } else {
        add(ConfigurationFault(place, "", "the file is no map of settings", "write lines such as 'listen: 127.0.0.1:8008'"))
      }
    }
    return section(entries, place: place, path: "", pattern: [], levels: [])
  }

  package func add(_ fault: ConfigurationFault) { collected.append(fault) }

  /// A fault of a value that was read already.
  package func refuse<Value>(_ value: Located<Value>, _ problem: String, _ remedy: String) {
    add(ConfigurationFault(value.place, value.path, problem, remedy))
  }

  package func warn<Value>(_ value: Located<Value>, _ problem: String, _ remedy: String) {
    add(ConfigurationFault(value.place, value.path, problem, remedy, severity: .warning))
  }

  /// All faults so far and what is unknown, in the order of the file; warnings among them.
  package func finish() -> [ConfigurationFault] {
    var all = Set(collected)
    if isReadable {
      for section in sections {
        for entry in section.entries where !section.asked.contains(Identifier(entry.key)) {
          let path = (section.path.isEmpty ? "" : section.path + ".") + printable(entry.key)
          all.insert(
            ConfigurationFault(
              filePlace(entry.mark), path, "unknown key", Self.remedy(for: entry.key, among: section.asked.map(\.description).sorted())))
        }
      }
      for name in overlay.unknown {
        let near = suggestion(for: name, among: askedVariables.sorted())
        let remedy = near.map { "did you mean \($0)?" } ?? "no setting has this name: remove the variable, or see docs/configuration.md"
        all.insert(ConfigurationFault(.variable(name), "", "unknown setting", remedy))
      }
    }
    return all.sorted()
  }

  private static func remedy(for key: String, among known: [String]) -> String {
    if let near = suggestion(for: key, among: known) { return "did you mean '\(near)'?" }
    guard known.count <= 16 else { return "remove it, or see docs/configuration.md" }
    return "known here: " + known.joined(separator: ", ")
  }

  // MARK: For sections and values

  func section(
    _ entries: [YAMLNode.Entry]?, place: ConfigurationPlace, path: String, pattern: [String], levels: [[UInt8]]
  ) -> ConfigurationSection {
    let all = entries ?? []
    sections.append(SectionRecord(path: path, entries: all))
    let positions = Dictionary(all.enumerated().map { (Identifier($0.element.key), $0.offset) }) { first, _ in first }
    return ConfigurationSection(
      reader: self, id: sections.count - 1, entries: all, positions: positions, place: place, path: path, pattern: pattern, levels: levels,
      isReadable: entries != nil)
  }

  func asked(_ key: String, in id: Int, pattern: [String], isSecret: Bool = false) {
    if sections.indices.contains(id) { sections[id].asked.insert(Identifier(key)) }
    askedPaths.insert(pattern.joined(separator: "."))
    let variable = EnvironmentOverlay.name(of: pattern)
    if !variable.contains("*") {
      askedVariables.insert(variable)
      if isSecret { askedVariables.insert(variable + "_FILE") }
    }
  }

  func variable(_ levels: [[UInt8]]) -> EnvironmentOverlay.Variable? { overlay.take(levels) }
  func variableChildren(of levels: [[UInt8]]) -> [String] { overlay.children(of: levels) }
  func filePlace(_ mark: YAMLMark) -> ConfigurationPlace { tree?.place(mark) ?? .file(file, mark) }
  func noteInlineSecret() { holdsInlineSecrets = true }

  /// The text of a secret's file without its last line feed; nil and a fault when there is none. The message holds neither the content
  /// nor the name: people write secrets where a file's name belongs.
  func secretText(at name: String, for place: ConfigurationPlace, _ path: String) -> String? {
    do throws(ConfigurationFileError) {
      var bytes = try readFile(resolved(name, for: place)).bytes
      if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
      if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
      guard !bytes.isEmpty else {
        add(ConfigurationFault(place, path, "the file named here is empty", "write the secret into it"))
        return nil
      }
      guard let text = String(validating: bytes, as: UTF8.self) else {
        add(ConfigurationFault(place, path, "the file named here is not text", "write the secret as UTF-8"))
        return nil
      }
      return text
    } catch {
      add(ConfigurationFault(place, path, "cannot read the file named here: \(error.reason)", "name a file that this process may read"))
      return nil
    }
  }

  /// A relative path in the file is relative to the file's directory, one in a variable to the working directory.
  func resolved(_ name: String, for place: ConfigurationPlace) -> String {
    guard case .file = place, !name.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return name }
    return file[...slash] + name
  }
}
