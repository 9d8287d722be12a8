/// A half-open range of bytes in a head buffer. 32 bits suffice: a head is at most 32 KiB.
public struct ByteRange: Sendable, Hashable {
  public var start: UInt32
  public var end: UInt32

  @inlinable public init(_ start: Int, _ end: Int) {
    self.start = UInt32(clamping: start)
    self.end = UInt32(clamping: end)
  }
  @inlinable public static var empty: ByteRange { ByteRange(0, 0) }

  @inlinable public var lower: Int { Int(start) }
  @inlinable public var upper: Int { Int(end) }
  @inlinable public var count: Int { end > start ? Int(end - start) : 0 }
  @inlinable public var isEmpty: Bool { end <= start }

  /// A copy of these bytes; empty when the range does not lie in `head`.
  @inlinable public func bytes(in head: borrowing Span<UInt8>) -> [UInt8] {
    guard lower <= upper, upper <= head.count else { return [] }
    var out: [UInt8] = []
    out.reserveCapacity(count)
    for index in lower..<upper { out.append(head[index]) }
    return out
  }

  /// Byte for byte the same?
  @inlinable public func equals(_ other: [UInt8], in head: borrowing Span<UInt8>) -> Bool {
    guard count == other.count, upper <= head.count else { return false }
    for index in 0..<other.count where head[lower &+ index] != other[index] { return false }
    return true
  }
}

/// How the body of a message is delimited (RFC 9112 §6).
public enum BodyFraming: Sendable, Hashable {
  case none
  case length(Int)
  case chunked
}

/// The forms of a request target (RFC 9112 §3.2).
public enum TargetForm: UInt8, Sendable {
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
public struct CanonicalRequest: Sendable {
  public var method: Method = .other
  /// The method's bytes (needed when `method` is `.other`).
  public var methodRange: ByteRange = .empty
  public var targetForm: TargetForm = .origin
  /// The path as sent, beginning with `/`, or `*` for OPTIONS. Escapes are not decoded.
  public var path: ByteRange = .empty
  /// The query without its `?`; `hasQuery` tells `/a?` from `/a`.
  public var query: ByteRange = .empty
  public var hasQuery = false
  /// The path holds at least one percent escape (all are well-formed).
  public var pathHasEscapes = false
  /// The path holds `%2F`: the matched route decides whether that passes.
  public var pathHasEncodedSlash = false
  /// The authority without user info, as sent: of an absolute-form target, else of Host. `host` excludes the port.
  public var authority: ByteRange = .empty
  public var host: ByteRange = .empty

  /// Field values with optional white space trimmed; empty ranges when absent. `hasOrigin` tells an empty Origin from none.
  public var origin: ByteRange = .empty
  public var hasOrigin = false
  /// More than one Origin, Sec-Fetch-Mode, X-CSRF-Token … is refused while parsing; Cookie may come up to four times.
  public var cookies: InlineArray<4, ByteRange> = .init(repeating: .empty)
  public var cookieCount = 0
  public var accept: ByteRange = .empty
  public var authorization: ByteRange = .empty
  public var hasAuthorization = false
  public var referer: ByteRange = .empty
  public var secFetchMode: ByteRange = .empty
  public var secFetchSite: ByteRange = .empty
  public var secFetchDest: ByteRange = .empty
  public var csrfToken: ByteRange = .empty
  public var hasCSRFToken = false
  public var accessControlRequestMethod: ByteRange = .empty
  public var hasAccessControlRequestMethod = false
  public var accessControlRequestHeaders: ByteRange = .empty
  public var hasAccessControlRequestHeaders = false
  public var destination: ByteRange = .empty
  public var hasDestination = false
  /// The client asks to switch to another protocol: the value of Upgrade, which Connection names too. Empty when it stands in several lines.
  public var upgrade: ByteRange = .empty
  public var hasUpgrade = false

  public var framing: BodyFraming = .none
  public var isHTTP10 = false
  /// The client lets the connection live after this exchange (RFC 9112 §9.3).
  public var keepAlive = true
  /// `Expect: 100-continue` (RFC 9110 §10.1.1).
  public var expectsContinue = false
  /// Bytes of the head including its empty line.
  public var headLength = 0

  @inlinable public init() {}
}
