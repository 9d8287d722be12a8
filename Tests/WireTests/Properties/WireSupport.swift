import HTTP1
import HTTPMessage

/// Text as bytes, each scalar below 256 one byte: `\u{ff}` is the byte 0xff.
func latin1(_ text: String) -> [UInt8] { text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) } }

func text(_ range: ByteRange, _ bytes: [UInt8]) -> String { String(decoding: range.bytes(in: bytes.span), as: UTF8.self) }

/// A request with a good first line and Host and these field lines.
func request(_ lines: String..., line: String = "GET /a HTTP/1.1", host: String? = "h") -> [UInt8] {
  latin1(line + "\r\n" + (host.map { "Host: \($0)\r\n" } ?? "") + lines.map { $0 + "\r\n" }.joined() + "\r\n")
}

struct ParsedRequest {
  var result: HeadResult
  var head: RequestHead

  init(_ bytes: [UInt8], limits: HeadLimits = .request) {
    var parser = RequestHeadParser(limits: limits)
    head = RequestHead()
    result = parser.parse(bytes.span, into: &head)
  }

  /// Fed byte by byte, up to the first answer that is not `incomplete`.
  init(bytewise bytes: [UInt8], limits: HeadLimits = .request) { self.init(bytes, step: 1, limits: limits) }

  /// Fed `step` bytes at a time, up to the first answer that is not `incomplete`.
  init(_ bytes: [UInt8], step: Int, limits: HeadLimits) {
    var parser = RequestHeadParser(limits: limits)
    head = RequestHead()
    result = .incomplete
    var count = 0
    while true {
      result = parser.parse(bytes.span.extracting(first: count), into: &head)
      if result != .incomplete || count == bytes.count { return }
      count = min(count + step, bytes.count)
    }
  }

  var refusal: HeadRefusal? {
    if case .refused(let refusal) = result { return refusal }
    return nil
  }
}

struct ParsedResponse {
  var result: HeadResult
  var head: ResponseHead

  init(_ bytes: [UInt8], method: HTTPMessage.Method = .get, upgradeAsked: Bool = false, limits: HeadLimits = .response) {
    var parser = ResponseHeadParser(limits: limits)
    head = ResponseHead()
    result = parser.parse(bytes.span, method: method, upgradeAsked: upgradeAsked, into: &head)
  }

  init(bytewise bytes: [UInt8], method: HTTPMessage.Method = .get, limits: HeadLimits = .response) {
    self.init(bytes, step: 1, method: method, upgradeAsked: false, limits: limits)
  }

  /// Fed `step` bytes at a time, up to the first answer that is not `incomplete`.
  init(_ bytes: [UInt8], step: Int, method: HTTPMessage.Method, upgradeAsked: Bool, limits: HeadLimits) {
    var parser = ResponseHeadParser(limits: limits)
    head = ResponseHead()
    result = .incomplete
    var count = 0
    while true {
      result = parser.parse(bytes.span.extracting(first: count), method: method, upgradeAsked: upgradeAsked, into: &head)
      if result != .incomplete || count == bytes.count { return }
      count = min(count + step, bytes.count)
    }
  }
}

/// A small generator whose runs can be repeated by their seed (xorshift64*).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed == 0 ? 1 : seed }
  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 2_685_821_657_736_338_717
  }
}
