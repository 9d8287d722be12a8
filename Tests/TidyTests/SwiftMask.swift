import IntercomTesting

/// Replaces comments and the text of string literals by spaces, so that rules see code only. Interpolations are code and stay.
///
/// A scanner, not a parser: it knows nested comments, escapes, interpolation, multi-line and raw strings. Regex literals are not used here.
func maskSwift(_ bytes: [UInt8]) -> [UInt8] {
  var mask = SwiftMask(input: bytes)
  mask.code(untilParenthesis: false)
  return mask.output
}

private struct SwiftMask {
  let input: [UInt8]
  var output: [UInt8]
  var position = 0

  init(input: [UInt8]) {
    self.input = input
    output = input
  }

  private func byte(_ offset: Int = 0) -> UInt8 { position + offset < input.count ? input[position + offset] : 0 }

  private mutating func blank(_ count: Int = 1) {
    for _ in 0..<count where position < input.count {
      if input[position] != 0x0a { output[position] = 0x20 }
      position += 1
    }
  }

  private func at(_ text: StaticString) -> Bool {
    text.withUTF8Buffer { wanted in
      position + wanted.count <= input.count && wanted.indices.allSatisfy { input[position + $0] == wanted[$0] }
    }
  }

  /// Code up to the end, or up to the parenthesis that closes an interpolation.
  mutating func code(untilParenthesis: Bool) {
    var depth = 0
    while position < input.count {
      switch byte() {
      case UInt8(ascii: "/") where at("//"):
        while position < input.count, byte() != 0x0a { blank() }
      case UInt8(ascii: "/") where at("/*"): blockComment()
      case UInt8(ascii: "\""): string(pounds: 0)
      case UInt8(ascii: "#"):
        var pounds = 1
        while byte(pounds) == UInt8(ascii: "#") { pounds += 1 }
        if byte(pounds) == UInt8(ascii: "\"") {
          position += pounds
          string(pounds: pounds)
        } else {
          position += pounds
        }
      case UInt8(ascii: "("):
        depth += 1
        position += 1
      case UInt8(ascii: ")"):
        position += 1
        if untilParenthesis, depth == 0 { return }
        depth -= 1
      default: position += 1
      }
    }
  }

  private mutating func blockComment() {
    var depth = 0
    repeat {
      if at("/*") {
        depth += 1
        blank(2)
      } else if at("*/") {
        depth -= 1
        blank(2)
      } else {
        blank()
      }
    } while depth > 0 && position < input.count
  }

  /// The quotes stay, so that a literal still ends an expression.
  private mutating func string(pounds: Int) {
    let isMultiline = at("\"\"\"")
    position += isMultiline ? 3 : 1
    while position < input.count {
      if byte() == UInt8(ascii: "\\"), (0..<pounds).allSatisfy({ byte(1 + $0) == UInt8(ascii: "#") }) {
        blank(1 + pounds)
        if byte() == UInt8(ascii: "(") {
          position += 1
          code(untilParenthesis: true)
        } else {
          blank()
        }
      } else if byte() == UInt8(ascii: "\""), closes(isMultiline: isMultiline, pounds: pounds) {
        position += (isMultiline ? 3 : 1) + pounds
        return
      } else if byte() == 0x0a, !isMultiline {
        return
      } else {
        blank()
      }
    }
  }

  private func closes(isMultiline: Bool, pounds: Int) -> Bool {
    let quotes = isMultiline ? 3 : 1
    return (0..<quotes).allSatisfy { byte($0) == UInt8(ascii: "\"") } && (0..<pounds).allSatisfy { byte(quotes + $0) == UInt8(ascii: "#") }
  }
}

extension [UInt8] {
  var trimmed: ArraySlice<UInt8> {
    var rest = self[...]
    while rest.first == 0x20 || rest.first == 0x09 { rest = rest.dropFirst() }
    while rest.last == 0x20 || rest.last == 0x0d { rest = rest.dropLast() }
    return rest
  }
}

extension UInt8 {
  /// A byte that may stand inside a Swift identifier.
  var isIdentifierPart: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f, 0x80...: true
    default: false
    }
  }
}
