import IntercomTesting

private let faultsPath = "docs/faults.md"
private let faultNumbers = 1...60
private let notYet = "Not yet"

/// A row of the page.
private struct FaultRow {
  let fault: Int
  let line: Int
  /// It says what must be built first.
  let isOpen: Bool
  /// The tests that its last cell names.
  let tests: [String]
}

/// The page and the tests say the same: every fault has its row, every test that a row names is there and is named after the fault, a row
/// without one says what must exist first, and no test names a fault that the page does not know.
func faultViolations(in tree: SourceTree) -> [Violation] {
  guard let page = tree.file(faultsPath) else { return [] }
  func violation(_ line: Int, _ message: String) -> Violation { Violation(path: page.path, line: line, message: message) }
  var violations: [Violation] = []
  var faultsOf: [String: Set<Int>] = [:]
  for file in tree.swiftFiles.filter({ $0.path.hasPrefix("Tests/") }) {
    for test in namedTests(in: file) {
      faultsOf[test.name, default: []].formUnion(test.faults)
      for fault in test.faults.sorted() where !faultNumbers.contains(fault) {
        violations.append(Violation(path: file.path, line: test.line, message: "\(fault) is no fault of \(faultsPath)"))
      }
    }
  }
  let rows = faultRows(of: page)
  for fault in faultNumbers where rows.count(where: { $0.fault == fault }) != 1 {
    violations.append(violation(1, "fault \(fault) has \(rows.count { $0.fault == fault }) rows"))
  }
  for row in rows {
    for test in row.tests {
      if let faults = faultsOf[test] {
        if !row.isOpen, !faults.contains(row.fault) {
          violations.append(violation(row.line, "\(test) is not named after fault \(row.fault)"))
        }
      } else {
        violations.append(violation(row.line, "fault \(row.fault): there is no test \(test)"))
      }
    }
    let proof = faultsOf.filter { $0.value.contains(row.fault) }.keys.sorted()
    if row.isOpen, let test = proof.first { violations.append(violation(row.line, "fault \(row.fault) is proven by \(test): name it")) }
    if !row.isOpen, row.tests.isEmpty { violations.append(violation(row.line, "fault \(row.fault) names no test, nor says '\(notYet)'")) }
  }
  return violations
}

/// Lines `| number | … | tests |`.
private func faultRows(of page: SourceFile) -> [FaultRow] {
  page.lines.enumerated().compactMap { index, line in
    let cells = line.split(separator: UInt8(ascii: "|")).map(Array.init)
    guard let first = cells.first, let last = cells.last, let fault = Int(String(decoding: first, as: UTF8.self).filter { $0 != " " })
    else {
      return nil
    }
    return FaultRow(fault: fault, line: index + 1, isOpen: last.contains(notYet), tests: codeSpans(last).filter(isTestName))
  }
}

/// The numbers of `fault 37`, `faults 34, 35 and 36`, in whatever case.
func mentionedFaults(_ text: [UInt8]) -> Set<Int> {
  var found: Set<Int> = []
  let lower = text.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
  for start in lower.positions(of: Array("fault".utf8)) where start == 0 || !lower[start - 1].isIdentifierPart {
    var rest = lower[(start + 5)...]
    if rest.first == UInt8(ascii: "s") { rest = rest.dropFirst() }
    guard rest.first == UInt8(ascii: " ") else { continue }
    var separators: [[UInt8]] = [Array(" ".utf8)]
    while let separator = separators.first(where: { rest.starts(with: $0) }) {
      let digits = rest.dropFirst(separator.count).prefix { $0 &- 48 < 10 }
      guard let number = Int(String(decoding: digits, as: UTF8.self)) else { break }
      found.insert(number)
      rest = rest.dropFirst(separator.count + digits.count)
      separators = [Array(", ".utf8), Array(" and ".utf8)]
    }
  }
  return found
}

extension Plant {
  /// A page and tests that agree but for one thing.
  static let faults: [Plant] = [
    plant("a fault without a row", line: 1) { page, _ in page[8] = "" },
    plant("a fault with two rows", line: 1) { page, _ in page[8] = page[7] + "\n" + page[8] },
    plant("a test that is gone", line: 9) { page, _ in page[8] = "| 9 | x | y | `SampleTests/test9`, `GoneTests/gone` |" },
    plant("a row without a test", line: 9) { page, _ in page[8] = "| 9 | x | y | |" },
    plant("a row with a test of another fault", line: 9) { page, _ in page[8] = "| 9 | x | y | `SampleTests/test10` |" },
    plant("a row that is open although there is a test", line: 9) { page, _ in page[8] = "| 9 | x | y | Not yet: z |" },
    plant("a fault that the page does not know", line: 2) { _, tests in tests[1] = "  @Test(\"x (faults 1 and 99)\") func test1() {}" },
  ]

  private static func plant(_ name: String, line: Int, _ change: (inout [String], inout [String]) -> Void) -> Plant {
    var page = faultNumbers.map { "| \($0) | what | does | `SampleTests/test\($0)` |" }
    var tests =
      ["@Suite(\"Samples\") struct SampleTests {"] + faultNumbers.map { "  @Test(\"x (fault \($0))\") func test\($0)() {}" } + ["}"]
    change(&page, &tests)
    return Plant(
      "faults", line: line,
      [
        SourceFile("Tests/CoreTests/SampleTests.swift", tests.joined(separator: "\n")),
        SourceFile(faultsPath, page.joined(separator: "\n")),
      ],
      what: name)
  }
}
