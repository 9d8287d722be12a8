import IntercomTesting
import Testing

@Suite("Tidy")
struct TidyTests {
  @Test("the checkout keeps the rule", arguments: TidyRule.all)
  func checkout(rule: TidyRule) {
    let violations = rule.check(.checkout)
    #expect(violations.isEmpty, "\n\(violations.prefix(60).map(\.description).joined(separator: "\n"))")
  }

  @Test("the checkout is there: all layers, the manifest and the documents were read")
  func complete() {
    let paths = SourceTree.checkout.files.map(\.path)
    for prefix in ["Package.swift", "LICENSE", "docs/threat-model.md", "docs/faults.md", "Sources/Core/IntercomCore/", "Tests/TidyTests/"]
      + rows.map({ "Sources/\($0)/" })
    {
      #expect(paths.contains { $0.hasPrefix(prefix) }, "\(prefix) is missing")
    }
  }

  @Test("a planted violation is found where it stands", arguments: Plant.all)
  func planted(plant: Plant) throws {
    let rule = try #require(TidyRule.all.first { $0.name == plant.rule })
    let violations = rule.check(SourceTree(plant.files))
    #expect(violations.count == 1, "\(violations)")
    #expect(violations.first?.line == plant.line)
  }

  @Test("every rule has a planted violation")
  func everyRuleIsProven() {
    let proven = Set(Plant.all.map(\.rule))
    #expect(TidyRule.all.map(\.name).filter { !proven.contains($0) } == [])
  }

  @Test(
    "what only looks like a violation is left alone",
    arguments: [
      #"let a = "try! print( fatalError(" // Date() as! x!"#, #"if !a, b != c, d !== e { f(!g) }"#, "blueprint(x); reprint(y)",
      "/* Task.detached /* nested try! */ as! */ let x = 1", ##"let r = #"a "quoted" \(try! x) text"#"##,
      "let s = \"\"\"\n  print( \"x\" try!\n  \"\"\"", "import FoundationEssentials\n", "let republic = 1", "case public\ncase open(Int)",
      "#if !os(Linux)\n#endif",
    ])
  func harmless(text: String) {
    let tree = SourceTree([SourceFile("Sources/Core/IntercomCore/Sample.swift", text + "\n")])
    #expect(TidyRule.all.flatMap { $0.check(tree) }.map(\.description) == [])
  }

  @Test("an interpolation is code")
  func interpolation() {
    let tree = SourceTree([SourceFile("Sources/Core/IntercomCore/Sample.swift", #"let a = "x \(f("y", try! g())) z""#)])
    #expect(TidyRule.all.flatMap { $0.check(tree) }.count == 1)
  }

  @Test("functions are measured from their first line to the end of their body")
  func functionLengths() {
    let text = """
      protocol P {
        func requirement() -> Int
      }
      struct S {
        init(
          a: Int
        ) {
          self.init()
        }
        func one() { { }() }
        func generic<T>(_ x: T)
          -> T where T: P
        {
          x
        }
      }
      """
    let found = functions(in: SourceFile("Sources/Core/IntercomCore/Sample.swift", text))
    #expect(found.map(\.line) == [5, 10, 11])
    #expect(found.map(\.lines) == [5, 1, 5])
  }
}
