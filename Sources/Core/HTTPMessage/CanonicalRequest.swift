/// A half-open range of bytes in a head buffer. 32 bits suffice: a head is at most 32 KiB.
package struct ByteRange: Sendable, Hashable {
  package var start: UInt32
  package var end: UInt32

  @inlinable package init(_ start: Int, _ end: Int) {
    self.start = UInt32(clamping: start)
    self.end = UInt32(clamping: end)
  }
  package static let empty = ByteRange(0, 0)

  @inlinable package var lower: Int { Int(start) }
  @inlinable package var upper: Int { Int(end) }
  @inlinable package var count: Int { end > start ? Int(end - start) : 0 }
  @inlinable package var isEmpty: Bool { end <= start }

  /// A copy of these bytes; empty when the range does not lie in `head`.
  package func bytes(in head: borrowing Span<UInt8>) -> [UInt8] {
    guard lower <= upper, upper <= head.count else { return [] }
    var out: [UInt8] = []
    out.reserveCapacity(count)
    for index in lower..<upper { out.append(head[index]) }
    return out
  }

  /// Byte for byte the same?
  package func equals(_ other: [UInt8], in head: borrowing Span<UInt8>) -> Bool {
    guard count == other.count, upper <= head.count else { return false }
    for index in 0..<other.count where head[lower &+ index] != other[index] { return false }
    return true
  }
}

/// How the body of a message is delimited (RFC 9112 §6).
package enum BodyFraming: Sendable, Hashable {
  case none
  case length(Int)
  case chunked
}

/// The forms of a request target (RFC 9112 §3.2).
package enum TargetForm: UInt8, Sendable {
  case origin, absolute
  /// `*`, of OPTIONS only.
  case asterisk
  /// `host:port`, of CONNECT only; there is no path.
  case authority
}

/// A request read once from its bytes: everything that routing, policy and forwarding decide comes from this one value, so they cannot
/// disagree. It holds offsets and small integers only; the bytes travel beside it as `borrowing Span<UInt8>`.
///
/// Made by `HTTP1` (and later by HTTP/2), which refuses what no route may accept: dot segments raw or encoded, backslash, `..;`, NUL, two
/// Hosts, Content-Length with Transfer-Encoding …
package struct CanonicalRequest: Sendable {
  package var method: Method = .other
  /// The method's bytes (needed when `method` is `.other`).
  package var methodRange: ByteRange = .empty
  package var targetForm: TargetForm = .origin
  /// The path as sent, beginning with `/`, or `*` for OPTIONS. Escapes are not decoded.
  package var path: ByteRange = .empty
  /// The query without its `?`; `hasQuery` tells `/a?` from `/a`.
  package var query: ByteRange = .empty
  package var hasQuery = false
  /// The path holds at least one percent escape (all are well-formed).
  package var pathHasEscapes = false
  /// The path holds `%2F`: the matched route decides whether that passes.
  package var pathHasEncodedSlash = false
  /// The authority without user info, as sent: of an absolute-form target, else of Host. `host` excludes the port.
  package var authority: ByteRange = .empty
  package var host: ByteRange = .empty

  /// Field values with optional white space trimmed; empty ranges when absent. `hasOrigin` tells an empty Origin from none.
  package var origin: ByteRange = .empty
  package var hasOrigin = false
  /// More than one Origin, Sec-Fetch-Mode, X-CSRF-Token … is refused while parsing; Cookie may come up to four times.
  package var cookies: InlineArray<4, ByteRange> = .init(repeating: .empty)
  package var cookieCount = 0
  package var accept: ByteRange = .empty
  package var authorization: ByteRange = .empty
  package var hasAuthorization = false
  package var referer: ByteRange = .empty
  package var secFetchMode: ByteRange = .empty
  package var secFetchSite: ByteRange = .empty
  package var secFetchDest: ByteRange = .empty
  package var csrfToken: ByteRange = .empty
  package var hasCSRFToken = false
  package var accessControlRequestMethod: ByteRange = .empty
  package var hasAccessControlRequestMethod = false
  package var accessControlRequestHeaders: ByteRange = .empty
  package var hasAccessControlRequestHeaders = false
  package var destination: ByteRange = .empty
  package var hasDestination = false
  package var hasUpgrade = false

  package var framing: BodyFraming = .none
  package var isHTTP10 = false
  /// The client lets the connection live after this exchange (RFC 9112 §9.3).
  package var keepAlive = true
  /// `Expect: 100-continue` (RFC 9110 §10.1.1).
  package var expectsContinue = false
  /// Bytes of the head including its empty line.
  package var headLength = 0

  package init() {}
}
