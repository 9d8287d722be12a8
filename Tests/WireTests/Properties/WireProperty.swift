// What must be true of every input, good or bad. These files import the wire alone: the debug tests replay the corpora through them, and
// `dev/fuzz` compiles the same files with libFuzzer (docs/fuzzing.md).

/// A property that does not hold for an input: a finding.
struct Broken: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Throws `Broken` unless `condition`; the text is made only then.
func hold(_ condition: Bool, _ what: @autoclosure () -> String) throws(Broken) {
  if !condition { throw Broken(what()) }
}

/// A parser that is fuzzed: its corpus is `Fuzzing/Corpus/<name>.txt`.
enum WireProperty: String, CaseIterable, Sendable {
  case request, response, chunked, path, cookie, host, forwarded

  func check(_ bytes: [UInt8]) throws(Broken) {
    switch self {
    case .request: try RequestProperty.check(bytes)
    case .response: try ResponseProperty.check(bytes)
    case .chunked: try ChunkedProperty.check(bytes)
    case .path: try PathProperty.check(bytes)
    case .cookie: try CookieProperty.check(bytes)
    case .host: try HostProperty.check(bytes)
    case .forwarded: try ForwardedProperty.check(bytes)
    }
  }
}

/// A corpus file: one input a line, visible ASCII and spaces as they are, the rest as `\r`, `\n`, `\t`, `\xNN` and `\\`. Lines that begin with
/// `#` are comments, so an input's own first `#` is `\x23`.
enum Corpus {
  /// The inputs of a file, in order; nil when a line is not what `line` writes.
  static func inputs(_ file: [UInt8]) -> [[UInt8]]? {
    var all: [[UInt8]] = []
    for line in file.split(separator: UInt8(ascii: "\n")) where line.first != UInt8(ascii: "#") {
      guard let input = input(line) else { return nil }
      all.append(input)
    }
    return all
  }

  /// The input of one line.
  static func input(_ line: some Sequence<UInt8>) -> [UInt8]? {
    var out: [UInt8] = []
    var rest = line.makeIterator()
    while let byte = rest.next() {
      guard byte == UInt8(ascii: "\\") else {
        guard (0x20...0x7e).contains(byte) else { return nil }
        out.append(byte)
        continue
      }
      switch rest.next() {
      case UInt8(ascii: "r"): out.append(0x0d)
      case UInt8(ascii: "n"): out.append(0x0a)
      case UInt8(ascii: "t"): out.append(0x09)
      case UInt8(ascii: "\\"): out.append(UInt8(ascii: "\\"))
      case UInt8(ascii: "x"):
        guard let high = rest.next(), let low = rest.next(),
          let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16)
        else { return nil }
        out.append(value)
      default: return nil
      }
    }
    return out
  }

  /// The line of an input, without its line end.
  static func line(_ input: [UInt8]) -> String {
    var out = ""
    for (index, byte) in input.enumerated() {
      let isAtEdge = index == 0 || index == input.count - 1
      switch byte {
      case 0x0d: out += "\\r"
      case 0x0a: out += "\\n"
      case 0x09: out += "\\t"
      case UInt8(ascii: "\\"): out += "\\\\"
      case 0x20 where isAtEdge, UInt8(ascii: "#") where index == 0: out += hex(byte)
      case 0x20...0x7e: out.unicodeScalars.append(Unicode.Scalar(byte))
      default: out += hex(byte)
      }
    }
    return out
  }

  private static func hex(_ byte: UInt8) -> String { "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16) }
}
