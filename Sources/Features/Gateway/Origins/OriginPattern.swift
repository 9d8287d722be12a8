import HTTPMessage
import IntercomCore

/// Origins that one expression names: what deployments of the Intercom Service have in `ORIGIN_REGEX` (docs/decisions/0028).
///
/// It is compared with the whole origin, takes only origins as browsers write them, and http only where the base URL is http.
package struct OriginPattern: Sendable, CustomStringConvertible {
  /// As written.
  package let expression: String
  /// The same for a browser's RegExp: for the page of `/silent`.
  package let browserExpression: String
  /// What stands for it in `frame-ancestors`, such as `https://*.example.org`; nil when that cannot be told.
  package let frameSources: [String]?
  /// The shortest origin that it takes.
  package let example: String
  private let automaton: OriginAutomaton
  let allowsHTTP: Bool

  package var description: String { expression }

  /// Throws for what is no expression, takes no origin, or takes those of strangers.
  ///
  /// - Parameter allowsHTTP: the base URL is http.
  package init(_ expression: String, allowsHTTP: Bool) throws(OriginPatternFault) {
    let parsed = try OriginExpression.parse(expression)
    automaton = try OriginAutomaton(parsed)
    let survey = try OriginSurvey(automaton, allowsHTTP: allowsHTTP)
    guard let example = survey.example else { throw Self.takesNone(parsed, expression, allowsHTTP) }
    if let stranger = survey.stranger {
      throw OriginPatternFault(
        "takes origins of strangers too, such as \(stranger)",
        survey.isStrangerAddress
          ? "origins with addresses have to be listed, under origins or in INTERCOM_CFG_ORIGINS"
          : #"write out the domain with a dot before it, such as https://[a-z0-9-]+\.example\.org, or list the origins"#)
    }
    self.expression = expression
    self.example = example
    self.allowsHTTP = allowsHTTP
    browserExpression = parsed.browserForm(allowsHTTP: allowsHTTP)
    frameSources = FrameSources.of(parsed, allowsHTTP: allowsHTTP)
  }

  /// Expressions that were searched for somewhere in an origin are common where this one comes from.
  static func takesNone(_ parsed: OriginExpression, _ text: String, _ allowsHTTP: Bool) -> OriginPatternFault {
    let schemes = allowsHTTP ? "http:// or https://" : "https://"
    var remedy = #"write all of it, such as https://[a-z0-9-]+\.example\.org"#
    if let domain = FrameSources.text(parsed), HTTPURL("https://\(domain)")?.host.description.utf8.elementsEqual(domain.utf8) == true {
      remedy = "for it and all below write https://([a-z0-9-]+\\.)*\(domain.replacing(".", with: "\\."))"
    }
    return OriginPatternFault("takes no origin: it is compared with the whole of one, from \(schemes) on", remedy)
  }

  /// Whether an Origin field's value is one of them.
  package func matches(_ value: ByteRange, in head: borrowing Span<UInt8>) -> Bool {
    guard value.upper <= head.count, (8...320).contains(value.count) else { return false }
    var state = OriginAutomaton.start
    for at in value.lower..<value.upper {
      state = automaton.step(state, head[at])
      if state == OriginAutomaton.dead { return false }
    }
    return automaton.isAccepting(state) && Self.isOrigin(value, head, allowsHTTP: allowsHTTP)
  }

  package func matches(_ origin: Origin) -> Bool {
    let bytes = origin.bytes
    return matches(ByteRange(0, bytes.count), in: bytes.span)
  }

  private static let secure = Array("https://".utf8)
  private static let plain = Array("http://".utf8)

  /// Scheme, name of lower-case labels, port: no user, path, line end or whatever else an expression may let through.
  fileprivate static func isOrigin(_ value: ByteRange, _ head: borrowing Span<UInt8>, allowsHTTP: Bool) -> Bool {
    var at = value.lower
    guard value.count > plain.count else { return false }
    let scheme = head[at &+ 4] == UInt8(ascii: "s") ? secure : plain
    guard allowsHTTP || scheme.count == secure.count, value.count > scheme.count else { return false }
    for byte in scheme {
      if head[at] != byte { return false }
      at &+= 1
    }
    var before = UInt8(ascii: ".")
    while at < value.upper, head[at] != UInt8(ascii: ":") {
      let byte = head[at]
      if byte == UInt8(ascii: ".") {
        if before == byte { return false }
      } else if !(byte &- 97 < 26 || byte &- 48 < 10 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")) {
        return false
      }
      before = byte
      at &+= 1
    }
    if before == UInt8(ascii: ".") { return false }
    if at == value.upper { return true }
    let digits = value.upper &- at &- 1
    guard (1...5).contains(digits) else { return false }
    for index in (at &+ 1)..<value.upper where head[index] &- 48 >= 10 { return false }
    return true
  }
}

/// What of an expression can stand in `frame-ancestors` ([CSP 3 §2.3.1](https://www.w3.org/TR/CSP3/#framework-directive-source-list)): origins,
/// and `https://*.domain` for all below a domain. They may take more than the expression, never another domain.
enum FrameSources {
  private enum Piece: Equatable {
    case text([UInt8])
    case open
  }
  private static let most = 64

  /// Sorted; nil when one of the expression's alternatives has no such form.
  static func of(_ expression: OriginExpression, allowsHTTP: Bool) -> [String]? {
    guard let ways = ways(expression) else { return nil }
    var sources: Set<String> = []
    for way in ways {
      for merged in schemed(merge(way), allowsHTTP) where !merged.isEmpty {
        guard case .text(let head)? = merged.first else { return nil }
        let text = String(decoding: head, as: UTF8.self)
        if text.hasPrefix("http://"), !allowsHTTP { continue }
        // Such as `.example.org` where `.*` takes nothing: no browser sends it.
        if merged.count == 1, !OriginPattern.isOrigin(ByteRange(0, head.count), head.span, allowsHTTP: true) { continue }
        guard text.hasPrefix("https://") || text.hasPrefix("http://"), let source = source(merged) else { return nil }
        if !source.isEmpty { sources.insert(source) }
      }
    }
    return sources.isEmpty ? nil : sources.sorted()
  }

  /// What leaves its beginning open leaves the scheme open too.
  private static func schemed(_ way: [Piece], _ allowsHTTP: Bool) -> [[Piece]] {
    guard way.first == .open else { return [way] }
    return (allowsHTTP ? ["https://", "http://"] : ["https://"]).map { [.text(Array($0.utf8))] + way }
  }

  /// The only text that an expression takes; nil when there are several.
  static func text(_ expression: OriginExpression) -> String? {
    guard let ways = ways(expression), ways.count == 1, case .text(let bytes)? = merge(ways[0]).first, merge(ways[0]).count == 1 else {
      return nil
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Nil when it cannot be told, empty when it takes nothing.
  private static func source(_ way: [Piece]) -> String? {
    var way = way
    var port = ""
    if way.last == .open, way.count > 1, case .text(let before) = way[way.count - 2], before.last == UInt8(ascii: ":") {
      way.removeLast(2)
      way.append(.text(before.dropLast()))
      port = ":*"
    }
    guard case .text(let head)? = way.first, case .text(let tail)? = way.last else { return nil }
    if way.count == 1 {
      // The same with a port.
      guard OriginPattern.isOrigin(ByteRange(0, head.count), head.span, allowsHTTP: true) else { return "" }
      return String(decoding: head, as: UTF8.self) + port
    }
    // Whatever is open stands before the last text; from its first dot on it names a domain.
    guard let dot = tail.firstIndex(of: UInt8(ascii: ".")) else { return nil }
    let domain = String(decoding: tail[(dot + 1)...], as: UTF8.self)
    let scheme = head.starts(with: "https://".utf8) ? "https://" : "http://"
    guard let url = HTTPURL(scheme + domain), url.origin.description.utf8.elementsEqual((scheme + domain).utf8) else { return nil }
    let host = url.host.description
    guard host.contains(".") || OriginSurvey.privateDomains.contains(where: { $0.utf8.elementsEqual(host.utf8) }) else { return nil }
    return scheme + "*." + domain + port
  }

  private static func merge(_ way: [Piece]) -> [Piece] {
    way.reduce(into: []) { merged, piece in
      switch (merged.last, piece) {
      case (.text(let before)?, .text(let more)): merged[merged.count - 1] = .text(before + more)
      case (.open?, .open): break
      default: if piece != .text([]) { merged.append(piece) }
      }
    }
  }

  /// The alternatives of an expression; nil for too many.
  private static func ways(_ expression: OriginExpression) -> [[Piece]]? {
    switch expression {
    case .byte(let set): return [[set.single.map { .text([$0]) } ?? .open]]
    case .sequence(let parts):
      var all: [[Piece]] = [[]]
      for part in parts {
        guard let more = ways(part), all.count * more.count <= most else { return nil }
        all = all.flatMap { one in more.map { one + $0 } }
      }
      return all
    case .choice(let branches):
      var all: [[Piece]] = []
      for branch in branches {
        guard let more = ways(branch), all.count + more.count <= most else { return nil }
        all += more
      }
      return all
    case .repeated(let inner, let least, let most):
      if most == 0 { return [[]] }
      if let most, most == 1 {
        guard let once = ways(inner) else { return nil }
        return least == 0 ? [[]] + once : once
      }
      // Each time ends with a dot: then so does the whole.
      let isDotted = !inner.takesNothing && inner.lastBytes.single == UInt8(ascii: ".")
      let many: [Piece] = isDotted ? [.open, .text([UInt8(ascii: ".")])] : [.open]
      return least == 0 ? [[], many] : [many]
    }
  }
}
