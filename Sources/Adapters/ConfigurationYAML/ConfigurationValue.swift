import IntercomCore
import YAML

/// One written value, before it is known to be of its type. Its methods collect a fault and give nil when it is not.
package struct ConfigurationValue {
  enum Source {
    case node(YAMLNode)
    /// Of a variable or a secret's file; a list is split at the separator.
    case text(String, separator: Character)
  }

  package let reader: ConfigurationReader
  let source: Source
  package let place: ConfigurationPlace
  package let path: String
  let pattern: [String]
  let levels: [[UInt8]]

  package func refuse(_ problem: String, _ remedy: String) { reader.add(ConfigurationFault(place, path, problem, remedy)) }

  package func warn(_ problem: String, _ remedy: String) {
    reader.add(ConfigurationFault(place, path, problem, remedy, severity: .warning))
  }

  /// The text of a single value. Quoted or not does not matter: every setting has one type only.
  package func text(expected: String, example: String) -> String? {
    switch source {
    case .text(let text, _): return text
    case .node(let node):
      if case .scalar(let text, _) = node.value { return text }
      if case .refused = node.value { return nil }
      refuse("expected \(expected), found \(node.kind)", "write \(example)")
      return nil
    }
  }

  /// True when it is a map or a variable below it makes it one.
  package var isMap: Bool {
    guard case .node(let node) = source, case .map = node.value else { return false }
    return true
  }

  package var isList: Bool {
    guard case .node(let node) = source, case .list = node.value else { return false }
    return true
  }

  /// The values of a list. A single value counts as a list of one, for it cannot mean anything else.
  ///
  /// - Parameter mapsAlone: so does a single map.
  package func items(mapsAlone: Bool = false) -> [ConfigurationValue]? {
    switch source {
    case .text(let text, let separator):
      let parts = text.split(separator: separator).map { trimmed($0) }.filter { !$0.isEmpty }
      return parts.enumerated().map { item($0.offset, .text($0.element, separator: separator), place) }
    case .node(let node):
      switch node.value {
      case .list(let all): return all.enumerated().map { item($0.offset, .node($0.element), reader.filePlace($0.element.mark)) }
      case .scalar: return [self]
      case .refused: return nil
      case .map where mapsAlone: return [self]
      case .map:
        refuse("expected a list, found a map", "write one '- ' per line, or [a, b]")
        return nil
      }
    }
  }

  private func item(_ index: Int, _ source: Source, _ place: ConfigurationPlace) -> ConfigurationValue {
    // Variables name keys of maps; without a level of its own, one for a key of an item would be for those of all.
    ConfigurationValue(
      reader: reader, source: source, place: place, path: "\(path)[\(index)]", pattern: pattern, levels: levels + [Array("[\(index)]".utf8)]
    )
  }

  /// The map as a section, whose unknown keys are faults like everywhere.
  package func section(expected: String, example: String) -> ConfigurationSection? {
    switch source {
    case .node(let node):
      if case .map(let entries) = node.value { return reader.section(entries, place: place, path: path, pattern: pattern, levels: levels) }
      if case .refused = node.value { return nil }
      refuse("expected \(expected), found \(node.kind)", "write \(example)")
    case .text: refuse("expected \(expected), found a single value", "write \(example)")
    }
    return nil
  }

  /// The keys and values of a map whose keys the operator chooses.
  package func pairs(expected: String, example: String) -> [(key: Located<String>, value: ConfigurationValue)]? {
    guard case .node(let node) = source, case .map(let entries) = node.value else {
      refuse("expected \(expected), found a single value or a list", "write \(example)")
      return nil
    }
    return entries.map { entry in
      let childPath = "\(path).\(printable(entry.key))"
      let value = ConfigurationValue(
        reader: reader, source: .node(entry.value), place: reader.filePlace(entry.value.mark), path: childPath, pattern: pattern + ["*"],
        levels: levels + [letters(entry.key)])
      return (Located(entry.key, reader.filePlace(entry.mark), childPath), value)
    }
  }

  /// A secret: written inline, or `fromFile: path`. What it is never reaches a message.
  package func secret() -> Secret<String>? {
    guard isMap else {
      guard let text = text(expected: "a secret", example: "the text, or {fromFile: /path}") else { return nil }
      if case .node = source { reader.noteInlineSecret() }
      return Secret(text)
    }
    // Its keys are not shown: `{the secret}` is a map with the secret as its key.
    guard case .node(let node) = source, case .map(let entries) = node.value, entries.count == 1, let entry = entries.first,
      entry.key.utf8.elementsEqual("fromFile".utf8), case .scalar(let file, _) = entry.value.value, !entry.value.isNull
    else {
      refuse("expected a secret, found another map than {fromFile: /path}", "write the text in quotes, or {fromFile: /path}")
      return nil
    }
    return reader.secretText(at: file, for: reader.filePlace(entry.value.mark), path).map { Secret($0) }
  }

  /// The path with the configuration's directory before it when it is relative.
  package func resolvedFile(_ name: String) -> String { reader.resolved(name, for: place) }
}

/// Without spaces, tabs and line ends around it.
package func trimmed(_ text: Substring) -> String {
  let isBlank = { (character: Character) in [" ", "\t", "\r", "\n", "\r\n"].contains(character) }
  var rest = text.drop(while: isBlank)
  while let last = rest.last, isBlank(last) { rest.removeLast() }
  return String(rest)
}
