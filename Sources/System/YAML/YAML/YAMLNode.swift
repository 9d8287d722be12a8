/// A place in a YAML text; both numbers begin at 1, and a column counts characters, as editors do.
package struct YAMLMark: Sendable, Hashable, Comparable {
  package let line: Int
  package let column: Int

  package init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  package static func < (left: Self, right: Self) -> Bool { (left.line, left.column) < (right.line, right.column) }
}

/// A value of a YAML document with the place where it stands.
package struct YAMLNode: Sendable {
  package struct Entry: Sendable {
    package let key: String
    package let mark: YAMLMark
    package let value: YAMLNode

    package init(key: String, mark: YAMLMark, value: YAMLNode) {
      self.key = key
      self.mark = mark
      self.value = value
    }
  }

  package enum Value: Sendable {
    /// `plain` is false when the text is quoted or a block: then it is never null, a boolean or a number.
    case scalar(String, plain: Bool)
    case list([YAMLNode])
    case map([Entry])
    /// Something that this reader refuses (an alias, a tag); the fault is in the list already, so nobody needs to complain again.
    case refused
  }

  package let value: Value
  package let mark: YAMLMark

  package init(_ value: Value, _ mark: YAMLMark) {
    self.value = value
    self.mark = mark
  }

  /// [YAML 1.2 core schema §10.3.2](https://yaml.org/spec/1.2.2/#1032-tag-resolution): only these plain scalars are null.
  package var isNull: Bool {
    guard case .scalar(let text, plain: true) = value else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(text)
  }
}

/// Why a text is not a YAML document that Intercom takes.
package struct YAMLFault: Error, Sendable, Hashable {
  package let mark: YAMLMark
  /// The keys above the place, and list positions as `[0]`.
  package let path: [String]
  /// What is wrong. It never holds a value of the document, at most a key.
  package let problem: String
  /// What to write instead.
  package let remedy: String
}

/// What a document may cost. Everything beyond ends the reading with one fault.
package struct YAMLLimits: Sendable {
  package var bytes: Int
  package var depth: Int
  package var nodes: Int

  /// One MiB, 32 levels and 100,000 keys and values: a configuration of a thousand routes stays far below.
  package init(bytes: Int = 1 << 20, depth: Int = 32, nodes: Int = 100_000) {
    self.bytes = bytes
    self.depth = depth
    self.nodes = nodes
  }
}

/// What became of a text: the tree as far as it could be read, and every fault that was found on the way.
package struct YAMLReading: Sendable {
  /// Nil when the text is not YAML at all or breaks a limit; an empty map for an empty text.
  package let root: YAMLNode?
  package let faults: [YAMLFault]
}
