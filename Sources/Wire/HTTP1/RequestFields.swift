import HTTPMessage

extension CanonicalRequest: HeadFacts {
  @inline(__always)
  mutating func take(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ present: FieldIDSet, hostLength: Int?) -> HeadRefusal? {
    if FieldIDSet(bits: FieldIDSet.singular.bits & present.bits).contains(field.id) { return HeadRefusal.duplicate(field.id) }
    return RequestFields.read(bytes, field, hostLength, &self)
  }

  @inline(__always) var hostLength: Int? {
    switch targetForm {
    case .origin, .asterisk: host.count
    case .absolute, .authority: nil
    }
  }
}

/// What the known fields of a request say. Each line is taken as it is read; what needs all of them is judged at the end of the head.
enum RequestFields {
  /// Longest list of connection options that is taken: each is compared with every field of the head.
  static let mostConnectionOptions = 32

  @inline(__always)
  static func read(
    _ bytes: borrowing Span<UInt8>, _ field: HeadField, _ hostLength: Int?, _ request: inout CanonicalRequest
  ) -> HeadRefusal? {
    switch field.id {
    case .host: return host(bytes, field.value, hostLength, &request)
    case .cookie:
      guard request.cookieCount < 4 else { return .tooManyCookieFields }
      request.cookies[request.cookieCount] = field.value
      request.cookieCount &+= 1
    case .accept: if request.accept.isEmpty { request.accept = field.value }
    case .referer: request.referer = field.value
    case .origin:
      request.origin = field.value
      request.hasOrigin = true
    case .secFetchMode: request.secFetchMode = field.value
    case .secFetchSite: request.secFetchSite = field.value
    case .secFetchDest: request.secFetchDest = field.value
    case .csrfToken:
      request.csrfToken = field.value
      request.hasCSRFToken = true
    case .authorization:
      request.authorization = field.value
      request.hasAuthorization = true
    case .contentLength, .transferEncoding: return framing(bytes, field, &request)
    case .destination:
      request.destination = field.value
      request.hasDestination = true
    case .accessControlRequestMethod:
      request.accessControlRequestMethod = field.value
      request.hasAccessControlRequestMethod = true
    case .accessControlRequestHeaders:
      request.accessControlRequestHeaders = field.value
      request.hasAccessControlRequestHeaders = true
    case .upgrade:
      request.upgrade = request.hasUpgrade ? .empty : field.value
      // An HTTP/1.0 client cannot mean it (RFC 9110 §7.8).
      request.hasUpgrade = !request.isHTTP10
    case .expect:
      guard equalsFolded(bytes, field.value, "100-continue") else { return .unknownExpectation }
      // An HTTP/1.0 client cannot mean it (RFC 9110 §10.1.1).
      request.expectsContinue = !request.isHTTP10
    default: break
    }
    return nil
  }

  private static func host(
    _ bytes: borrowing Span<UInt8>, _ value: ByteRange, _ hostLength: Int?, _ request: inout CanonicalRequest
  ) -> HeadRefusal? {
    guard let hostEnd = hostLength.map({ value.lower &+ $0 }) ?? AuthoritySyntax.hostEnd(bytes, value) else { return .badHost }
    switch request.targetForm {
    case .absolute:
      // RFC 9112 §3.2.2 lets a server ignore Host here; two names for one request are refused instead.
      guard value.count == request.authority.count else { return .hostMismatch }
      for offset in 0..<value.count
      where lowercase(bytes[value.lower &+ offset]) != lowercase(bytes[request.authority.lower &+ offset]) {
        return .hostMismatch
      }
    case .authority: break
    case .origin, .asterisk:
      request.authority = value
      request.host = ByteRange(value.lower, hostEnd)
    }
    return nil
  }

  /// RFC 9112 §6.3, without its leniencies: one Content-Length of digits, or one Transfer-Encoding that is exactly `chunked`.
  private static func framing(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ request: inout CanonicalRequest) -> HeadRefusal? {
    if case .none = request.framing {} else { return .lengthWithTransferEncoding }
    if field.id == .contentLength {
      guard !ContentLength.hasLeadingZero(bytes, field.value) else { return .badContentLength }
      switch ContentLength.read(bytes, field.value) {
      case .length(let length): request.framing = .length(length)
      case .malformed: return .badContentLength
      case .tooLarge: return .contentTooLarge
      }
      return nil
    }
    guard !request.isHTTP10 else { return .transferEncodingInHTTP10 }
    guard equalsFolded(bytes, field.value, "chunked") else {
      return TransferCodings.endInChunked(bytes, field.value) ? .unknownTransferCoding : .chunkedNotFinal
    }
    request.framing = .chunked
    return nil
  }

  private static let withBody = MethodSet([.post, .put, .patch])

  /// What needs the whole head; nil when it is good.
  static func finish(_ bytes: borrowing Span<UInt8>, _ head: inout RequestHead, headEnd: Int) -> HeadRefusal? {
    guard head.fields.present.contains(.host) else { return .missingHost }
    // Whether what follows is its body, up to the connection's end, or a request, two readers may see differently (RFC 1945 §8.3).
    if head.request.isHTTP10, head.request.framing == .none, withBody.contains(head.request.method) { return .missingLengthInHTTP10 }
    guard let keepAlive = ConnectionOptions.keepAlive(bytes, &head.fields, otherwise: head.request.keepAlive) else { return .badConnection }
    head.request.keepAlive = keepAlive
    // Without the option it was meant for somebody in between (RFC 9110 §7.8).
    if head.request.hasUpgrade { head.request.hasUpgrade = head.fields.hasUpgradeOption }
    head.request.headLength = headEnd
    return nil
  }
}

