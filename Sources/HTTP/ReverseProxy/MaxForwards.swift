import HTTP1
import HTTPMessage

/// How often an OPTIONS request may still be forwarded (RFC 9110 §7.6.2). TRACE, which knows the field too, is never forwarded.
enum MaxForwards {
  /// Not once more: whoever reads this is the last recipient.
  case none
  case left(Int)
  /// No number, or several.
  case malformed

  /// More hops than any chain has: larger numbers become this one, as the RFC allows.
  private static let largest = 999

  /// nil when the request says nothing, or has another method, for which the field means nothing.
  static func read(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) -> MaxForwards? {
    guard head.request.method == .options, let field = head.fields.first(.maxForwards) else { return nil }
    for index in 0..<head.fields.count {
      let other = head.fields[index]
      if other.id == .maxForwards, other.start != field.start { return .malformed }
    }
    guard !field.value.isEmpty else { return .malformed }
    var value = 0
    for digit in field.value.bytes(in: bytes) {
      guard digit &- 48 < 10 else { return .malformed }
      value = min(largest, value &* 10 &+ Int(digit &- 48))
    }
    return value == 0 ? MaxForwards.none : .left(value)
  }
}
