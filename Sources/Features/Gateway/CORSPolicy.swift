import HTTPMessage
import IntercomCore

/// The allowed origins of a route and the fields that answer them (behaviour: "Origin and CORS",
/// [Fetch §3.2](https://fetch.spec.whatwg.org/#http-cors-protocol)).
///
/// Origins are compared byte for byte; there is no `*`, no suffix and no case folding.
package struct CORSPolicy: Sendable {
  /// Every origin that counts as allowed, the base URL's own and the route's host's included.
  package let origins: [Origin]
  /// The field lines for each origin, in the same order: ready to be copied into an answer.
  private let rendered: [[UInt8]]

  /// What scripts may read of an answer besides the safelisted fields.
  package static let exposed =
    "ETag, DAV, Content-Security-Policy, Location, Authorization, Depth, Content-Type, OCS-APIRequest, Content-Length, "
    + "Content-Range, Accept-Ranges, Content-Disposition, Last-Modified, Retry-After"

  /// How long browsers may keep a preflight's answer: two hours, what Chromium caps it at.
  package static let preflightSeconds = 7200

  /// Field lines of an answer to a request without an allowed Origin.
  package static let varyLine = Array("Vary: Origin\r\n".utf8)

  package init(origins: [Origin]) {
    var seen: Set<Origin> = []
    self.origins = origins.filter { seen.insert($0).inserted }
    rendered = self.origins.map { origin in
      var line = Array("Vary: Origin\r\nAccess-Control-Allow-Origin: ".utf8)
      line += origin.bytes
      line += Array("\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: \(Self.exposed)\r\n".utf8)
      return line
    }
  }

  /// Whether a request carries an Origin and what it is worth.
  package enum Match: Sendable, Hashable {
    case absent
    /// The index into `origins`.
    case allowed(Int)
    /// Foreign, lookalike, `null`, empty …
    case refused
  }

  package func match(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Match {
    guard request.hasOrigin else { return .absent }
    for index in origins.indices where origins[index].matches(request.origin, in: head) { return .allowed(index) }
    return .refused
  }

  /// The field lines that every answer carries, `\r\n` behind each.
  package func lines(for match: Match) -> [UInt8] {
    guard case .allowed(let index) = match, rendered.indices.contains(index) else { return Self.varyLine }
    return rendered[index]
  }

  /// The field lines of a preflight's 204: the route's methods and the requested names echoed.
  ///
  /// Only valid tokens are echoed, at most 64 of them: what else was sent is none of a browser's.
  package func preflightLines(for match: Match, methods: MethodSet, requestedHeaders: [UInt8]) -> [UInt8] {
    var out = lines(for: match)
    out += Array("Access-Control-Allow-Methods: \(methods.methods.map(\.name).joined(separator: ", "))\r\n".utf8)
    let names = Self.tokens(of: requestedHeaders)
    if !names.isEmpty {
      out += Array("Access-Control-Allow-Headers: ".utf8)
      for (index, name) in names.enumerated() {
        if index > 0 { out += [UInt8(ascii: ","), UInt8(ascii: " ")] }
        out += name
      }
      out += [13, 10]
    }
    out += Array("Access-Control-Max-Age: \(Self.preflightSeconds)\r\n".utf8)
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

/// tchar of [RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2).
package func isTokenByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
  case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"),
    UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"),
    UInt8(ascii: "|"), UInt8(ascii: "~"):
    true
  default: false
  }
}
