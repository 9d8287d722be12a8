import HTTP1
import HTTPMessage
import Testing

/// The payload and what is left, or the fault.
private func decode(_ bytes: [UInt8], pieces: Int = .max, guarded: FieldNameSet = FieldNameSet()) -> Result<
  (payload: [UInt8], used: Int), ChunkFault
>? {
  var scanner = ChunkedScanner(guarded: guarded)
  var payload: [UInt8] = []
  var base = 0
  while base < bytes.count {
    let piece = Array(bytes[base..<min(bytes.count, base + min(pieces, bytes.count))])
    var at = 0
    feeding: while true {
      switch scanner.next(piece.span, from: at) {
      case .payload(let range):
        payload += range.bytes(in: piece.span)
        at = range.upper
      case .needMore: break feeding
      case .end(let end): return .success((payload, base + end))
      case .fault(let fault): return .failure(fault)
      }
    }
    base += piece.count
  }
  return nil
}

@Suite("Chunked bodies")
struct ChunkedTests {
  @Test(
    "payload and end are found, whole and byte by byte",
    arguments: [
      ("0\r\n\r\n", "", 0), ("3\r\nabc\r\n0\r\n\r\n", "abc", 0), ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /", "abcde", 5),
      ("3;a=b\r\nabc\r\n0;x\r\n\r\n", "abc", 0), ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789", 0),
      ("3\r\n\r\n0\r\n0\r\n\r\n", "\r\n0", 0), ("0000000000003\r\nabc\r\n0000000000000\r\n\r\n", "abc", 0),
      ("3;a;b=c;d=\"e;f=\\\"g\\\\ \t\"\r\nabc\r\n0;!#$%&'*+-.^_`|~=1\r\n\r\n", "abc", 0), ("3;a=\"\"\r\nabc\r\n0\r\n\r\n", "abc", 0),
      ("1\r\na\r\n0\r\nX-Sum: 1\r\nETag: \"a\"\r\n\r\nmore", "a", 4), ("1;a=\"\u{e9}\"\r\na\r\n0\r\n\r\n", "a", 0),
    ] as [(String, String, Int)])
  func good(body: String, payload: String, left: Int) throws {
    let bytes = latin1(body)
    for pieces in [Int.max, 1, 2, 3] {
      let (decoded, used) = try #require(decode(bytes, pieces: pieces)).get()
      #expect(decoded == latin1(payload))
      #expect(used == bytes.count - left)
    }
    var scanner = ChunkedScanner()
    #expect(scanner.scan(bytes.span) == bytes.count - left)
    #expect(scanner.isDone)
  }

  @Test(
    "chunk tricks (S23, fault 41)",
    arguments: [
      ("3\nabc\n0\n\n", .badSize), ("0x3\r\nabc\r\n0\r\n\r\n", .badSize), ("3 \r\nabc\r\n0\r\n\r\n", .badSize), (" 3\r\nabc", .badSize),
      ("+3\r\nabc", .badSize), ("-3\r\nabc", .badSize), ("\r\n", .badSize), (";a\r\n", .badSize), ("g\r\n", .badSize),
      ("3,3\r\nabc", .badSize),
      ("fffffffffffffffff\r\nabc", .sizeTooLarge), ("00000000000000\r\n", .sizeTooLarge), ("3\rabc", .badLineEnding),
      ("3\r\nabcd\r\n0\r\n\r\n", .badLineEnding), ("3\r\nab\r\n0\r\n\r\n", .badLineEnding), ("3\r\nabc\n0\r\n\r\n", .badLineEnding),
      ("3;\r\nabc", .badExtension), ("3;;a\r\nabc", .badExtension), ("3;a=\r\nabc", .badExtension), ("3;=b\r\nabc", .badExtension),
      ("3;a=b=c\r\nabc", .badExtension), ("3;a=b\"c\"\r\nabc", .badExtension), ("3;a=\"b\"c\r\nabc", .badExtension),
      ("3;a=\"b\r\nabc", .badExtension), ("3;a=\"b\\\r\nabc", .badExtension), ("3;a=\"\u{0}\"\r\nabc", .badExtension),
      ("3;a=\"\n\"\r\nabc", .badExtension), ("3;\u{e9}\r\nabc", .badExtension), ("3;a=\u{e9}\r\nabc", .badExtension),
      ("3;a(\r\nabc", .badExtension), ("3;a=b,c\r\nabc", .badExtension), ("3;a=b;\r\nabc", .badExtension),
      // White space that no sender may write (RFC 9110 §5.6.3), and that would be passed on.
      ("3 ;a\r\nabc", .badSize), ("3\t;a\r\nabc", .badSize), ("3; a\r\nabc", .badExtension), ("3;a =b\r\nabc", .badExtension),
      ("3;a= b\r\nabc", .badExtension), ("3;a=b \r\nabc", .badExtension), ("3;a=\"b\" \r\nabc", .badExtension),
      ("3;a\nabc\r\n", .badExtension), ("3;\u{0}\r\nabc", .badExtension), ("3;a\r\r\nabc", .badLineEnding), ("0\r\n\n", .badTrailer),
      ("0\r\n X: a\r\n\r\n", .badTrailer), ("0\r\nX a\r\n\r\n", .badTrailer), ("0\r\nX : a\r\n\r\n", .badTrailer),
      ("0\r\n: a\r\n\r\n", .badTrailer),
      ("0\r\nX: a\nY: b\r\n\r\n", .badTrailer), ("0\r\nX: a\r\n\rX", .badLineEnding), ("0\r\nX: \u{0}\r\n\r\n", .badTrailer),
    ] as [(String, ChunkFault)])
  func tricks(body: String, fault: ChunkFault) {
    for pieces in [Int.max, 1] {
      guard case .failure(let found) = decode(latin1(body), pieces: pieces) else {
        Issue.record("accepted: \(body)")
        continue
      }
      #expect(found == fault)
    }
    var scanner = ChunkedScanner()
    _ = scanner.scan(latin1(body).span)
    #expect(scanner.failure == fault && !scanner.isDone)
    #expect(scanner.scan(latin1("0\r\n\r\n").span) == 0)
  }

  @Test(
    "a trailer may not carry what only a head may, nor a twin of it (S4)",
    arguments: [
      "Content-Length", "Transfer-Encoding", "Host", "Authorization", "Cookie", "X-Forwarded-For", "Connection", "authorization",
      "Content_Length", "X_Forwarded_Host", "X.Real.IP", "X-Auth-User", "x_auth_user", "Trailer",
    ])
  func forbiddenTrailers(name: String) {
    let body = latin1("1\r\na\r\n0\r\n\(name): x\r\n\r\n")
    guard case .failure(.forbiddenTrailer) = decode(body, guarded: ["X-Auth-User"]) else {
      Issue.record("accepted: \(name)")
      return
    }
  }

  @Test("extensions and trailers are bounded (fault 40)")
  func bounds() {
    let extensions = latin1(String(repeating: "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n", count: 100))
    guard case .failure(.extensionsTooLarge) = decode(extensions) else {
      Issue.record("extensions of every chunk together are not bounded")
      return
    }
    let trailers = latin1("0\r\n" + String(repeating: "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", count: 300))
    guard case .failure(.trailersTooLarge) = decode(trailers) else {
      Issue.record("trailers are not bounded")
      return
    }
  }
}
