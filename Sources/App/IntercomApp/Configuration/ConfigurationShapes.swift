import ConfigurationYAML
import Cryptography
import HTTP1
import HTTPMessage
import IntercomCore
import Telemetry

extension ValueShape where Value == Identifier {
  /// A name that is compared byte by byte: a client id, a claim, an audience.
  static func identifier(_ type: String) -> ValueShape {
    ValueShape(type: type) { value in ValueShape<String>.text(type: type, maximum: 256).read(value).map { Identifier($0) } }
  }

  /// [RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)
  static var scope: ValueShape {
    .scalar(type: "scope", example: "openid") { (text: String) throws(ValueFault) -> Identifier in
      guard (1...128).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C }) else {
        throw ValueFault("\(quoted(text)) is no scope", "write one word without spaces, quotes and backslashes; several as a list")
      }
      return Identifier(text)
    }
  }

  /// Several scope tokens with spaces between them, as one request sends them.
  static var scopes: ValueShape {
    ValueShape(type: "text") { value in
      guard let text = ValueShape<String>.text(maximum: 512).read(value) else { return nil }
      guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C }) else {
        value.refuse("\(quoted(text)) holds characters that no scope may have", "write words with one space between them")
        return nil
      }
      let words = text.split(separator: " ", omittingEmptySubsequences: false)
      guard words.allSatisfy({ !$0.isEmpty }), Set(words).count == words.count else {
        value.refuse("\(quoted(text)) holds two spaces in a row, or a scope twice", "write words with one space between them")
        return nil
      }
      return Identifier(text)
    }
  }

  /// An absolute URI without a fragment ([RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)), of any scheme: it is sent as it is
  /// and never fetched.
  static var resource: ValueShape {
    .scalar(type: "URI", example: "https://files.example.org") { (text: String) throws(ValueFault) -> Identifier in
      // User information is refused without showing the text: it may hold a password.
      guard !text.contains("@") else { throw ValueFault("a URI with '@' (user information)", "write it without user and password") }
      guard !text.contains("#") else { throw ValueFault("\(quoted(text)) has a fragment", "remove the '#' and what follows") }
      let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, let scheme = parts.first, let rest = parts.last, isScheme(scheme), !rest.isEmpty,
        !rest.allSatisfy({ $0 == "/" })
      else { throw ValueFault("\(quoted(text)) is no absolute URI", "write one such as https://files.example.org or urn:example:files") }
      guard text.utf8.count <= 2048, isPercentEncoded(text), text.utf8.allSatisfy(isURIByte) else {
        throw ValueFault("\(quoted(text)) holds characters that no URI has, or is longer than 2048", "write them with percent escapes")
      }
      return Identifier(text)
    }
  }

  /// [RFC 3986 §3.1](https://www.rfc-editor.org/rfc/rfc3986#section-3.1)
  private static func isScheme(_ text: Substring) -> Bool {
    guard let first = text.utf8.first, (first | 0x20) &- 97 < 26 else { return false }
    return text.utf8.allSatisfy { isAlphanumeric($0) || [0x2B, 0x2D, 0x2E].contains($0) }
  }

  /// Unreserved, reserved or `%` ([RFC 3986 §2](https://www.rfc-editor.org/rfc/rfc3986#section-2)).
  private static func isURIByte(_ byte: UInt8) -> Bool { isUnreserved(byte) || "!$%&'()*+,/:;=?[]".utf8.contains(byte) }
}

extension ValueShape where Value == WebURL {
  /// An address where Intercom itself is reached: no path, so that it is an origin too.
  static var baseURL: ValueShape {
    ValueShape(type: "URL", range: "http, https, without path") { value in
      guard let url = ValueShape<WebURL>.url.read(value) else { return nil }
      guard url.origin.utf8.elementsEqual(url.text.utf8) else {
        value.refuse("\(quoted(url.text)) is more than scheme, host and port, or not in the form that browsers use", "write \(url.origin)")
        return nil
      }
      return url
    }
  }
}

extension ValueShape where Value == String {
  /// A path prefix: what has two spellings (escapes, empty and dot segments, a final slash) is refused, since routes match literally.
  static var routePath: ValueShape {
    .scalar(type: "path", example: "/fs") { (text: String) throws(ValueFault) -> String in
      guard text.hasPrefix("/"), text.utf8.count <= 256 else {
        throw ValueFault("\(quoted(text)) does not begin with '/'", "write a path such as /fs")
      }
      if text.utf8.count == 1 { return text }
      guard !text.hasSuffix("/") else {
        throw ValueFault("\(quoted(text)) ends with '/'", "write \(text.dropLast()): it stands for itself and everything below")
      }
      let segments = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
      guard segments.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.allSatisfy(isUnreserved) }) else {
        throw ValueFault(
          "\(quoted(text)) holds an empty or dot segment, an escape or a character that would need one",
          "write segments of letters, digits, '-', '.', '_' and '~'")
      }
      return text
    }
  }

  /// The name of a protocol for `Upgrade` (RFC 9110 §7.8), in lower case.
  static var upgradeProtocol: ValueShape {
    .scalar(type: "protocol", example: "websocket") { (text: String) throws(ValueFault) -> String in
      let name = text.lowercased()
      guard (1...64).contains(name.utf8.count), UpgradeField.isProtocol(Array(name.utf8)) else {
        throw ValueFault("\(quoted(text)) is no name of a protocol", "write one such as websocket")
      }
      let base = name.split(separator: "/").first ?? ""
      guard !["h2c", "h2", "http", "tls"].contains(where: { base.utf8.elementsEqual($0.utf8) }) else {
        throw ValueFault(
          "\(quoted(text)) would carry requests that nobody looks at", "remove it: HTTP/2 is spoken with TLS, and needs no upgrade")
      }
      return name
    }
  }

  /// A host without port, as requests name it.
  static var routeHost: ValueShape {
    .scalar(type: "host", example: "files.example.org") { (text: String) throws(ValueFault) -> String in
      let parts = try HostAndPort(text)
      guard parts.port == nil else { throw ValueFault("\(quoted(text)) has a port", "write \(parts.host): routes do not look at ports") }
      return parts.host.contains(":") ? "[\(parts.host)]" : parts.host
    }
  }

  /// [RFC 6265 §4.1.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1), without `~`, which ends the route's
  /// name in isolated cookies.
  static var cookieName: ValueShape {
    .scalar(type: "cookie name", example: "intercom") { (text: String) throws(ValueFault) -> String in
      guard (1...64).contains(text.utf8.count), text.utf8.allSatisfy({ $0 != UInt8(ascii: "~") && isTokenByte($0) }) else {
        throw ValueFault("\(quoted(text)) is no cookie name", "write letters, digits, '-' and '_', at most 64")
      }
      return text
    }
  }
}

