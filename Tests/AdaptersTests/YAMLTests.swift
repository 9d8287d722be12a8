import Testing
import YAML

@Suite("YAML")
struct YAMLTests {
  private func read(_ text: String) -> YAMLReading { readYAML(Array(text.utf8)) }

  private func faults(_ text: String) -> [String] { shown(read(text)) }

  private func shown(_ reading: YAMLReading) -> [String] {
    reading.faults.map { "\($0.mark.line):\($0.mark.column): \($0.path.joined(separator: ".")): \($0.problem)" }
  }

  @Test("a document becomes a tree whose nodes know their line and column")
  func tree() throws {
    let reading = read("# c\nlisten: 127.0.0.1:8008\nroutes:\n  fs:\n    methods: [GET, \"HEAD\"]\n")
    #expect(reading.faults.isEmpty)
    guard case .map(let top)? = reading.root?.value else {
      Issue.record("no map")
      return
    }
    #expect(top.map(\.key) == ["listen", "routes"])
    #expect(top.map(\.mark) == [YAMLMark(line: 2, column: 1), YAMLMark(line: 3, column: 1)])
    #expect(top.first?.value.mark == YAMLMark(line: 2, column: 9))
    guard case .map(let routes)? = top.last?.value.value, case .map(let fs)? = routes.first?.value.value,
      case .list(let methods)? = fs.first?.value.value
    else {
      Issue.record("no list")
      return
    }
    #expect(methods.map(\.mark) == [YAMLMark(line: 5, column: 15), YAMLMark(line: 5, column: 20)])
    guard case .scalar("GET", plain: true)? = methods.first?.value, case .scalar("HEAD", plain: false)? = methods.last?.value else {
      Issue.record("quoting is lost")
      return
    }
  }

  @Test(
    "only plain scalars are null", arguments: [("k: null", true), ("k: ~", true), ("k:", true), ("k: 'null'", false), ("k: ''", false)])
  func null(text: String, isNull: Bool) {
    guard case .map(let entries)? = read(text).root?.value else {
      Issue.record("no map")
      return
    }
    #expect(entries.first?.value.isNull == isNull)
  }

  @Test(
    "what YAML allows and a configuration does not need is refused with its place",
    arguments: [
      ("a: 1\nb: 2\na: 3\n", ["3:1: : the key 'a' stands here a second time, first at line 1"]),
      ("r:\n  x: &here 1\n  y: *here\n", ["2:6: r.x: an anchor (&name)", "3:6: r.y: an alias (*name)"]),
      ("a: {b: 1}\n<<: {c: 1}\n", ["2:1: : a merge key (<<)"]),
      ("a: !!str 1\nb: !evil {c: 1}\n", ["1:4: a: a tag (!name)", "2:4: b: a tag (!name)"]),
      ("a: 1\n---\nb: 2\n", ["2:1: : a second document begins here"]),
      ("? [a, b]\n: 1\n", ["1:3: : a key that is no plain text"]),
      ("a: \"\\0\"\n", ["1:4: a: the value holds a control character"]),
      ("a: \u{1}\n", ["1:4: : a control character (U+0001)"]),
      ("ok: 1\na: b\u{202E}c\n", ["2:5: : a control character (U+202E)"]),
      ("\ta: 1\n", ["1:1: : no value can begin with this character"]),
      ("a: 1\n b: 2\n", ["2:3: : a ':' where no key can stand"]),
      ("a: 1\nb\nc: 2\n", ["2:1: : a line without ':'"]),
      ("a: [1, 2\nb: 3\n", ["2:2: a: a list in [ ] is not closed or lacks a comma (begun in line 1)"]),
      ("a: \"open\n", ["2:1: a: the text ends inside a quoted value or a list (begun in line 1)"]),
    ])
  func refused(text: String, expected: [String]) { #expect(faults(text) == expected) }

  @Test("composed and decomposed letters are two keys, equal bytes are one")
  func keysAreBytes() {
    #expect(faults("\u{E9}: 1\ne\u{301}: 2\n") == [])
    #expect(faults("\u{E9}: 1\n\u{E9}: 2\n").count == 1)
  }

  @Test("bytes that are not UTF-8 are refused at their place")
  func notUTF8() {
    #expect(shown(readYAML(Array("a: 1\nbc: ".utf8) + [0xFF, 0x0A])) == ["2:5: : the bytes here are not UTF-8"])
    #expect(shown(readYAML([0xC3])) == ["1:1: : the bytes here are not UTF-8"])
  }

  @Test("an empty text is an empty map", arguments: ["", "# only a comment\n", "\u{FEFF}", "---\n...\n"])
  func empty(text: String) {
    let reading = read(text)
    #expect(reading.faults.isEmpty)
    #expect(reading.root != nil)
  }

  @Test("a document that is too large, too deep or too rich ends with one fault")
  func limits() {
    #expect(shown(readYAML([UInt8](repeating: 0x61, count: (1 << 20) + 1))) == ["1:1: : the file is larger than 1048576 bytes"])
    let deep = String(repeating: "[", count: 40)
    #expect(faults(deep).map { String($0.suffix(29)) } == ["nested deeper than 32 levels"].map { " " + $0 })
    #expect(
      faults("a: [" + String(repeating: "1,", count: 100_001) + "]").map { String($0.suffix(30)) }
        == [" more than 100000 keys and values"].map { String($0.suffix(30)) })
  }

  @Test(
    "hostile megabytes are read or refused within seconds",
    arguments: [
      "[", "{", "- ", "? ", "a: ", "{a: ", "&a ", "*a ", "!a ", "\"\\", "'", "|", ">\n ", "#", "%", "[a, ", "a\n", "\n", " ", ": ", "- a\n",
      "a: b\n", "\u{E9}",
    ])
  func hostile(unit: String) {
    let text = Array(String(repeating: unit, count: (1 << 20) / unit.utf8.count).utf8)
    let clock = ContinuousClock()
    let time = clock.measure { _ = readYAML(text) }
    #expect(time < .seconds(10), "\(unit) took \(time)")
  }

  @Test("no cut and no flipped byte of a document ends the process")
  func garbage() {
    let text = Array(
      "listen: [a, \"b\"]\nroutes:\n  fs: {host: x, path: '/fs'}\n  wiki:\n    - |\n      text\n    - >-\n      more\n# end\n".utf8)
    var read = 0
    for cut in 0...text.count {
      read += readYAML(Array(text.prefix(cut))).faults.isEmpty ? 1 : 0
    }
    for index in text.indices {
      for byte in [0x00, 0x09, 0x22, 0x26, 0x2A, 0x3A, 0x5B, 0x7B, 0x80, 0xFF] as [UInt8] {
        var changed = text
        changed[index] = byte
        read += readYAML(changed).faults.isEmpty ? 1 : 0
      }
    }
    #expect(read > 20)
  }
}