/// The value of a Content-Length field: digits only, no list, no sign (RFC 9110 §8.6).
enum ContentLength {
  enum Value {
    case length(Int)
    case malformed
    case tooLarge
  }

  /// 2^53: beyond it JSON numbers and many peers lose count.
  static let largest = 1 << 53

  /// The line is passed on as it is, and to some readers a leading zero says octal.
  @inline(__always) static func hasLeadingZero(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Bool {
    range.count > 1 && range.upper <= bytes.count && bytes[range.lower] == UInt8(ascii: "0")
  }

  static func read(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Value {
    guard !range.isEmpty, range.upper <= bytes.count else { return .malformed }
    var value = 0
    var overflow = false
    for at in range.lower..<range.upper {
      let digit = bytes[at] &- 48
      guard digit < 10 else { return .malformed }
      value = value &* 10 &+ Int(digit)
      if value > largest {
        overflow = true
        value = largest
      }
    }
    return overflow ? .tooLarge : .length(value)
  }
}

/// The value of a Transfer-Encoding field that is not exactly `chunked`.
enum TransferCodings {
  /// Whether `chunked` is the last of several different codings: those may be right but are not known here (501). Where it is not, or
  /// comes twice, nobody can tell where the body ends (400; RFC 9112 §6.3).
  static func endInChunked(_ bytes: borrowing Span<UInt8>, _ value: ByteRange) -> Bool {
    var others = 0
    var lastIsChunked = false
    var at = value.lower
    while at < value.upper {
      var end = find(ASCII.comma, bytes, at, value.upper)
      let next = end &+ 1
      while at < end, isBlank(bytes[at]) { at &+= 1 }
      while end > at, isBlank(bytes[end &- 1]) { end &-= 1 }
      // No coding stands behind `chunked`, nor it behind itself.
      if lastIsChunked { return false }
      lastIsChunked = equalsFolded(bytes, ByteRange(at, end), "chunked")
      if !lastIsChunked, at < end { others &+= 1 }
      at = next
    }
    return lastIsChunked && others > 0
  }
}

/// The options of all `Connection` fields of a head (RFC 9110 §7.6.1). Fields that they name are marked in the table.
package struct ConnectionOptions {
  var close = false
  var keepAlive = false

  /// The fields that these options name, which end here wherever in the message they stand: also as trailers (RFC 9110 §7.6.1).
  package static func named(by fields: borrowing FieldTable, in bytes: borrowing Span<UInt8>) -> FieldNameSet {
    var names = FieldNameSet()
    guard fields.present.contains(.connection) else { return names }
    for index in 0..<fields.count where fields[index].id == .connection {
      for option in fields[index].value.bytes(in: bytes).split(separator: ASCII.comma) {
        names.insert(FieldName(bytes: Array(option.drop(while: isBlank).prefix(while: isToken))))
      }
    }
    return names
  }

  /// Whether the connection lives on: `close` counts more than `keep-alive`, and `otherwise` is what the version says (RFC 9112 §9.3). nil
  /// when a field is not a list of tokens, or names too many.
  @inline(__always)
  static func keepAlive(_ bytes: borrowing Span<UInt8>, _ fields: inout FieldTable, otherwise: Bool) -> Bool? {
    guard fields.present.contains(.connection) else { return otherwise }
    guard fields.hasConnectionOptions else { return true }
    var options = ConnectionOptions()
    guard options.read(bytes, &fields) else { return nil }
    return !options.close && (options.keepAlive || otherwise)
  }

  private mutating func read(_ bytes: borrowing Span<UInt8>, _ fields: inout FieldTable) -> Bool {
    var left = RequestFields.mostConnectionOptions
    for index in 0..<fields.count where fields[index].id == .connection {
      let value = fields[index].value
      if Self.isKeepAlive(bytes, value) {
        keepAlive = true
        continue
      }
      var at = value.lower
      while at < value.upper {
        while at < value.upper, isBlank(bytes[at]) || bytes[at] == ASCII.comma { at &+= 1 }
        let start = at
        while at < value.upper, isToken(bytes[at]) { at &+= 1 }
        let name = ByteRange(start, at)
        while at < value.upper, isBlank(bytes[at]) { at &+= 1 }
        guard at == value.upper || bytes[at] == ASCII.comma, left > 0 else { return false }
        left &-= 1
        take(bytes, name, &fields)
      }
    }
    return true
  }

  /// `keep-alive` alone, which is what nearly everybody sends. Values hold no control bytes, so folding them is exact.
  @inline(__always) static func isKeepAlive(_ bytes: borrowing Span<UInt8>, _ value: ByteRange) -> Bool {
    value.count == 10 && value.upper <= bytes.count && fold8(bytes, value.lower) == 0x696c_612d_7065_656b
      && fold2(bytes, value.lower &+ 8) == 0x6576
  }

  private mutating func take(_ bytes: borrowing Span<UInt8>, _ name: ByteRange, _ fields: inout FieldTable) {
    if name.isEmpty { return }
    if equalsFolded(bytes, name, "close") {
      close = true
    } else if equalsFolded(bytes, name, "keep-alive") {
      keepAlive = true
    } else if equalsFolded(bytes, name, "upgrade") {
      fields.hasUpgradeOption = true
    } else {
      fields.markNamedByConnection(name, in: bytes)
    }
  }
}
