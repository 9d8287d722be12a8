import CPeer
import HTTP1
import HTTPMessage

/// A difference with http-parser that stands in Fuzzing/differences.md, with its RFC section. Anything else is a finding.
enum Difference: String, CaseIterable {
  case method
  case trailingWhiteSpace = "trailing-white-space"
  case closeWins = "close-wins"
  case hostCharacters = "host-characters"
  case bodiless
  case longerName = "longer-name"
  case emptyElement = "empty-list-element"
}

/// What we accept http-parser accepts with the same meaning, or the difference is a listed one.
enum Peer {
  static func differences(_ target: WireProperty, _ bytes: [UInt8]) throws(Broken) -> Set<Difference> {
    switch target {
    case .request: try request(bytes)
    case .response: try response(bytes)
    case .chunked: try chunked(bytes)
    case .path: try path(bytes)
    case .host: try host(bytes)
    // No parser of other hands at hand.
    case .cookie, .forwarded: []
    }
  }

  private static func request(_ bytes: [UInt8]) throws(Broken) -> Set<Difference> {
    let parsed = ParsedRequest(bytes)
    guard parsed.result == .complete, let naive = NaiveHead(bytes[..<parsed.head.request.headLength]) else { return [] }
    let request = parsed.head.request
    let head = Array(bytes[..<request.headLength])
    let peer = peer_read(Int32(PEER_REQUEST), head, head.count, 0)
    if hasLongerName(naive) { return [.longerName] }
    let words = naive.firstLine.split(separator: 0x20).map(Array.init)
    guard peer.error == 0 else {
      if let known = refusal(peer, words, request) { return [known] }
      throw Broken("http-parser refuses at \(peer.consumed): \(String(cString: peer.error_name))")
    }
    try hold(peer.head_complete == 1 && peer.consumed == head.count, "http-parser reads \(peer.consumed) of \(head.count) bytes")
    try hold(Array(String(cString: peer.method).utf8) == words[0], "http-parser reads another method")
    try hold(Array(head[Int(peer.url)..<Int(peer.url_end)]) == words[1], "http-parser reads another target")
    var found = try fields(peer, naive, head)
    var length: UInt64?
    if case .length(let stated) = request.framing { length = UInt64(stated) }
    try hold((peer.has_length == 1 ? peer.length : nil) == length, "http-parser reads another length")
    try hold((peer.is_chunked == 1) == (request.framing == .chunked), "http-parser frames the body in another way")
    found.formUnion(try version(peer, naive, request.isHTTP10, request.keepAlive))
    return found
  }

  /// http-parser takes every name that begins with `Transfer-Encoding` for that field, and what it makes of the body is then its own.
  private static func hasLongerName(_ naive: NaiveHead) -> Bool {
    let name = Array("transfer-encoding".utf8)
    return naive.fields.contains { $0.name.count > name.count && NaiveHead.lowercased($0.name).starts(with: name) }
  }

  /// Why http-parser refuses a request that we take; nil when that is not listed.
  private static func refusal(_ peer: peer_head, _ words: [[UInt8]], _ request: CanonicalRequest) -> Difference? {
    switch String(cString: peer.error_name) {
    case "HPE_INVALID_METHOD": return request.method == .other ? .method : nil
    case "HPE_INVALID_URL", "HPE_INVALID_HOST":
      let hasHost = words[1].first != UInt8(ascii: "/")
      return hasHost && words[1].contains(UInt8(ascii: "~")) ? .hostCharacters : nil
    default: return nil
    }
  }

  private static func fields(_ peer: peer_head, _ naive: NaiveHead, _ head: [UInt8]) throws(Broken) -> Set<Difference> {
    try hold(Int(peer.field_count) == naive.fields.count, "http-parser reads \(peer.field_count) fields")
    var found: Set<Difference> = []
    for (index, field) in naive.fields.enumerated() {
      let theirs = peer_field_at(UInt32(index))
      let value = Array(head[Int(theirs.value)..<Int(max(theirs.value, theirs.value_end))])
      try hold(Array(head[Int(theirs.name)..<Int(theirs.name_end)]) == field.name, "http-parser reads another name")
      if value != field.value {
        try hold(NaiveHead.trim(value) == field.value, "http-parser reads another value")
        found.insert(.trailingWhiteSpace)
      }
    }
    return found
  }

