import IntercomTesting

/// The flaw classes that `docs/threat-model.md` must have a section of, each.
let flawClasses: [String] = (1...37).flatMap { $0 == 16 ? ["S16", "S16b"] : ["S\($0)"] }

private let threatModelPath = "docs/threat-model.md"
private let notYet = "Not applicable yet"

/// A test as a page names it, and the flaw classes and faults that its display name or its suite's mentions.
struct NamedTest: Sendable, Equatable {
  /// `Type/function`
  let name: String
  let line: Int
  let classes: Set<String>
  let faults: Set<Int>
}

/// A section of the page about one class, with the tests that it names.
private struct ThreatSection {
  let flaw: String
  let line: Int
  var isOpen = false
  var tests: [(name: String, line: Int)] = []
}

/// The page and the tests say the same: every class has its section, every test that the page names is there, each class has a test that is
/// named after it (or says what must exist first), and no test names a class that the page does not know.
func threatModelViolations(in tree: SourceTree) -> [Violation] {
  guard let page = tree.file(threatModelPath) else { return [] }
  func fault(_ line: Int, _ message: String) -> Violation { Violation(path: page.path, line: line, message: message) }
  let files = tree.swiftFiles.filter { $0.path.hasPrefix("Tests/") }
  var classesOf: [String: Set<String>] = [:]
  var violations: [Violation] = []
  let sections = threatSections(of: page)
  let known = Set(sections.map(\.flaw))
  for file in files {
    for test in namedTests(in: file) {
      classesOf[test.name, default: []].formUnion(test.classes)
      for flaw in test.classes.subtracting(known).sorted() where flawClasses.contains(flaw) == false {
        violations.append(Violation(path: file.path, line: test.line, message: "\(flaw) is no class of \(threatModelPath)"))
      }
    }
  }
  violations += flawClasses.filter { !known.contains($0) }.map { fault(1, "\($0) has no section") }
  for section in sections {
    for test in section.tests where classesOf[test.name] == nil {
      violations.append(fault(test.line, "\(section.flaw): there is no test \(test.name)"))
    }
    let isProven = section.tests.contains { classesOf[$0.name]?.contains(section.flaw) == true }
    if !isProven, !section.isOpen {
      violations.append(fault(section.line, "\(section.flaw) names no test that is named after it, nor says '\(notYet)' and which feature"))
    }
  }
  return violations
}

/// The page's sections whose heading begins with a class.
private func threatSections(of page: SourceFile) -> [ThreatSection] {
  var sections: [ThreatSection] = []
  for (index, line) in page.lines.enumerated() {
    if line.starts(with: "#".utf8) {
      let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
      sections.append(ThreatSection(flaw: words.count > 1 ? words[1] : "", line: index + 1))
    } else if var section = sections.popLast() {
      section.isOpen = section.isOpen || line.contains(notYet)
      section.tests += codeSpans(line).filter(isTestName).map { ($0, index + 1) }
      sections.append(section)
    }
  }
  return sections.filter { mentionedClasses(Array($0.flaw.utf8)).contains($0.flaw) }
}

/// What stands between backquotes.
func codeSpans(_ line: [UInt8]) -> [String] {
  line.split(separator: UInt8(ascii: "`"), omittingEmptySubsequences: false).enumerated()
    .filter { $0.offset % 2 == 1 }.map { String(decoding: $0.element, as: UTF8.self) }
}

/// `SomethingTests/function`
func isTestName(_ span: String) -> Bool {
  let parts = span.split(separator: "/", omittingEmptySubsequences: false)
  return parts.count == 2 && parts[0].hasSuffix("Tests") && parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(\.isIdentifierPart) }
}

/// `S` and one or two digits as a word, `b` behind them or not.
func mentionedClasses(_ text: [UInt8]) -> Set<String> {
  var found: Set<String> = []
  for word in text.split(whereSeparator: { !$0.isIdentifierPart }) where word.first == UInt8(ascii: "S") {
    let digits = word.dropFirst().prefix { $0 &- 48 < 10 }
    let rest = word.dropFirst(1 + digits.count)
    if (1...2).contains(digits.count), rest.isEmpty || rest.elementsEqual("b".utf8) { found.insert(String(decoding: word, as: UTF8.self)) }
  }
  return found
}

