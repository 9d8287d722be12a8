import HTTP1
import HTTPMessage

/// Request heads: arrival does not matter, nor what was read before, offsets lie in the head, a naive reader finds the same lines, and the head written anew means
/// the same.
enum RequestProperty {
  static let tight = HeadLimits(target: 40, field: 50, head: 160, fieldCount: 6)

  static func check(_ bytes: [UInt8]) throws(Broken) {
    try arrival(bytes, tight)
    let whole = try arrival(bytes, .request)
    guard whole.result == .complete else { return }
    let length = whole.head.request.headLength
    try hold((16...bytes.count).contains(length), "a head of \(length) of \(bytes.count) bytes")
    // What follows a head does not change it, and no head is complete without its last byte.
    let alone = Array(bytes[..<length])
    let cut = ParsedRequest(alone)
    try hold(cut.result == .complete && RequestMeaning(cut.head, bytes) == RequestMeaning(whole.head, bytes), "the rest changes the head")
    try hold(ParsedRequest(Array(alone.dropLast())).result == .incomplete, "complete without the last byte")
    try succession(alone, whole)
    try offsets(whole.head)
    let meaning = RequestMeaning(whole.head, bytes)
    guard let naive = NaiveHead(alone) else { throw Broken("accepted, but a naive reader cannot split it") }
    try hold(naive.fields.elementsEqual(meaning.fields, by: { $0.name == $1.name && $0.value == $1.value }), "other field lines")
    try says(naive, whole.head, meaning, bytes)
    let canonical = naive.canonical
    let again = ParsedRequest(canonical)
    try hold(again.result == .complete, "written anew it is \(again.result)")
    try hold(again.head.request.headLength == canonical.count, "written anew it ends elsewhere")
    try hold(RequestMeaning(again.head, canonical) == meaning, "written anew it means something else")
  }

  /// Whole, byte by byte and in pieces: one answer.
  @discardableResult
  private static func arrival(_ bytes: [UInt8], _ limits: HeadLimits) throws(Broken) -> ParsedRequest {
    let whole = ParsedRequest(bytes, limits: limits)
    for step in [1, 7, max(1, bytes.count / 2)] {
      let pieces = ParsedRequest(bytes, step: step, limits: limits)
      try hold(whole.result == pieces.result, "whole \(whole.result), by \(step) \(pieces.result)")
      guard whole.result == .complete else { continue }
      try hold(RequestMeaning(whole.head, bytes) == RequestMeaning(pieces.head, bytes), "by \(step) it means something else")
      try hold(fields(whole.head.fields) == fields(pieces.head.fields), "by \(step) the fields lie elsewhere")
    }
    return whole
  }

  /// A parser that has just read the same lines, at the same place, one byte later, or only some of them, reads the same.
  private static func succession(_ bytes: [UInt8], _ whole: ParsedRequest) throws(Broken) {
    let next = bytes.dropLast(2)
    for before in [bytes, [UInt8(ascii: "X")] + bytes, next + Array("X: y\r\n\r\n".utf8), Array(next)] {
      var parser = RequestHeadParser()
      var head = RequestHead()
      _ = parser.parse(before.span, into: &head)
      parser.reset()
      for _ in 0..<2 {
        let result = parser.parse(bytes.span, into: &head)
        try hold(result == whole.result, "after another head \(result)")
        try hold(RequestMeaning(head, bytes) == RequestMeaning(whole.head, bytes), "after another head it means something else")
        try hold(fields(head.fields) == fields(whole.head.fields), "after another head the fields lie elsewhere")
      }
    }
  }

  static func fields(_ table: FieldTable) -> [HeadField] { (0..<table.count).map { table[$0] } }

  private static func offsets(_ head: RequestHead) throws(Broken) {
    let request = head.request
    var ranges = [
      request.methodRange, request.path, request.query, request.authority, request.host, request.origin, request.accept,
      request.authorization, request.referer, request.secFetchMode, request.secFetchSite, request.secFetchDest, request.csrfToken,
      request.accessControlRequestMethod, request.accessControlRequestHeaders, request.destination,
    ]
    try hold((0...4).contains(request.cookieCount), "\(request.cookieCount) cookie fields")
    for index in 0..<request.cookieCount { ranges.append(request.cookies[index]) }
    var end = 0
    for field in fields(head.fields) {
      ranges += [field.name, field.value, field.line]
      try hold(field.start >= end && field.nameEnd > field.start && field.valueStart > field.nameEnd, "lines overlap: \(field)")
      try hold(field.valueEnd >= field.valueStart && field.end >= field.valueEnd + 2, "a value outside its line: \(field)")
      end = Int(field.end)
    }
    for range in ranges { try hold(range.lower <= range.upper && range.upper <= request.headLength, "outside the head: \(range)") }
  }

