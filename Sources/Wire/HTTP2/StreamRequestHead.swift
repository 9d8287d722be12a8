import HTTP1
import HTTPMessage
import IntercomCore

/// The head of a request that came over a stream of HTTP/2, to be written as HTTP/1.1 has it.
///
/// There is one reader of requests, one canonical form and one decision: a stream's request goes through them as bytes of HTTP/1.1
/// ([RFC 9113 §8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1) says how they correspond). What could mean something else once it
/// is text (a space in the method, a line end in a value, a colon in a name) makes the request malformed
/// ([§8.1.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.1.1)), although nghttp2 refuses it too.
package struct StreamRequestHead: Sendable {
  private var method: [UInt8] = []
  private var path: [UInt8] = []
  private var authority: [UInt8]?
  private var host: [UInt8]?
  private var hasScheme = false
  private var protocolName: [UInt8] = []
  /// Field lines, each with its CRLF.
  private var lines: [UInt8] = []
  /// Crumbs of cookies become one field ([§8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)).
  private var cookie: [UInt8] = []
  private var hasLength = false
  private var hasRegular = false
  private var size = 0
  /// Something was left out: never to be read as a whole head.
  private var isCut = false
  /// The stream must be reset with PROTOCOL_ERROR.
  package private(set) var isMalformed = false

  /// Bytes of an over-long head that are kept: more than the reader of heads takes, so that it answers 431.
  private let mostBytes: Int

  /// - Parameter limit: bytes that the reader of heads takes.
  package init(limit: Int) { mostBytes = limit &+ 4096 }

  /// Far above every limit, as a short block makes it that refers to a long entry of HPACK's table again and again: not worth an answer.
  package var isExcessive: Bool { size > 4 &* mostBytes }

  /// Whether a body may follow was said by the client's END_STREAM; its length perhaps by a field.
  package var hasStatedLength: Bool { hasLength }
  /// Extended CONNECT ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)): a tunnel is asked for.
  package var asksForTunnel: Bool { !protocolName.isEmpty && isConnect }
  package var isHead: Bool { method.elementsEqual("HEAD".utf8) }
  private var isConnect: Bool { method.elementsEqual("CONNECT".utf8) }

  /// The next field of the head, pseudo-fields first, as HPACK gave it.
  package mutating func add(_ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) {
    size &+= name.count &+ value.count &+ 32
    guard size <= 2 &* mostBytes else {
      isCut = true
      return
    }
    for index in value.indices where value[index] < 0x20 && value[index] != 0x09 || value[index] == 0x7f { isMalformed = true }
    guard name.count > 0, !isMalformed else {
      isMalformed = true
      return
    }
    if name[0] == UInt8(ascii: ":") { return addPseudo([UInt8](copying: name.extracting(1...)), [UInt8](copying: value)) }
    for index in name.indices where !isTokenByte(name[index]) || name[index] >= 0x41 && name[index] <= 0x5a { isMalformed = true }
    guard !isMalformed else { return }
    hasRegular = true
    addRegular([UInt8](copying: name), value)
  }

  private mutating func addPseudo(_ name: [UInt8], _ value: [UInt8]) {
    guard !hasRegular else {
      isMalformed = true
      return
    }
    switch String(decoding: name, as: UTF8.self) {
    case "method" where method.isEmpty && !value.isEmpty && value.allSatisfy(isTokenByte): method = value
    case "path" where path.isEmpty && !value.isEmpty && value.allSatisfy(Self.isVisible): path = value
    case "authority" where authority == nil && value.allSatisfy(Self.isVisible): authority = value
    case "scheme" where !hasScheme && Self.isOurs(scheme: value): hasScheme = true
    case "protocol" where protocolName.isEmpty && !value.isEmpty && value.allSatisfy(isTokenByte): protocolName = value
    default: isMalformed = true
    }
  }

  private mutating func addRegular(_ name: [UInt8], _ value: borrowing Span<UInt8>) {
    switch String(decoding: name, as: UTF8.self) {
    // These are the connection's in HTTP/1.1 and may not come here (§8.2.2).
    case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade": isMalformed = true
    // Not used over a stream (RFC 8441 §5): the key is made here.
    case "sec-websocket-key" where asksForTunnel: break
    case "te":
      guard [UInt8](copying: value).elementsEqual("trailers".utf8) else {
        isMalformed = true
        return
      }
      append(name, value)
    case "host":
      guard host == nil else {
        isMalformed = true
        return
      }
      host = [UInt8](copying: value)
    case "cookie":
      if !cookie.isEmpty { cookie += [UInt8(ascii: ";"), 0x20] }
      cookie.append(copying: value)
    case "content-length":
      hasLength = true
      append(name, value)
    default: append(name, value)
    }
  }

  private mutating func append(_ name: [UInt8], _ value: borrowing Span<UInt8>) {
    guard lines.count <= mostBytes else {
      isCut = true
      return
    }
    lines += name
    lines += [UInt8(ascii: ":"), 0x20]
    lines.append(copying: value)
    lines += [13, 10]
  }

  /// The head as HTTP/1.1 has it, nil when it is malformed.
  ///
  /// - Parameters:
  ///   - endsStream: no body follows.
  ///   - webSocketKey: 24 characters of base64, for the upstream of a WebSocket: over a stream the client sends none
  ///     ([RFC 8441 §5](https://www.rfc-editor.org/rfc/rfc8441#section-5)).
  package func http1(endsStream: Bool, webSocketKey: [UInt8]) -> [UInt8]? {
    guard !isMalformed, !method.isEmpty, let target else { return nil }
    // Both name the host: they must agree (§8.3.1).
    if let authority, let host, authority != host { return nil }
    guard let host = authority ?? host else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(lines.count + cookie.count + target.count + host.count + 128)
    out += asksForTunnel ? Array("GET".utf8) : method
    out.append(0x20)
    out += target
    out += " HTTP/1.1\r\nHost: ".utf8
    out += host
    out += [13, 10]
    out += lines
    if !cookie.isEmpty {
      out += "cookie: ".utf8
      out += cookie
      out += [13, 10]
    }
    if asksForTunnel {
      // When it is refused nothing that follows on this stream is a request.
      out += "Connection: Upgrade, close\r\nUpgrade: ".utf8
      out += protocolName
      out += "\r\nSec-WebSocket-Key: ".utf8
      out += webSocketKey
      out += [13, 10]
    } else if !endsStream, !hasLength, !isConnect {
      out += "Transfer-Encoding: chunked\r\n".utf8
    }
    if isCut { out += [UInt8](repeating: UInt8(ascii: "x"), count: mostBytes) }
    out += [13, 10]
    return out
  }

  /// CONNECT has an authority only; everything else has a scheme and a path (§8.3.1, §8.5; RFC 8441 §4).
  private var target: [UInt8]? {
    if isConnect, protocolName.isEmpty { return path.isEmpty && !hasScheme ? authority : nil }
    guard protocolName.isEmpty || isConnect, hasScheme, let first = path.first else { return nil }
    // An absolute URL here would name another host in HTTP/1.1.
    guard first == UInt8(ascii: "/") || path.elementsEqual("*".utf8) && method.elementsEqual("OPTIONS".utf8) else { return nil }
    return path
  }

  /// We speak for no other schemes; clients of a proxy that ends TLS may say either.
  private static func isOurs(scheme: [UInt8]) -> Bool { scheme.elementsEqual("https".utf8) || scheme.elementsEqual("http".utf8) }

  private static func isVisible(_ byte: UInt8) -> Bool { byte > 0x20 && byte != 0x7f }
}
