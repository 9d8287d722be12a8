import HTTPMessage

/// One cookie of a Cookie field: the bytes between two `;`, without the white space around.
package struct CookiePair: Sendable, Hashable {
  /// `name=value`
  package var pair: ByteRange
  /// Up to the first `=`, trimmed; empty for a nameless cookie (`=v`).
  package var name: ByteRange
  /// Behind the first `=`, trimmed, quotes kept; the whole pair when there is no `=` (browsers send nameless cookies so).
  package var value: ByteRange
  package var hasEquals: Bool
}

/// Walks the cookies of one Cookie field (RFC 6265 §4.2.1, read as RFC 6265bis servers do). Quotes do not hide a `;`: whatever a cookie's
/// value holds, the next `;` ends it, so a planted `a="` cannot swallow the cookie behind it.
package struct CookieScanner: Sendable {
  private var at: Int
  private let end: Int

  package init(_ field: ByteRange) {
    at = field.lower
    end = field.upper
  }

  /// The next cookie; empty pieces are skipped.
  package mutating func next(in bytes: borrowing Span<UInt8>) -> CookiePair? {
    guard let pair = nextPair(in: bytes) else { return nil }
    return Self.split(bytes, pair.lower, pair.upper)
  }

  /// The next cookie's bytes, not yet taken apart.
  package mutating func nextPair(in bytes: borrowing Span<UInt8>) -> ByteRange? {
    guard end <= bytes.count else { return nil }
    while at < end {
      var start = at
      let separator = find(ASCII.semicolon, bytes, at, end)
      at = separator &+ 1
      var stop = separator
      while start < stop, isBlank(bytes[start]) { start &+= 1 }
      while stop > start, isBlank(bytes[stop &- 1]) { stop &-= 1 }
      if start == stop { continue }
      return ByteRange(start, stop)
    }
    return nil
  }

  /// The cookie whose bytes these are.
  package static func split(_ bytes: borrowing Span<UInt8>, _ pair: ByteRange) -> CookiePair {
    pair.upper <= bytes.count
      ? split(bytes, pair.lower, pair.upper) : CookiePair(pair: .empty, name: .empty, value: .empty, hasEquals: false)
  }

  private static func split(_ bytes: borrowing Span<UInt8>, _ start: Int, _ stop: Int) -> CookiePair {
    let pair = ByteRange(start, stop)
    let equals = find(ASCII.equals, bytes, start, stop)
    guard equals < stop else { return CookiePair(pair: pair, name: ByteRange(start, start), value: pair, hasEquals: false) }
    var nameEnd = equals
    while nameEnd > start, isBlank(bytes[nameEnd &- 1]) { nameEnd &-= 1 }
    var valueStart = equals &+ 1
    while valueStart < stop, isBlank(bytes[valueStart]) { valueStart &+= 1 }
    return CookiePair(pair: pair, name: ByteRange(start, nameEnd), value: ByteRange(valueStart, stop), hasEquals: true)
  }
}

/// The names of Intercom's own cookies, which never reach an upstream and no upstream may set.
package struct OwnCookieNames: Sendable, Hashable {
  package let names: [[UInt8]]

  package init(_ names: [String]) { self.names = names.map { $0.utf8.map(lowercase) } }

  /// Whether this pair is, or some reader could take it for, one of ours: any case of the letters, nameless (`=__Host-x=…`, or the bare
  /// name), quoted, or behind a comma (which some readers take for a separator).
  package func claims(_ cookie: CookiePair, in bytes: borrowing Span<UInt8>) -> Bool {
    guard cookie.pair.upper <= bytes.count else { return false }
    var start = cookie.pair.lower
    while start < cookie.pair.upper {
      let comma = find(ASCII.comma, bytes, start, cookie.pair.upper)
      if begins(bytes, start, comma) { return true }
      start = comma &+ 1
    }
    return false
  }

  /// Whether `start ..< end` begins with one of our names as a whole word, behind any signs that a reader might skip.
  private func begins(_ bytes: borrowing Span<UInt8>, _ from: Int, _ end: Int) -> Bool {
    var start = from
    while start < end, Self.isSkipped(bytes[start]) { start &+= 1 }
    candidates: for name in names {
      guard end &- start >= name.count else { continue }
      for offset in 0..<name.count where lowercase(bytes[start &+ offset]) != name[offset] { continue candidates }
      let next = start &+ name.count
      if next == end || bytes[next] == ASCII.equals || Self.isSkipped(bytes[next]) { return true }
    }
    return false
  }

  /// White space, `=`, quotes, `$` (RFC 2965) and control or non-ASCII bytes, which readers trim in one way or another.
  private static func isSkipped(_ byte: UInt8) -> Bool {
    byte <= 0x20 || byte >= 0x7f || byte == ASCII.equals || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'")
      || byte == UInt8(ascii: "$")
  }
}
