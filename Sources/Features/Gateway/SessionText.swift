import HTTPMessage
import Sessions

/// The digits of a session cookie as they stand in the field, in words: found in the loop's table without being read as a number.
///
/// Ids have one spelling each, so two texts are the same exactly when their ids are. The words overlap at the end: 43 digits are five words
/// and three digits.
struct SessionText: Sendable, CustomStringConvertible, CustomReflectable {
  static let digits = 43

  /// The first eight digits: 48 random bits.
  let first: UInt64
  private let second: UInt64
  private let third: UInt64
  private let fourth: UInt64
  private let fifth: UInt64
  private let last: UInt64

  /// nil unless the range holds as many bytes as an id has digits; which ones is not asked.
  @inline(__always) init?(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) {
    guard range.count == Self.digits, range.upper <= bytes.count else { return nil }
    let at = range.lower
    first = load8(bytes, at)
    second = load8(bytes, at &+ 8)
    third = load8(bytes, at &+ 16)
    fourth = load8(bytes, at &+ 24)
    fifth = load8(bytes, at &+ 32)
    last = load8(bytes, at &+ 35)
  }

  init?(_ id: SessionID) {
    let text = id.cookieValue
    self.init(text.span, ByteRange(0, text.count))
  }

  /// Takes the same time wherever they differ.
  @inline(__always) func isSame(as other: SessionText) -> Bool {
    (first ^ other.first) | (second ^ other.second) | (third ^ other.third) | (fourth ^ other.fourth) | (fifth ^ other.fifth)
      | (last ^ other.last) == 0
  }

  var description: String { "<redacted>" }
  var customMirror: Mirror { Mirror(self, children: []) }
}