/// The tests of a file, in order.
func namedTests(in file: SourceFile) -> [NamedTest] {
  let code = file.code
  var suites: [String: [UInt8]] = [:]
  for position in code.positions(of: Array("@Suite".utf8)) {
    guard let name = word(after: "struct ", in: code, from: position) else { continue }
    suites[name] = displayName(in: file, from: position + 6)
  }
  return code.positions(of: Array("@Test".utf8)).compactMap { position in
    guard let function = word(after: "func ", in: code, from: position), let type = enclosingType(of: position, in: code) else {
      return nil
    }
    let text = displayName(in: file, from: position + 5) + [0x0a] + (suites[type] ?? [])
    return NamedTest(
      name: type + "/" + function, line: file.line(of: position), classes: mentionedClasses(text), faults: mentionedFaults(text))
  }
}

/// The literal that is the first argument of the attribute whose name ends at `start`; empty when there is none.
private func displayName(in file: SourceFile, from start: Int) -> [UInt8] {
  let code = file.code[start...]
  let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x0a }
  guard code.first == UInt8(ascii: "("), let open = code.dropFirst().firstIndex(where: { !isBlank($0) }) else { return [] }
  // In the mask a literal is its quotes and spaces.
  guard code[open] == UInt8(ascii: "\""), let close = code[(open + 1)...].firstIndex(of: UInt8(ascii: "\"")) else { return [] }
  return Array(file.bytes[(open + 1)..<close])
}

private func word(after keyword: String, in code: [UInt8], from start: Int) -> String? {
  guard let position = Array(code[start...]).positions(of: Array(keyword.utf8)).first else { return nil }
  let name = code[(start + position + keyword.utf8.count)...].prefix { $0.isIdentifierPart }
  return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
}

/// The type or extension whose declaration stands last before `position` at the beginning of a line.
private func enclosingType(of position: Int, in code: [UInt8]) -> String? {
  for line in code[..<position].split(separator: 0x0a).reversed() where line.first != 0x20 && line.first != UInt8(ascii: "}") {
    let words = line.split(whereSeparator: { !$0.isIdentifierPart }).map { String(decoding: $0, as: UTF8.self) }
    guard let at = words.firstIndex(where: { ["struct", "extension", "enum", "class", "actor"].contains($0) }), at + 1 < words.count else {
      continue
    }
    return words[at + 1]
  }
  return nil
}

extension Plant {
  /// A page and tests that agree but for one thing.
  static let threatModel: [Plant] = [
    plant("S9 has no section", line: 1) { page, _ in page.removeSubrange(section("S9", page)) },
    plant("a test that is gone", line: 3 * 5 + 2) { page, _ in page[3 * 5 + 1] += " `GoneTests/gone`" },
    plant("a class without a test", line: 3 * 5 + 1) { page, _ in page[3 * 5 + 1] = "Nothing." },
    plant("a class with tests of others", line: 3 * 5 + 1) { page, _ in page[3 * 5 + 1] = "`SampleTests/testS7`" },
    plant("a class that the page does not know", line: 2) { _, tests in
      tests[1] = "  @Test(\"an attack (S99, S1)\") func testS1() {}"
    },
  ]

  private static func section(_ flaw: String, _ page: [String]) -> Range<Int> {
    let start = page.firstIndex { $0.hasPrefix("### \(flaw) ") } ?? 0
    return start..<(start + 3)
  }

  private static func plant(_ name: String, line: Int, _ change: (inout [String], inout [String]) -> Void) -> Plant {
    var page = flawClasses.flatMap { ["### \($0) an attack", "`SampleTests/test\($0)`", ""] }
    var tests =
      ["@Suite(\"Samples\") struct SampleTests {"] + flawClasses.map { "  @Test(\"an attack (\($0))\") func test\($0)() {}" } + ["}"]
    change(&page, &tests)
    return Plant(
      "threat model", line: line,
      [
        SourceFile("Tests/CoreTests/SampleTests.swift", tests.joined(separator: "\n")),
        SourceFile(threatModelPath, page.joined(separator: "\n")),
      ], what: name)
  }
}