  private static func version(_ peer: peer_head, _ naive: NaiveHead, _ isHTTP10: Bool, _ keepAlive: Bool) throws(Broken) -> Set<Difference>
  {
    try hold(peer.major == 1 && peer.minor == (isHTTP10 ? 0 : 1), "http-parser reads another version")
    if (peer.keep_alive == 1) == keepAlive { return [] }
    let options = naive.list("connection")
    if isHTTP10, !keepAlive, options.contains(Array("close".utf8)), options.contains(Array("keep-alive".utf8)) { return [.closeWins] }
    let elements = naive.values("connection").flatMap { $0.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) }
    if elements.contains(where: { NaiveHead.trim($0).isEmpty }) { return [.emptyElement] }
    throw Broken("http-parser keeps alive: \(peer.keep_alive == 1)")
  }

  private static func response(_ bytes: [UInt8]) throws(Broken) -> Set<Difference> {
    var found: Set<Difference> = []
    for method in [HTTPMessage.Method.get, .head] {
      let parsed = ParsedResponse(bytes, method: method)
      guard parsed.result == .complete, let naive = NaiveHead(bytes[..<parsed.head.headLength]) else { continue }
      let head = Array(bytes[..<parsed.head.headLength])
      let peer = peer_read(Int32(PEER_RESPONSE), head, head.count, method == .head ? 1 : 0)
      if hasLongerName(naive) {
        found.insert(.longerName)
        continue
      }
      try hold(peer.error == 0, "http-parser refuses at \(peer.consumed): \(String(cString: peer.error_name))")
      try hold(peer.head_complete == 1 && peer.consumed == head.count, "http-parser reads \(peer.consumed) of \(head.count) bytes")
      try hold(Int(peer.status) == parsed.head.status, "http-parser reads another status")
      found.formUnion(try fields(peer, naive, head))
      try hold((peer.has_length == 1 ? peer.length : nil) == parsed.head.statedLength.map(UInt64.init), "http-parser reads another length")
      try hold((peer.is_chunked == 1) == !naive.values("transfer-encoding").isEmpty, "http-parser frames the body in another way")
      // After the head alone a message without a body is complete, every other one is not.
      if (peer.message_complete == 1) != (parsed.head.framing == .none) {
        let announced = peer.is_chunked == 1 || parsed.head.statedLength ?? 0 > 0
        let bodiless = parsed.head.status < 200 || [204, 304].contains(parsed.head.status)
        try hold(announced && bodiless, "http-parser has another end of the body")
        found.insert(.bodiless)
      }
      guard parsed.head.framing != .untilClose, parsed.head.status >= 200, parsed.head.status != 204 else { continue }
      found.formUnion(try version(peer, naive, parsed.head.isHTTP10, parsed.head.keepAlive))
    }
    return found
  }

  private static func chunked(_ bytes: [UInt8]) throws(Broken) -> Set<Difference> {
    let ours = ChunkedProperty.read(bytes, step: max(1, bytes.count))
    guard ours.isDone, let end = ours.consumed else { return [] }
    let head = Array("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
    let message = head + bytes
    let peer = peer_read(Int32(PEER_REQUEST), message, message.count, 0)
    try hold(peer.error == 0, "http-parser refuses at \(peer.consumed): \(String(cString: peer.error_name))")
    try hold(peer.message_complete == 1, "http-parser waits for more")
    try hold(peer.consumed == head.count + end, "http-parser ends at \(peer.consumed - head.count), not \(end)")
    var start: UnsafePointer<UInt8>?
    let count = peer_body(&start)
    try hold(Array(UnsafeBufferPointer(start: start, count: count)) == ours.payload, "http-parser reads another payload")
    return []
  }

  private static func path(_ bytes: [UInt8]) throws(Broken) -> Set<Difference> {
    let scan = PathSyntax.scan(bytes.span, 0, bytes.count)
    guard scan.fault == nil, scan.end == bytes.count || PathSyntax.queryFault(bytes.span, scan.end + 1, bytes.count) == nil
    else { return [] }
    let url = peer_parse_url(bytes, bytes.count, 0)
    try hold(url.error == 0, "http-parser refuses the target")
    try hold(url.has_fragment == 0 && url.has_host == 0, "http-parser reads a fragment or a host")
    try hold(Array(bytes[Int(url.path)..<Int(url.path_end)]) == Array(bytes[..<scan.end]), "http-parser reads another path")
    // It does not tell an empty query from none.
    let query = url.has_query == 1 ? Array(bytes[Int(url.query)..<Int(url.query_end)]) : []
    try hold(query == Array(bytes[min(scan.end + 1, bytes.count)...]), "http-parser reads another query")
    return []
  }

  private static func host(_ bytes: [UInt8]) throws(Broken) -> Set<Difference> {
    guard let end = AuthoritySyntax.hostEnd(bytes.span, ByteRange(0, bytes.count)) else {
      try refusedAddress(bytes)
      return []
    }
    let isLiteral = bytes.first == UInt8(ascii: "[")
    let name = isLiteral ? Array(bytes[1..<(end - 1)]) : Array(bytes[..<end])
    if isLiteral { try hold(isAddress(6, name), "inet_pton does not take the address") }
    let text = Array("http://".utf8) + bytes + [UInt8(ascii: "/")]
    let url = peer_parse_url(text, text.count, 0)
    guard url.error == 0 else {
      if !isLiteral, name.contains(UInt8(ascii: "~")) { return [.hostCharacters] }
      throw Broken("http-parser refuses the authority")
    }
    try hold(url.has_user == 0 && Array(text[Int(url.host)..<Int(url.host_end)]) == name, "http-parser reads another host")
    let port = end < bytes.count ? AuthoritySyntax.port(bytes.span, ByteRange(end + 1, bytes.count)) : nil
    try hold((url.has_port == 1 ? Int(url.port) : nil) == port, "http-parser reads another port")
    return []
  }

  /// The other way round for addresses, where the grammar is small: an IPv6 address that inet_pton takes is not refused.
  private static func refusedAddress(_ bytes: [UInt8]) throws(Broken) {
    guard bytes.count > 2, bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") else { return }
    try hold(!isAddress(6, Array(bytes.dropFirst().dropLast())), "refused, but inet_pton takes it")
  }

  private static func isAddress(_ family: Int32, _ text: [UInt8]) -> Bool {
    guard text.count < 64, text.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return false }
    return peer_is_address(family, String(decoding: text, as: UTF8.self)) == 1
  }
}
