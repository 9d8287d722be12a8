import HTTPMessage

/// Why a field cannot be written.
package enum FieldLineError: Error, Sendable, Hashable {
  case badName, badValue
}

/// Field lines ready to be sent, `name: value CRLF` each. They can only be made here, where names are tokens and values hold no CR, LF, NUL
/// or other control byte: no claim, token or configuration can end a line and begin another (RFC 9110 §5.5).
package struct FieldLines: Sendable {
  /// Holds credentials: never printed.
  private var rendered = Rendered()

  package init() {}

  package init(_ fields: KeyValuePairs<String, String>) throws(FieldLineError) {
    for (name, value) in fields { try append(name, Array(value.utf8)) }
  }

  package var isEmpty: Bool { rendered.piece.count == 0 }
  /// A copy.
  package var bytes: [UInt8] { rendered.bytes }
  /// For `HeadBuffer.append`.
  package var piece: HeadPiece { rendered.piece }

  /// Appends one line; white space around the value is trimmed.
  package mutating func append(_ name: String, _ value: [UInt8]) throws(FieldLineError) {
    guard !name.isEmpty, name.utf8.allSatisfy(isToken) else { throw .badName }
    guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == ASCII.tab }) else { throw .badValue }
    let trimmed = value.drop(while: isBlank).reversed().drop(while: isBlank).reversed()
    rendered.append(Array(name.utf8) + [ASCII.colon, ASCII.space] + trimmed + [ASCII.cr, ASCII.lf])
  }

  /// Appends the lines of `other`.
  package mutating func append(_ other: FieldLines) { rendered.append(other.rendered.bytes) }
}

private struct Rendered: Sendable, CustomReflectable, CustomStringConvertible {
  /// Lines are made once and written into many heads; a session keeps some for each of its routes, so they are kept once.
  private(set) var piece: HeadPiece = ""
  var bytes: [UInt8] { Array(piece.padded.prefix(piece.count)) }
  mutating func append(_ more: [UInt8]) { piece = HeadPiece(bytes + more) }
  var description: String { "<redacted>" }
  var customMirror: Mirror { Mirror(self, children: []) }
}