extension ValueShape where Value == LogLevel {
  static var logLevel: ValueShape {
    let names = LogLevel.allCases.map(\.name)
    return .scalar(type: "choice", range: names.joined(separator: ", "), example: "info", show: { $0.name }, parse: levelParser(names))
  }

  private static func levelParser(_ names: [String]) -> @Sendable (String) throws(ValueFault) -> LogLevel {
    { (text: String) throws(ValueFault) -> LogLevel in
      guard let level = LogLevel(named: text) else { throw unknownChoice(text, names) }
      return level
    }
  }
}

extension ValueShape where Value == Secret<[UInt8]> {
  /// 32 bytes or more as base64url ([RFC 4648 §5](https://www.rfc-editor.org/rfc/rfc4648#section-5)), padding allowed.
  static var sealingKey: ValueShape {
    let redacted: @Sendable (Secret<[UInt8]>) -> String = { $0.description }
    return ValueShape(type: "secret (base64url)", range: "at least 32 bytes", isSecret: true, show: redacted) { value in
      guard let text = ValueShape<Secret<String>>.secret().read(value) else { return nil }
      let isPadding: (UInt8) -> Bool = { $0 == UInt8(ascii: "=") }
      let digits = Array(text.reveal().utf8.reversed().drop(while: isPadding).reversed())
      let remedy = "make one with: openssl rand -base64 32 | tr '+/' '-_'"
      guard digits.count <= 1024, let key = Base64URL.decode(digits) else {
        value.refuse("the key is not base64url", remedy)
        return nil
      }
      guard key.count >= KeyRing.minimumKeyLength else {
        value.refuse("the key has \(key.count) bytes, fewer than \(KeyRing.minimumKeyLength)", remedy)
        return nil
      }
      guard Set(key).count >= 8 else {
        value.refuse("the key repeats the same few bytes", remedy)
        return nil
      }
      return Secret(key)
    }
  }
}

extension ValueShape where Value == MethodSet {
  private static let kinds: [(name: String, methods: MethodSet)] = [("read", .read), ("plain", .plain), ("webdav", .webdav)]

  /// A kind (`read`, `plain`, `webdav`) or a list of methods.
  static var methods: ValueShape {
    let names = kinds.map(\.name)
    return ValueShape(type: "kind or list of methods", range: names.joined(separator: ", ") + ", or a list", show: showMethods) { value in
      guard let items = value.items() else { return nil }
      var set = MethodSet([])
      var isWhole = !items.isEmpty
      if items.isEmpty { value.refuse("no methods", "write one of \(names.joined(separator: ", ")), or a list of methods") }
      for item in items {
        guard let text = item.text(expected: "a method", example: "GET") else {
          isWhole = false
          continue
        }
        if !value.isList, let kind = kinds.first(where: { $0.name.utf8.elementsEqual(text.utf8) }) { return kind.methods }
        switch Method(named: text) {
        case .other:
          isWhole = false
          let fault = unknownMethod(text, isAlone: !value.isList, names)
          item.refuse(fault.problem, fault.remedy)
        case .trace, .connect:
          isWhole = false
          item.refuse("\(text) is never allowed", "remove it")
        case let method: set.formUnion(MethodSet([method]))
        }
      }
      return isWhole ? set : nil
    }
  }

  private static func unknownMethod(_ text: String, isAlone: Bool, _ kinds: [String]) -> ValueFault {
    let methods = Method.allCases.filter { ![.other, .trace, .connect].contains($0) }.map(\.name)
    let near = suggestion(for: text, among: isAlone ? kinds + methods : methods).map { "did you mean \($0)?" }
    let what = isAlone ? "neither one of \(kinds.joined(separator: ", ")) nor a method" : "no method that a route can allow"
    return ValueFault("\(quoted(text)) is \(what)", near ?? "write names such as GET or PROPFIND in capitals")
  }

  static let showMethods: @Sendable (MethodSet) -> String = { set in
    if let kind = kinds.first(where: { $0.methods == set }) { return kind.name }
    return "[" + set.methods.map(\.name).joined(separator: ", ") + "]"
  }
}

/// [RFC 3986 §2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)
@Sendable func isUnreserved(_ byte: UInt8) -> Bool { isAlphanumeric(byte) || [0x2D, 0x2E, 0x5F, 0x7E].contains(byte) }

private func isAlphanumeric(_ byte: UInt8) -> Bool { (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 }