  /// The first line, Host, framing and persistence by a naive reading.
  private static func says(_ naive: NaiveHead, _ head: RequestHead, _ meaning: RequestMeaning, _ bytes: [UInt8]) throws(Broken) {
    let words = naive.firstLine.split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init)
    try hold(words.count == 3 && words[0] == meaning.method, "another first line")
    try hold(words[2] == Array((meaning.isHTTP10 ? "HTTP/1.0" : "HTTP/1.1").utf8), "another version")
    try hold(Method(named: String(decoding: words[0], as: UTF8.self)) == head.request.method, "another method")
    let target = words[1]
    switch head.request.targetForm {
    case .origin: try hold(target == meaning.pathAndQuery, "another target")
    case .absolute:
      let rest = target.drop { $0 != UInt8(ascii: ":") }.dropFirst(3 + meaning.authority.count)
      let path = rest.first == UInt8(ascii: "/") ? Array(rest) : [UInt8(ascii: "/")] + rest
      try hold(path == meaning.pathAndQuery, "another path")
      try hold(target.drop { $0 != UInt8(ascii: ":") }.dropFirst(3).starts(with: meaning.authority), "another authority")
    case .authority: try hold(target == meaning.authority && head.request.path.isEmpty, "another authority")
    case .asterisk: try hold(target == [0x2a] && meaning.path == [0x2a], "another target")
    }
    let hosts = naive.values("host")
    try hold(hosts.count == 1, "\(hosts.count) Host fields")
    if head.request.targetForm != .authority {
      try hold(NaiveHead.lowercased(hosts[0]) == NaiveHead.lowercased(meaning.authority), "Host is not the authority")
    }
    try hold(meaning.keepAlive == naive.keepsAlive(isHTTP10: meaning.isHTTP10), "another persistence")
    let lengths = naive.values("content-length")
    let codings = naive.values("transfer-encoding")
    try hold(lengths.count + codings.count <= 1, "two ways to delimit the body")
    switch head.request.framing {
    case .none: try hold(lengths.isEmpty && codings.isEmpty, "a body is overlooked")
    case .length(let length): try hold(lengths.first == Array("\(length)".utf8), "another length")
    case .chunked: try hold(codings.first.map(NaiveHead.lowercased) == Array("chunked".utf8) && !meaning.isHTTP10, "not chunked")
    }
    try hold(meaning.cookies == naive.values("cookie"), "other cookies")
    for (index, field) in fields(head.fields).enumerated() {
      let named = naive.list("connection").contains(NaiveHead.lowercased(naive.fields[index].name))
      let kept: Set<[UInt8]> = [Array("close".utf8), Array("keep-alive".utf8), Array("upgrade".utf8)]
      if kept.contains(NaiveHead.lowercased(naive.fields[index].name)) { continue }
      try hold(field.isNamedByConnection == named, "Connection names another field: \(text(field.name, bytes))")
    }
  }
}

/// What an accepted request says, without its places.
struct RequestMeaning: Equatable {
  struct Field: Equatable {
    var name: [UInt8]
    var value: [UInt8]
    var isNamedByConnection: Bool
  }
  var method: [UInt8]
  var path: [UInt8]
  var query: [UInt8]?
  var authority: [UInt8]
  var host: [UInt8]
  var cookies: [[UInt8]]
  var fields: [Field]
  var framing: BodyFraming
  var isHTTP10: Bool
  var keepAlive: Bool
  var expectsContinue: Bool
  var flags: [Bool]

  init(_ head: RequestHead, _ bytes: [UInt8]) {
    let request = head.request
    let span = bytes.span
    method = request.methodRange.bytes(in: span)
    path = request.path.bytes(in: span)
    query = request.hasQuery ? request.query.bytes(in: span) : nil
    authority = request.authority.bytes(in: span)
    host = request.host.bytes(in: span)
    cookies = (0..<request.cookieCount).map { request.cookies[$0].bytes(in: bytes.span) }
    fields = RequestProperty.fields(head.fields).map {
      Field(name: $0.name.bytes(in: bytes.span), value: $0.value.bytes(in: bytes.span), isNamedByConnection: $0.isNamedByConnection)
    }
    framing = request.framing
    isHTTP10 = request.isHTTP10
    keepAlive = request.keepAlive
    expectsContinue = request.expectsContinue
    flags = [
      request.pathHasEscapes, request.pathHasEncodedSlash, request.hasOrigin, request.hasAuthorization, request.hasCSRFToken,
      request.hasDestination, request.hasUpgrade, request.hasAccessControlRequestMethod, request.hasAccessControlRequestHeaders,
    ]
  }

  var pathAndQuery: [UInt8] { path + (query.map { [UInt8(ascii: "?")] + $0 } ?? []) }
}
