import HTTPMessage
import IntercomCore

/// The parts of an `http` URL of a loopback server.
package struct LoopbackURL: Sendable, CustomStringConvertible {
  package var host: String
  package var port: Int
  /// Path and query, beginning with `/`; the fragment is dropped.
  package var target: String

  /// Takes `http://HOST[:PORT][/…]`; every host is taken to be 127.0.0.1, as RFC 6761 §6.3 says of `*.localhost`.
  package init(_ url: String) throws(RawHTTPError) {
    guard url.utf8.starts(with: "http://".utf8) else { throw .badURL(url) }
    let rest = url.dropFirst(7)
    let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
    guard let host = parts.first, !host.isEmpty, parts.count <= 2 else { throw .badURL(url) }
    guard let port = parts.count == 2 ? Int(parts[1]) : 80 else { throw .badURL(url) }
    let target = rest.dropFirst(authority.count).prefix { $0 != "#" }
    self.host = String(host)
    self.port = port
    self.target = target.first == "/" ? String(target) : "/" + target
  }

  package var origin: String { "http://" + authority }
  package var authority: String { port == 80 ? host : "\(host):\(port)" }
  package var description: String { origin + target }

  /// This URL's reading of a Location or href: absolute, host-relative, or relative to the path.
  package func resolve(_ reference: String) throws(RawHTTPError) -> LoopbackURL {
    if reference.utf8.starts(with: "http".utf8), reference.utf8.contains(UInt8(ascii: ":")) { return try LoopbackURL(reference) }
    if reference.hasPrefix("//") { return try LoopbackURL("http:" + reference) }
    if reference.hasPrefix("/") { return try LoopbackURL(origin + reference) }
    let path = target.prefix { $0 != "?" }
    if reference.hasPrefix("?") { return try LoopbackURL(origin + path + reference) }
    let folder = path[...(path.lastIndex(of: "/") ?? path.startIndex)]
    return try LoopbackURL(origin + folder + reference)
  }
}

/// A small HTTP/1.1 client for tests: one connection per request, redirects never followed, cookies only as given, `*.localhost` is 127.0.0.1.
///
/// It adds Host, Content-Length and `Connection: close`, and nothing else, so a test sees what it sends. `HTTP2Detour` makes it speak HTTP/2.
package struct RawHTTPClient: Sendable {
  package var timeout: Duration

  package init(timeout: Duration = .seconds(10)) { self.timeout = timeout }

  package func send(
    _ method: String, _ url: String, _ fields: KeyValuePairs<String, String> = [:], body: [UInt8]? = nil
  ) async throws(RawHTTPError) -> HTTPAnswer {
    try await send(method, LoopbackURL(url), fields: fields.map { ($0.key, $0.value) }, body: body)
  }

  package func send(
    _ method: String, _ url: LoopbackURL, fields: [(String, String)], body: [UInt8]? = nil
  ) async throws(RawHTTPError) -> HTTPAnswer {
    if let detour = HTTP2Detour.current, detour.plain == url.port { return try await detour.send(method, url, fields, body, timeout) }
    let connection = try await RawConnection.open(port: url.port, timeout: timeout)
    var head = "\(method) \(url.target) HTTP/1.1\r\nHost: \(url.authority)\r\nConnection: close\r\n"
    for (name, value) in fields { head += "\(name): \(value)\r\n" }
    if let body { head += "Content-Length: \(body.count)\r\n" }
    try await connection.send(Array((head + "\r\n").utf8) + (body ?? []))
    return try await connection.answer(to: method)
  }

  package func get(_ url: String, _ fields: KeyValuePairs<String, String> = [:]) async throws(RawHTTPError) -> HTTPAnswer {
    try await send("GET", url, fields)
  }

  /// POST of a form (`application/x-www-form-urlencoded`).
  package func post(
    _ url: String, form: KeyValuePairs<String, String>, _ fields: KeyValuePairs<String, String> = [:]
  ) async throws(RawHTTPError) -> HTTPAnswer {
    try await send(
      "POST", LoopbackURL(url), fields: [("Content-Type", "application/x-www-form-urlencoded")] + fields.map { ($0.key, $0.value) },
      body: Array(FormText.encode(form.map { ($0.key, $0.value) }).utf8))
  }

  /// Sends these bytes on a new connection and gives everything that comes until the peer closes.
  package func exchange(port: Int, bytes: [UInt8], finishSending: Bool = false) async throws(RawHTTPError) -> [UInt8] {
    let connection = try await RawConnection.open(port: port, timeout: timeout)
    try await connection.send(bytes)
    if finishSending { await connection.finishSending() }
    return try await connection.receiveToEnd()
  }
}

/// `application/x-www-form-urlencoded` text.
package enum FormText {
  package static func encode(_ pairs: [(String, String)]) -> String {
    pairs.map { escape($0) + "=" + escape($1) }.joined(separator: "&")
  }

  /// Unreserved characters (RFC 3986 §2.3) stay, every other byte becomes `%XX`.
  package static func escape(_ text: String) -> String {
    var out: [UInt8] = []
    let digits = Array("0123456789ABCDEF".utf8)
    for byte in text.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e: out.append(byte)
      default: out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The decoded value of the first parameter of that name in a query or form.
  package static func value(_ name: String, in text: String) -> String? {
    for pair in text.split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if unescape(String(parts[0])) == name { return parts.count > 1 ? unescape(String(parts[1])) : "" }
    }
    return nil
  }

  /// Decodes `%XX` and `+`; a broken escape stays as it is.
  package static func unescape(_ text: String) -> String {
    var out: [UInt8] = []
    var bytes = Array(text.utf8)[...]
    while let byte = bytes.popFirst() {
      let pair = bytes.prefix(2)
      if byte == UInt8(ascii: "%"), pair.count == 2, let value = UInt8(String(decoding: pair, as: UTF8.self), radix: 16) {
        out.append(value)
        bytes = bytes.dropFirst(2)
      } else {
        out.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}
