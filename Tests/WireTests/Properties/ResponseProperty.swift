import HTTP1
import HTTPMessage

/// Response heads, as answers to GET, to HEAD, and to a request for an upgrade.
enum ResponseProperty {
  static let tight = HeadLimits(field: 50, head: 160, fieldCount: 6)

  static func check(_ bytes: [UInt8]) throws(Broken) {
    try arrival(bytes, .get, false, tight)
    for (method, upgradeAsked) in [(HTTPMessage.Method.get, false), (.head, false), (.get, true)] {
      let whole = try arrival(bytes, method, upgradeAsked, .response)
      guard whole.result == .complete else { continue }
      let head = whole.head
      try hold((15...bytes.count).contains(head.headLength), "a head of \(head.headLength) of \(bytes.count) bytes")
      let alone = Array(bytes[..<head.headLength])
      try hold(ParsedResponse(Array(alone.dropLast()), method: method).result == .incomplete, "complete without the last byte")
      let cut = ParsedResponse(alone, method: method, upgradeAsked: upgradeAsked)
      try hold(cut.result == .complete && ResponseMeaning(cut.head, alone) == ResponseMeaning(head, bytes), "the rest changes the head")
      try offsets(head)
      guard let naive = NaiveHead(alone) else { throw Broken("accepted, but a naive reader cannot split it") }
      try says(naive, head, bytes, method, upgradeAsked)
      let again = ParsedResponse(naive.canonical, method: method, upgradeAsked: upgradeAsked)
      try hold(again.result == .complete, "written anew it is \(again.result)")
      try hold(ResponseMeaning(again.head, naive.canonical) == ResponseMeaning(head, bytes), "written anew it means something else")
    }
  }

  @discardableResult
  private static func arrival(
    _ bytes: [UInt8], _ method: HTTPMessage.Method, _ upgradeAsked: Bool, _ limits: HeadLimits
  ) throws(Broken) -> ParsedResponse {
    let whole = ParsedResponse(bytes, method: method, upgradeAsked: upgradeAsked, limits: limits)
    for step in [1, 7] {
      let pieces = ParsedResponse(bytes, step: step, method: method, upgradeAsked: upgradeAsked, limits: limits)
      try hold(whole.result == pieces.result, "whole \(whole.result), by \(step) \(pieces.result)")
      guard whole.result == .complete else { continue }
      try hold(ResponseMeaning(whole.head, bytes) == ResponseMeaning(pieces.head, bytes), "by \(step) it means something else")
      let fields = RequestProperty.fields
      try hold(fields(whole.head.fields) == fields(pieces.head.fields), "by \(step) the fields lie elsewhere")
    }
    return whole
  }

  private static func offsets(_ head: ResponseHead) throws(Broken) {
    var ranges = [head.reason]
    for field in RequestProperty.fields(head.fields) { ranges += [field.name, field.value, field.line] }
    for range in ranges { try hold(range.lower <= range.upper && range.upper <= head.headLength, "outside the head: \(range)") }
  }

  /// Status, framing (RFC 9112 §6.3) and persistence by a naive reading.
  private static func says(
    _ naive: NaiveHead, _ head: ResponseHead, _ bytes: [UInt8], _ method: HTTPMessage.Method, _ upgradeAsked: Bool
  ) throws(Broken) {
    let version = head.isHTTP10 ? "HTTP/1.0" : "HTTP/1.1"
    let start = Array("\(version) \(head.status)".utf8)
    let reason = head.reason.bytes(in: bytes.span)
    try hold(naive.firstLine == start || naive.firstLine == start + [0x20] + reason, "another status line")
    try hold((100...599).contains(head.status), "status \(head.status)")
    let meaning = ResponseMeaning(head, bytes)
    try hold(naive.fields.elementsEqual(meaning.fields, by: { $0.name == $1[0] && $0.value == $1[1] }), "other field lines")
    let lengths = naive.values("content-length").map { Int(String(decoding: $0, as: UTF8.self)) }
    let isChunked = !naive.values("transfer-encoding").isEmpty
    try hold(lengths.count + (isChunked ? 1 : 0) <= 1, "two ways to delimit the body")
    try hold(lengths.isEmpty ? head.statedLength == nil : lengths[0] == head.statedLength, "another length")
    var keepAlive = naive.keepsAlive(isHTTP10: head.isHTTP10)
    var framing = ResponseFraming.none
    if head.status < 200 || head.status == 204 {
      if isChunked || (head.statedLength ?? 0) > 0 { keepAlive = false }
    } else if head.status != 304, method != .head {
      if isChunked {
        framing = .chunked
      } else if let length = head.statedLength {
        framing = length == 0 ? .none : .length(length)
      } else {
        framing = .untilClose
        keepAlive = false
      }
    }
    try hold(head.framing == framing, "framed as \(head.framing), not \(framing)")
    try hold(head.keepAlive == keepAlive, "another persistence")
    try hold(head.isInterim == (head.status < 200 && head.status != 101), "interim or not")
    try hold(head.isUnaskedSwitch == (head.status == 101 && !upgradeAsked), "a switch that nobody asked for, or not")
  }
}

/// What an accepted answer says, without its places.
struct ResponseMeaning: Equatable {
  var status: Int
  var reason: [UInt8]
  var isHTTP10: Bool
  var framing: ResponseFraming
  var statedLength: Int?
  var keepAlive: Bool
  /// Name, value, and one byte more when `Connection` names the field.
  var fields: [[[UInt8]]]

  init(_ head: ResponseHead, _ bytes: [UInt8]) {
    status = head.status
    reason = head.reason.bytes(in: bytes.span)
    isHTTP10 = head.isHTTP10
    framing = head.framing
    statedLength = head.statedLength
    keepAlive = head.keepAlive
    fields = RequestProperty.fields(head.fields).map {
      [$0.name.bytes(in: bytes.span), $0.value.bytes(in: bytes.span), $0.isNamedByConnection ? [1] : []]
    }
  }
}
