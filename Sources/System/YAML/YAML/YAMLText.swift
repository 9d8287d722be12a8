/// Finds what no configuration text may hold, before libyaml sees it: bytes that are not UTF-8, and control characters, which could change
/// how a terminal shows the file or a message about it.
struct YAMLText {
  private var line = 1
  private var column = 1

  /// The first fault of `bytes`, if any. Tab, line feed and carriage return are the only control characters of a text.
  static func firstFault(in bytes: [UInt8]) -> YAMLFault? {
    var scan = YAMLText()
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    while true {
      switch decoder.decode(&iterator) {
      case .emptyInput: return nil
      case .error:
        return scan.fault("the bytes here are not UTF-8", "save the file in the encoding UTF-8")
      case .scalarValue(let scalar):
        if isForbidden(scalar) {
          let code = String(scalar.value, radix: 16, uppercase: true)
          return scan.fault("a control character (U+\(String(repeating: "0", count: max(0, 4 - code.count)))\(code))", "remove it")
        }
        scan.pass(scalar)
      }
    }
  }

  /// Control characters, and the ones that reorder or hide text around them.
  static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09, 0x0A, 0x0D: false
    case 0x00...0x1F, 0x7F...0x9F: true
    // Line and paragraph separators, direction overrides and isolates, a byte order mark inside the text, and what is no character.
    case 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069, 0xFEFF, 0xFFFE, 0xFFFF: true
    default: false
    }
  }

  private mutating func pass(_ scalar: Unicode.Scalar) {
    if scalar == "\n" {
      line += 1
      column = 1
    } else {
      column += 1
    }
  }

  private func fault(_ problem: String, _ remedy: String) -> YAMLFault {
    YAMLFault(mark: YAMLMark(line: line, column: column), path: [], problem: problem, remedy: remedy)
  }
}
