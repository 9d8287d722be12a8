import HTTP1
import HTTPMessage
import IntercomCore
import ReverseProxy

/// The allowed origins of a route and the fields that answer them (behaviour: "Origin and CORS",
/// [Fetch §3.2](https://fetch.spec.whatwg.org/#http-cors-protocol)).
///
/// Origins are compared byte for byte; there is no `*`, no suffix and no case folding. Those that an expression takes come second.
package struct CORSPolicy: Sendable {
  /// Every origin that counts as allowed, the base URL's own and the route's host's included.
  package let origins: [Origin]
  /// Takes further ones, where an operator keeps an expression of before.
  package let pattern: OriginPattern?
  /// The length and the last eight bytes of each: what tells them apart. (None is shorter: `http://a`.)
  private let ends: [(count: Int, word: UInt64)]
  /// What each origin's answers get, in the same order: ready to be sent.
  private let rendered: [ResponseRewrite]
  /// What answers to requests without an allowed Origin get.
  private let varying = ResponseRewrite(added: CORSPolicy.vary)

  /// What scripts may read of an answer besides the safelisted fields.
  package static let exposed =
    "ETag, DAV, Content-Security-Policy, Location, Authorization, Depth, Content-Type, OCS-APIRequest, Content-Length, "
    + "Content-Range, Accept-Ranges, Content-Disposition, Last-Modified, Retry-After"

  /// How long browsers may keep a preflight's answer: two hours, what Chromium caps it at.
  package static let preflightSeconds = 7200

  /// Field lines of an answer to a request without an allowed Origin.
  package static let vary = FieldLines(trusted: ["Vary": "Origin"])

  package init(origins: [Origin], pattern: OriginPattern? = nil) {
    self.pattern = pattern
    var seen: Set<Origin> = []
    self.origins = origins.filter { seen.insert($0).inserted }
    ends = self.origins.map { ($0.bytes.count, $0.bytes.suffix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }) }
    rendered = self.origins.map { Self.rewrite(allowing: $0.bytes) }
  }

  private static func rewrite(allowing origin: [UInt8]) -> ResponseRewrite {
    var lines = shared
    // An origin can always stand in a field.
    try? lines.append("Access-Control-Allow-Origin", origin)
    return ResponseRewrite(added: lines)
  }

  /// What every allowed origin gets, but for its name.
  private static let shared = FieldLines(trusted: [
    "Vary": "Origin", "Access-Control-Allow-Credentials": "true", "Access-Control-Expose-Headers": exposed,
  ])

  /// Whether a request carries an Origin and what it is worth.
  package enum Match: Sendable, Hashable {
    case absent
    /// The index into `origins`.
    case allowed(Int)
    /// One that the expression takes.
    case patterned
    /// Foreign, lookalike, `null`, empty …
    case refused
  }

  /// The verdict on a request's Origin; only bytes count.
  package func match(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Match {
    guard request.hasOrigin else { return .absent }
    var index = 0
    while index < origins.count {
      if ends[index].count == request.origin.count, Self.equals(origins[index].bytes, ends[index].word, request.origin, head) {
        return .allowed(index)
      }
      index &+= 1
    }
    if let pattern, pattern.matches(request.origin, in: head) { return .patterned }
    return .refused
  }

  /// Byte for byte the same? Their counts are. By words, the last first: origins mostly begin alike.
  @inline(__always) private static func equals(
    _ origin: [UInt8], _ last: UInt64, _ range: ByteRange, _ head: borrowing Span<UInt8>
  ) -> Bool {
    let count = origin.count
    guard count >= 8, range.upper <= head.count, load8(head, range.upper &- 8) == last else { return false }
    let bytes = origin.span
    var at = 0
    while at &+ 8 < count {
      if load8(bytes, at) != load8(head, range.lower &+ at) { return false }
      at &+= 8
    }
    return true
  }

  /// The field lines that every answer carries, `\r\n` behind each.
  package func lines(for match: Match, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> FieldLines {
    rewrite(for: match, request, head).added
  }

  /// Those of an answer to a request of which nothing but its Origin is known; nil: not even that.
  package func lines(for origin: [UInt8]?) -> FieldLines {
    guard let origin else { return Self.vary }
    var request = CanonicalRequest()
    request.origin = ByteRange(0, origin.count)
    request.hasOrigin = true
    return lines(for: match(request, origin.span), request, origin.span)
  }

  /// The same for the answer of an upstream.
  @inline(__always) func rewrite(
    for match: Match, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>
  ) -> ResponseRewrite {
    switch match {
    case .allowed(let index) where index < rendered.count: rendered[index]
    case .patterned: Self.rewrite(allowing: request.origin.bytes(in: head))
    case .absent, .allowed, .refused: varying
    }
  }

  /// The field lines of a preflight's 204: the route's methods and the requested names echoed.
  ///
  /// Only valid tokens are echoed, at most 64 of them: what else was sent is none of a browser's.
  ///
  /// - Parameter allowed: `lines(for:)` of the request's Origin.
  package func preflightLines(_ allowed: FieldLines, methods: MethodSet, requestedHeaders: [UInt8]) -> FieldLines {
    var out = allowed
    out.append(
      FieldLines(trusted: [
        "Access-Control-Allow-Methods": methods.methods.map(\.name).joined(separator: ", "),
        "Access-Control-Max-Age": String(Self.preflightSeconds),
      ]))
    let names = Self.tokens(of: requestedHeaders).map { String(decoding: $0, as: UTF8.self) }
    if !names.isEmpty { out.append(FieldLines(trusted: ["Access-Control-Allow-Headers": names.joined(separator: ", ")])) }
    return out
  }

  private static func tokens(of list: [UInt8]) -> [[UInt8]] {
    var found: [[UInt8]] = []
    for part in list.split(separator: UInt8(ascii: ",")) {
      let name = part.drop { $0 == 32 || $0 == 9 }.reversed().drop { $0 == 32 || $0 == 9 }.reversed()
      guard !name.isEmpty, name.allSatisfy(isTokenByte) else { continue }
      found.append(Array(name))
      if found.count == 64 { break }
    }
    return found
  }
}

extension FieldLines {
  /// Lines made of constants and checked values; one that cannot stand in a head is left out.
  init(trusted fields: KeyValuePairs<String, String>) {
    self.init()
    for (name, value) in fields { try? append(name, Array(value.utf8)) }
  }
}
