import IntercomTesting

private let conformancePath = "docs/http-conformance.md"
private let outOfScope = "not applicable"

/// Each row of the page names an RFC section and a test that exists, or says that it does not apply, and why.
func conformanceViolations(in tree: SourceTree) -> [Violation] {
  guard let page = tree.file(conformancePath) else { return [] }
  let tests = Set(tree.swiftFiles.filter { $0.path.hasPrefix("Tests/") }.flatMap(namedTests).map(\.name))
  var violations: [Violation] = []
  for (index, line) in page.lines.enumerated() where isRow(line) {
    func fault(_ message: String) { violations.append(Violation(path: page.path, line: index + 1, message: message)) }
    // Code may hold a bar.
    let cells = String(decoding: line, as: UTF8.self).split(separator: " | ").map(String.init)
    guard cells.count == 4 else {
      fault("a row has four columns: RFC, rule, Intercom, test")
      continue
    }
    if !cells[0].contains("§") { fault("names no section of an RFC") }
    if cells[3].hasPrefix(outOfScope) {
      if !cells[2].hasPrefix(outOfScope + ": ") { fault("does not say why it is not applicable") }
      continue
    }
    let named = codeSpans(Array(cells[3].utf8))
    if named.isEmpty { fault("names no test, nor says '\(outOfScope)'") }
    for name in named where !tests.contains(name) { fault("there is no test \(name)") }
  }
  return violations
}

/// A line of a table that is neither its head nor the rule below it.
private func isRow(_ line: [UInt8]) -> Bool { line.starts(with: "| ".utf8) && !line.starts(with: "| RFC".utf8) }

extension Plant {
  static let conformance: [Plant] = [
    plant("a test that is gone", "| 9112 §2 | rule | so | `SampleTests/one`, `GoneTests/gone` |"),
    plant("a row without a test", "| 9112 §2 | rule | so | see above |"),
    plant("a row without its RFC", "| 9112 | rule | so | `SampleTests/one` |"),
    plant("not applicable without a reason", "| 9112 §2 | rule | so | not applicable |"),
    plant("a column too few", "| 9112 §2 | rule | `SampleTests/one` |"),
  ]

  private static func plant(_ name: String, _ row: String) -> Plant {
    let page = ["| RFC | rule | Intercom | test |", "|---|---|---|---|", "| 9112 §1 | rule | not applicable: why | not applicable |", row]
    return Plant(
      "HTTP conformance", line: 4,
      [
        SourceFile("Tests/CoreTests/SampleTests.swift", "struct SampleTests {\n  @Test(\"one\") func one() {}\n}\n"),
        SourceFile(conformancePath, page.joined(separator: "\n")),
      ], what: name)
  }
}
