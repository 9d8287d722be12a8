import CYAML

/// libyaml's messages in words that say what to do. The texts of libyaml are constants of the library and never hold a value of the
/// document.
struct YAMLSyntax {
  let problem: String
  let remedy: String

  private static let known: [(part: String, problem: String, remedy: String)] = [
    (
      "found character that cannot start any token", "no value can begin with this character",
      "quote the value, and indent with spaces, never with tabs"
    ),
    ("found a tab character", "a tab in the indentation", "indent with spaces"),
    (
      "mapping values are not allowed in this context", "a ':' where no key can stand",
      "quote a value that holds ': ', or begin the key on a line of its own with the indentation of its neighbours"
    ),
    ("could not find expected ':'", "a line without ':'", "write 'key: value', or quote a text that goes on over several lines"),
    (
      "did not find expected key", "this does not fit the lines above",
      "give the keys of one map the same indentation, and close every quote"
    ),
    (
      "did not find expected '-' indicator", "a list ends here in a way that YAML does not know",
      "give all '- ' of one list the same indentation"
    ),
    ("did not find expected ',' or ']'", "a list in [ ] is not closed or lacks a comma", "write [a, b] or one '- ' per line"),
    (
      "did not find expected ',' or '}'", "a map in { } is not closed or lacks a comma",
      "write {key: value, key: value} or one key per line"
    ),
    (
      "found unexpected end of stream", "the text ends inside a quoted value or a list", "close the quote or bracket that is still open"
    ),
    ("found unexpected document indicator", "'---' or '...' inside a quoted value", "close the quote before it"),
    ("found unknown escape character", "an escape that YAML does not know", "write \\\\ for a backslash, or use single quotes"),
    (
      "did not find expected hexdecimal number", "an escape without its hexadecimal digits",
      "write \\\\ for a backslash, or use single quotes"
    ),
    (
      "block sequence entries are not allowed in this context", "a '- ' where no list can begin",
      "begin the list on a line of its own below its key"
    ),
    ("did not find expected <document start>", "text after the end of the document", "keep one document per file"),
  ]

  /// What libyaml found last, and where.
  static func of(_ parser: yaml_parser_t) -> (syntax: YAMLSyntax, mark: YAMLMark) {
    let mark = YAMLMark(parser.problem_mark)
    guard parser.error != YAML_MEMORY_ERROR else {
      return (YAMLSyntax(problem: "not enough memory to read the file", remedy: "free some"), mark)
    }
    let text = parser.problem.map { String(cString: $0) } ?? ""
    let context = parser.context.map { String(cString: $0) } ?? ""
    guard let entry = known.first(where: { text.contains($0.part) }) else {
      let detail = text.isEmpty ? "" : " (\(text))"
      return (YAMLSyntax(problem: "not YAML" + detail, remedy: "write 'key: value' lines; see docs/configuration.md"), mark)
    }
    let begin = YAMLMark(parser.context_mark)
    // libyaml notices a missing ':' only after the line; the line itself is the place that a person looks for.
    if context.contains("simple key") { return (YAMLSyntax(problem: entry.problem, remedy: entry.remedy), begin) }
    let begun = !context.isEmpty && begin.line < mark.line ? " (begun in line \(begin.line))" : ""
    return (YAMLSyntax(problem: entry.problem + begun, remedy: entry.remedy), mark)
  }
}

extension YAMLMark {
  /// libyaml counts from 0.
  init(_ mark: yaml_mark_t) { self.init(line: Int(clamping: mark.line) &+ 1, column: Int(clamping: mark.column) &+ 1) }
}
