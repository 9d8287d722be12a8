import HTTP1
import HTTPMessage
import Testing

@Suite("Limits of heads (fault 39)")
struct HeadLimitTests {
  static let small = HeadLimits(target: 100, field: 60, head: 400, fieldCount: 5)

  /// A head whose size is exact, made of fields that are within their own limits.
  func head(of size: Int) -> [UInt8] {
    var bytes = latin1("GET / HTTP/1.1\r\nHost: h\r\n")
    while size - bytes.count - 2 > 60 { bytes += latin1("a: " + String(repeating: "x", count: 35) + "\r\n") }
    bytes += latin1("b: " + String(repeating: "x", count: size - bytes.count - 7) + "\r\n\r\n")
    return bytes
  }

  @Test("a limit holds for a head that arrives whole as for one that comes byte by byte")
  func limits() {
    let cases: [([UInt8], HeadResult)] = [
      (request(line: "GET /" + String(repeating: "a", count: 99) + " HTTP/1.1"), .complete),
      (request(line: "GET /" + String(repeating: "a", count: 100) + " HTTP/1.1"), .refused(.targetTooLong)),
      (request(line: "GET /" + String(repeating: "a", count: 300) + " HTTP/1.1"), .refused(.targetTooLong)),
      (latin1("GET /" + String(repeating: "a", count: 3000)), .refused(.targetTooLong)),
      (latin1(String(repeating: "A", count: 3000)), .refused(.targetTooLong)),
      (request("X: " + String(repeating: "a", count: 57)), .complete),
      (request("X: " + String(repeating: "a", count: 58)), .refused(.fieldTooLarge)),
      (latin1("GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 58)), .incomplete),
      (latin1("GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 59)), .refused(.fieldTooLarge)),
      (latin1("GET / HTTP/1.1\r\n" + String(repeating: "a", count: 63)), .refused(.fieldTooLarge)),
      (request("a: 1", "b: 2", "c: 3", "d: 4"), .complete),
      (request("a: 1", "b: 2", "c: 3", "d: 4", "e: 5"), .refused(.tooManyFields)),
    ]
    for (bytes, expected) in cases {
      #expect(ParsedRequest(bytes, limits: Self.small).result == expected)
      #expect(ParsedRequest(bytewise: bytes, limits: Self.small).result == expected)
    }
  }

  @Test("the whole head's limit is exact")
  func wholeHead() {
    var limits = Self.small
    limits.fieldCount = 100
    for size in 395...405 {
      let bytes = head(of: size)
      #expect(bytes.count == size)
      let expected: HeadResult = size <= 400 ? .complete : .refused(.headTooLarge)
      #expect(ParsedRequest(bytes, limits: limits).result == expected)
      #expect(ParsedRequest(bytewise: bytes, limits: limits).result == expected)
    }
  }

  @Test("the defaults: 64 KiB line, 1,000 fields, 1 MB cookie, 100 KB target")
  func defaults() {
    #expect(ParsedRequest(request("X: " + String(repeating: "a", count: 65_536))).refusal == .fieldTooLarge)
    #expect(ParsedRequest(request(Array(repeating: "X: a", count: 1000).joined(separator: "\r\n"))).refusal == .tooManyFields)
    #expect(ParsedRequest(request("Cookie: a=" + String(repeating: "a", count: 1_000_000))).refusal == .fieldTooLarge)
    #expect(ParsedRequest(request(line: "GET /" + String(repeating: "a", count: 100_000) + " HTTP/1.1")).refusal == .targetTooLong)
    let long = "X: " + String(repeating: "a", count: 15_000)
    #expect(ParsedRequest(request(long, long)).result == .complete)
    #expect(ParsedRequest(request(long, long, long)).refusal == .headTooLarge)
    #expect(HeadRefusal.fieldTooLarge.status == 431 && HeadRefusal.targetTooLong.status == 414)
  }

  @Test("byte by byte costs no more per byte for a long line than for a short one")
  func notQuadratic() {
    // 32 KiB of one line would be 2^29 byte visits if every call looked at all of them: that takes minutes in a debug build.
    let bytes = request("Cookie: a=" + String(repeating: "b", count: 16_000))
    let clock = ContinuousClock()
    let time = clock.measure { #expect(ParsedRequest(bytewise: bytes).result == .complete) }
    #expect(time < .seconds(5))
  }
}
