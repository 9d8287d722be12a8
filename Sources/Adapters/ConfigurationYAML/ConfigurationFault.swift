import YAML

/// Where a value of the configuration comes from.
package enum ConfigurationPlace: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// A line and column (both from 1) of a configuration file.
  case file(String, YAMLMark)
  /// A variable of the environment.
  case variable(String)

  package var description: String {
    switch self {
    case .file(let name, let mark): "\(name):\(mark.line):\(mark.column)"
    case .variable(let name): name
    }
  }

  /// The beginning of a file: for what is wrong with it as a whole.
  package static func start(of file: String) -> Self { .file(file, YAMLMark(line: 1, column: 1)) }

  /// Both from 1; nil for a variable.
  package var lineAndColumn: (line: Int, column: Int)? {
    guard case .file(_, let mark) = self else { return nil }
    return (mark.line, mark.column)
  }

  /// The order of the file, then variables by name.
  package static func < (left: Self, right: Self) -> Bool {
    switch (left, right) {
    case (.file(let a, let x), .file(let b, let y)): (a, x) < (b, y)
    case (.variable(let a), .variable(let b)): a < b
    case (.file, .variable): true
    case (.variable, .file): false
    }
  }
}

/// One thing that is wrong with a configuration. It never holds a secret: problem and remedy are made by code that does not see them.
package struct ConfigurationFault: Error, Sendable, Hashable, Comparable, CustomStringConvertible {
  package enum Severity: String, Sendable, Hashable {
    /// The configuration cannot be used.
    case error
    /// It can, but somebody should know.
    case warning
  }

  package let place: ConfigurationPlace
  /// Such as `routes.fs.upstream` or `origins[1]`; empty for the file as a whole.
  package let path: String
  package let problem: String
  package let remedy: String
  package let severity: Severity

  package init(_ place: ConfigurationPlace, _ path: String, _ problem: String, _ remedy: String, severity: Severity = .error) {
    self.place = place
    self.path = path
    self.problem = problem
    self.remedy = remedy
    self.severity = severity
  }

  /// `file:line:column: key.path: what is wrong; what to write instead`.
  package var description: String {
    "\(place): \(severity == .warning ? "warning: " : "")\(path.isEmpty ? "" : path + ": ")\(problem); \(remedy)"
  }

  package static func < (left: Self, right: Self) -> Bool {
    left.place == right.place ? (left.path, left.problem) < (right.path, right.problem) : left.place < right.place
  }
}

/// A value with the place where it was written, for messages of checks that look at several values.
package struct Located<Value: Sendable>: Sendable {
  package let value: Value
  package let place: ConfigurationPlace
  package let path: String
  /// False when nobody wrote it and the default stands in.
  package let isWritten: Bool

  package init(_ value: Value, _ place: ConfigurationPlace, _ path: String, isWritten: Bool = true) {
    self.value = value
    self.place = place
    self.path = path
    self.isWritten = isWritten
  }

  /// What mends it where it was said: `inFile`, or the variable set to `text`.
  package func remedy(_ inFile: String, _ text: String) -> String {
    if case .variable(let name) = place { "set \(name)=\(text)" } else { inFile }
  }
}

/// Why a text is not a value of its type.
package struct ValueFault: Error, Sendable, Hashable {
  package let problem: String
  package let remedy: String

  package init(_ problem: String, _ remedy: String) {
    self.problem = problem
    self.remedy = remedy
  }
}

/// A value as it may stand in a message: one line of at most 60 characters in single quotes. Never for a secret.
package func quoted(_ text: String) -> String {
  let visible = text.unicodeScalars.prefix(60).map { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) ? " " : String($0) }.joined()
  return "'" + visible + (text.unicodeScalars.count > 60 ? "…" : "") + "'"
}
