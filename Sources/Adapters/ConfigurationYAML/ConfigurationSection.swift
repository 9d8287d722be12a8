import IntercomCore
import YAML

/// A map of the configuration, with what the environment lays over it.
package struct ConfigurationSection {
  package let reader: ConfigurationReader
  let id: Int
  let entries: [YAMLNode.Entry]
  /// Where each key stands in `entries`.
  let positions: [Identifier: Int]
  package let place: ConfigurationPlace
  package let path: String
  /// The path with `*` for names that the operator chose.
  let pattern: [String]
  let levels: [[UInt8]]
  /// False when what was written is no map: then missing settings are not reported on top of it.
  package let isReadable: Bool

  /// Whether nobody wrote anything into it.
  package var isEmpty: Bool { entries.isEmpty && reader.variableChildren(of: levels).isEmpty }

  /// Whether somebody wrote this key, without counting it as asked for.
  package func has(_ key: String) -> Bool {
    entry(key) != nil || !reader.variableChildren(of: levels).filter { letters($0) == letters(key) }.isEmpty
  }

  /// What was written for the setting; nil when nothing was, or when it is faulty (the fault is collected). A missing required setting is
  /// a fault of the section.
  package subscript<Value>(_ setting: Setting<Value>) -> Located<Value>? {
    let childPath = path(of: setting.name)
    reader.asked(setting.name, in: id, pattern: pattern + [setting.name], isSecret: setting.shape.isSecret)
    guard let found = find(setting.name, childPath, isSecret: setting.shape.isSecret) else { return missing(setting, childPath) }
    guard case .value(let source) = found, let value = setting.shape.read(source) else { return nil }
    return Located(value, source.place, source.path)
  }

  /// What was written for the setting, or its default; also the default when it is faulty, so that other checks can go on.
  package subscript<Value>(_ setting: DefaultedSetting<Value>) -> Located<Value> {
    self[setting.setting] ?? Located(setting.fallback, place, path(of: setting.setting.name), isWritten: false)
  }

  private func missing<Value>(_ setting: Setting<Value>, _ childPath: String) -> Located<Value>? {
    if setting.isRequired, isReadable {
      reader.add(ConfigurationFault(place, childPath, "missing", "write '\(setting.name): \(setting.example)'"))
    }
    return nil
  }

  /// The map below `key`; empty when nobody wrote it, so that its defaults and required settings show.
  package func section(_ key: String) -> ConfigurationSection {
    reader.asked(key, in: id, pattern: pattern + [key])
    return below(key, pattern: pattern + [key])
  }

  /// The maps below `key`, by names that the operator chooses. A variable may add to one or begin a new one (`FS_2` begins `fs-2`).
  package func named(_ key: String) -> [(name: Located<String>, section: ConfigurationSection)] {
    let outer = section(key)
    var names: [(String, ConfigurationPlace)] = outer.entries.map { ($0.key, reader.filePlace($0.mark)) }
    for written in reader.variableChildren(of: outer.levels) where !names.contains(where: { letters($0.0) == letters(written) }) {
      let name = String(decoding: written.utf8.map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }, as: UTF8.self).lowercased()
      names.append((name, .variable(EnvironmentOverlay.name(of: outer.pattern + [written]) + "__…")))
    }
    return names.map { name, place in
      reader.asked(name, in: outer.id, pattern: outer.pattern + ["*"])
      return (Located(name, place, outer.path(of: name)), outer.below(name, pattern: outer.pattern + ["*"], fallback: place))
    }
  }

  // MARK: Finding

  private enum Found {
    case value(ConfigurationValue)
    /// Written, but unusable; the fault is collected.
    case faulty
  }

  private func entry(_ key: String) -> YAMLNode.Entry? { positions[Identifier(key)].map { entries[$0] } }

  private func path(of key: String) -> String { (path.isEmpty ? "" : path + ".") + printable(key) }

  private func find(_ key: String, _ childPath: String, isSecret: Bool) -> Found? {
    let childLevels = levels + [letters(key)]
    let childPattern = pattern + [key]
    func value(_ source: ConfigurationValue.Source, _ place: ConfigurationPlace) -> Found {
      .value(ConfigurationValue(reader: reader, source: source, place: place, path: childPath, pattern: childPattern, levels: childLevels))
    }
    let variable = reader.variable(childLevels)
    if isSecret, let pointer = reader.variable(levels + [letters(key + "File")]) {
      let place = ConfigurationPlace.variable(pointer.name)
      if let variable {
        reader.add(ConfigurationFault(place, childPath, "\(variable.name) is set as well", "keep one of the two"))
        return .faulty
      }
      return reader.secretText(at: pointer.value, for: place, childPath).map { value(.text($0, separator: "\n"), place) } ?? .faulty
    }
    if let variable { return value(.text(variable.value, separator: ","), .variable(variable.name)) }
    let entry = entry(key)
    let isLaidOver = !reader.variableChildren(of: childLevels).isEmpty
    guard let node = entry?.value, !(node.isNull && isLaidOver) else {
      return isLaidOver ? value(.node(YAMLNode(.map([]), YAMLMark(line: 1, column: 1))), place) : nil
    }
    if case .refused = node.value { return .faulty }
    if node.isNull {
      reader.add(ConfigurationFault(reader.filePlace(node.mark), childPath, "has no value", "write one, or remove the key"))
      return .faulty
    }
    return value(.node(node), reader.filePlace(node.mark))
  }

  private func below(_ key: String, pattern: [String], fallback: ConfigurationPlace? = nil) -> ConfigurationSection {
    let childLevels = levels + [letters(key)]
    guard let entry = entry(key), !entry.value.isNull else {
      return reader.section([], place: fallback ?? place, path: path(of: key), pattern: pattern, levels: childLevels)
    }
    let keyPlace = reader.filePlace(entry.mark)
    var entries: [YAMLNode.Entry]?
    switch entry.value.value {
    case .map(let all): entries = all
    case .refused: break
    case .scalar, .list:
      reader.add(
        ConfigurationFault(
          reader.filePlace(entry.value.mark), path(of: key), "expected a map, found \(entry.value.kind)",
          "write its keys below it, indented"))
    }
    return reader.section(entries, place: keyPlace, path: path(of: key), pattern: pattern, levels: childLevels)
  }
}

extension YAMLNode {
  /// For messages.
  var kind: String {
    switch value {
    case .scalar: isNull ? "nothing" : "a single value"
    case .list: "a list"
    case .map: "a map"
    case .refused: "something that is not supported"
    }
  }
}
