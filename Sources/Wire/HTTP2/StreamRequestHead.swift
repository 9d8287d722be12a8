import HTTP1
import HTTPMessage
import IntercomCore

/// A stream's request as HTTP/1.1 has it, and what its stream must know of it.
package struct StreamRequest: Sendable {
  /// The head.
  package let http1: [UInt8]
  package let isHead: Bool
  /// Extended CONNECT ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)): a tunnel is asked for.
  package let asksForTunnel: Bool
  /// Whether a body may follow was said by the client's END_STREAM; its length perhaps by a field.
  package let hasStatedLength: Bool
}

/// The head of a request that came over a stream of HTTP/2, to be written as HTTP/1.1 has it.
///
/// There is one reader of requests, one canonical form and one decision: a stream's request goes through them as bytes of HTTP/1.1
/// ([RFC 9113 §8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1) says how they correspond). What could mean something else once it
/// is text (a space in the method, a line end in a value, a colon in a name) makes the request malformed
/// ([§8.1.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.1.1)), although nghttp2 refuses it too.
///
/// One serves all streams of a connection: their heads come one after the other.
package struct StreamRequestHead: Sendable {
  /// The values of the pseudo-fields, one behind the other; absent ones are empty, but for `:authority`.
  private var pseudo: [UInt8] = []
  private var method = 0..<0
  private var path = 0..<0
  private var protocolName = 0..<0
  private var authority: Range<Int>?
  private var hasScheme = false
  private var host: [UInt8]?
  /// Field lines, each with its CRLF.
  private var lines: [UInt8] = []
  /// Crumbs of cookies become one field ([§8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)).
  private var cookie: [UInt8] = []
  private var hasLength = false
  private var hasRegular = false
  private var size = 0
  /// Something was left out: never to be read as a whole head.
  private var isCut = false
  private var isMalformed = false
  /// Bytes of an over-long head that are kept: more than the reader of heads takes, so that it answers 431.
  private let mostBytes: Int

  /// - Parameter limit: bytes that the reader of heads takes.
  package init(limit: Int) { mostBytes = limit &+ 4096 }

  /// Begins the next head.
  package mutating func restart() {
    pseudo.removeAll(keepingCapacity: true)
    lines.removeAll(keepingCapacity: lines.capacity <= 65_536)
    cookie.removeAll(keepingCapacity: cookie.capacity <= 65_536)
    (method, path, protocolName, authority, host) = (0..<0, 0..<0, 0..<0, nil, nil)
    (hasScheme, hasLength, hasRegular, isCut, isMalformed, size) = (false, false, false, false, false, 0)
  }

  /// How a head stands after one more field.
  package enum Verdict: Sendable {
    case taken
    /// The stream must be reset with PROTOCOL_ERROR.
    case malformed
    /// Far above every limit, as a short block makes it that refers to a long entry of HPACK's table again and again: not worth an answer.
    case excessive
  }

  private var asksForTunnel: Bool { !protocolName.isEmpty && isConnect }
  private var isConnect: Bool { Self.equals(pseudo.span.extracting(method), "CONNECT") }

  /// The next field of the head, pseudo-fields first, as HPACK gave it.
  @discardableResult
  package mutating func add(_ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) -> Verdict {
    size &+= name.count &+ value.count &+ 32
    guard !isMalformed else { return .malformed }
    guard size <= 2 &* mostBytes else {
      isCut = true
      return size > 4 &* mostBytes ? .excessive : .taken
    }
    guard name.count > 0, Self.isText(value) else {
      isMalformed = true
      return .malformed
    }
    if name[0] == UInt8(ascii: ":") {
      isMalformed = hasRegular || !addPseudo(name, value)
    } else {
      hasRegular = true
      isMalformed = !Self.isLowerCaseToken(name) || !addRegular(name, value)
    }
    return isMalformed ? .malformed : .taken
  }

  /// False: malformed.
  private mutating func addPseudo(_ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) -> Bool {
    switch name.count {
    case 7 where Self.equals(name, ":method"):
      guard method.isEmpty, value.count > 0, Self.isToken(value) else { return false }
      method = keep(value)
    case 5 where Self.equals(name, ":path"):
      guard path.isEmpty, value.count > 0, Self.isVisible(value) else { return false }
      path = keep(value)
    case 10 where Self.equals(name, ":authority"):
      guard authority == nil, Self.isVisible(value) else { return false }
      authority = keep(value)
    case 7 where Self.equals(name, ":scheme"):
      // We speak for no other schemes; clients of a proxy that ends TLS may say either.
      guard !hasScheme, Self.equals(value, "https") || Self.equals(value, "http") else { return false }
      hasScheme = true
    case 9 where Self.equals(name, ":protocol"):
      guard protocolName.isEmpty, value.count > 0, Self.isToken(value) else { return false }
      protocolName = keep(value)
    default: return false
    }
    return true
  }

  private mutating func keep(_ value: borrowing Span<UInt8>) -> Range<Int> {
    let start = pseudo.count
    pseudo.append(copying: value)
    return start..<pseudo.count
  }

  /// False: malformed.
  private mutating func addRegular(_ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) -> Bool {
    switch FieldID.lookup(name, 0, name.count) {
    // These are the connection's in HTTP/1.1 and may not come here (§8.2.2).
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade: return false
    case .te where !Self.equals(value, "trailers"): return false
    case .host:
      guard host == nil else { return false }
      host = [UInt8](copying: value)
      return true
    case .cookie:
      if !cookie.isEmpty { cookie += [UInt8(ascii: ";"), 0x20] }
      cookie.append(copying: value)
      return true
    case .contentLength: hasLength = true
    // Not used over a stream (RFC 8441 §5): the key is made here.
    default: if asksForTunnel, Self.equals(name, "sec-websocket-key") { return true }
    }
    guard lines.count <= mostBytes else {
      isCut = true
      return true
    }
    lines.append(copying: name)
    lines.append(UInt8(ascii: ":"))
    lines.append(0x20)
    lines.append(copying: value)
    lines.append(13)
    lines.append(10)
    return true
  }

  /// The request as HTTP/1.1 has it, nil when it is malformed.
  ///
  /// - Parameters:
  ///   - endsStream: no body follows.
  ///   - webSocketKey: 24 characters of base64, for the upstream of a WebSocket: over a stream the client sends none
  ///     ([RFC 8441 §5](https://www.rfc-editor.org/rfc/rfc8441#section-5)).
  package mutating func request(endsStream: Bool, webSocketKey: () -> [UInt8]) -> StreamRequest? {
    guard !isMalformed, !method.isEmpty, let target else { return nil }
    // Both name the host: they must agree (§8.3.1).
    if let authority, let host, !pseudo[authority].elementsEqual(host) { return nil }
    guard authority != nil || host != nil else { return nil }
    let isTunnel = asksForTunnel
    var out: [UInt8] = []
    out.reserveCapacity(pseudo.count &+ lines.count &+ cookie.count &+ (host?.count ?? 0) &+ 160)
    if isTunnel { out += "GET".utf8 } else { out.append(copying: pseudo.span.extracting(method)) }
    out.append(0x20)
    out.append(copying: pseudo.span.extracting(target))
    out += " HTTP/1.1\r\nHost: ".utf8
    if let authority { out.append(copying: pseudo.span.extracting(authority)) } else if let host { out += host }
    out.append(13)
    out.append(10)
    out += lines
    if !cookie.isEmpty {
      out += "cookie: ".utf8
      out += cookie
      out.append(13)
      out.append(10)
    }
    if isTunnel {
      // When it is refused nothing that follows on this stream is a request.
      out += "Connection: Upgrade, close\r\nUpgrade: ".utf8
      out.append(copying: pseudo.span.extracting(protocolName))
      out += "\r\nSec-WebSocket-Key: ".utf8
      out += webSocketKey()
      out += [13, 10]
    } else if !endsStream, !hasLength, !isConnect {
      out += "Transfer-Encoding: chunked\r\n".utf8
    }
    if isCut { out += [UInt8](repeating: UInt8(ascii: "x"), count: mostBytes) }
    out.append(13)
    out.append(10)
    let isHead = Self.equals(pseudo.span.extracting(method), "HEAD")
    return StreamRequest(http1: out, isHead: isHead, asksForTunnel: isTunnel, hasStatedLength: hasLength)
  }

  /// CONNECT has an authority only; everything else has a scheme and a path (§8.3.1, §8.5; RFC 8441 §4).
  private var target: Range<Int>? {
    if isConnect, protocolName.isEmpty { return path.isEmpty && !hasScheme ? authority : nil }
    guard protocolName.isEmpty || isConnect, hasScheme, !path.isEmpty else { return nil }
    // An absolute URL here would name another host in HTTP/1.1.
    if pseudo[path.lowerBound] == UInt8(ascii: "/") { return path }
    let isAsterisk = Self.equals(pseudo.span.extracting(path), "*") && Self.equals(pseudo.span.extracting(method), "OPTIONS")
    return isAsterisk ? path : nil
  }

  // MARK: bytes

  private static func equals(_ bytes: borrowing Span<UInt8>, _ word: StaticString) -> Bool {
    guard bytes.count == word.utf8CodeUnitCount else { return false }
    return word.withUTF8Buffer { word in
      for index in 0..<word.count where bytes[index] != word[index] { return false }
      return true
    }
  }

  /// No control characters but tabs.
  private static func isText(_ value: borrowing Span<UInt8>) -> Bool {
    var at = skipText(value, 0)
    while at < value.count, value[at] == 0x09 { at = skipText(value, at &+ 1) }
    return at == value.count
  }

  private static func isToken(_ value: borrowing Span<UInt8>) -> Bool {
    for index in value.indices where !isTokenByte(value[index]) { return false }
    return true
  }

  private static func isLowerCaseToken(_ name: borrowing Span<UInt8>) -> Bool {
    for index in 0..<name.count {
      let byte = name[index]
      if byte &- 97 < 26 || byte == 45 || byte &- 48 < 10 { continue }
      guard isTokenByte(byte), byte &- 65 >= 26 else { return false }
    }
    return true
  }

  private static func isVisible(_ value: borrowing Span<UInt8>) -> Bool {
    for index in 0..<value.count where value[index] <= 0x20 || value[index] == 0x7f { return false }
    return true
  }
}
