import HTTP1
import HTTPMessage
import Testing

/// Whole and byte by byte, the same refusal.
private func refused(_ bytes: [UInt8], _ reason: HeadRefusal, _ comment: String = "") {
  #expect(ParsedRequest(bytes).refusal == reason, "\(comment)")
  #expect(ParsedRequest(bytewise: bytes).refusal == reason, "byte by byte \(comment)")
}

@Suite("Requests that are refused")
struct RequestRefusalTests {
  @Test(
    "smuggling by framing (S23, faults 41 and 43)",
    arguments: [
      (["Content-Length: 3", "Transfer-Encoding: chunked"], .lengthWithTransferEncoding),
      (["Transfer-Encoding: chunked", "Content-Length: 3"], .lengthWithTransferEncoding),
      (["Content-Length: 3", "Content-Length: 3"], .duplicateContentLength),
      (["Content-Length: 3", "Content-Length: 4"], .duplicateContentLength),
      (["Content-Length: 3, 3"], .badContentLength), (["Content-Length: +3"], .badContentLength),
      (["Content-Length: -1"], .badContentLength),
      (["Content-Length: 0x3"], .badContentLength), (["Content-Length: 3 3"], .badContentLength), (["Content-Length: "], .badContentLength),
      (["Content-Length: 3;"], .badContentLength), (["Content-Length: 012"], .badContentLength),
      (["Content-Length: 00"], .badContentLength), (["Content-Length: ٣"], .badContentLength),
      (["Content-Length: \"3\""], .badContentLength),
      (["Content-Length: 18446744073709551619"], .contentTooLarge), (["Content-Length: 9007199254740993"], .contentTooLarge),
      (["Content-Length: 99999999999999999999999999999999999x"], .badContentLength),
      (["Transfer-Encoding: gzip, chunked"], .unknownTransferCoding),
      (["Transfer-Encoding: gzip\t, x;y=z ,Chunked"], .unknownTransferCoding),
      (["Transfer-Encoding: xchunked, chunked"], .unknownTransferCoding), (["Transfer-Encoding: chunked, identity"], .chunkedNotFinal),
      (["Transfer-Encoding: chunked, gzip"], .chunkedNotFinal), (["Transfer-Encoding: gzip"], .chunkedNotFinal),
      (["Transfer-Encoding: chunked, chunked"], .chunkedNotFinal), (["Transfer-Encoding: gzip, chunked, chunked"], .chunkedNotFinal),
      (["Transfer-Encoding: chunked, gzip, chunked"], .chunkedNotFinal),
      (["Transfer-Encoding: chunked,"], .chunkedNotFinal), (["Transfer-Encoding: ,chunked"], .chunkedNotFinal),
      (["Transfer-Encoding: gzip, chunked ,"], .unknownTransferCoding),
      (["Transfer-Encoding: xchunked"], .chunkedNotFinal), (["Transfer-Encoding: \"chunked\""], .chunkedNotFinal),
      (["Transfer-Encoding: chunked;q=1"], .chunkedNotFinal), (["Transfer-Encoding: identity"], .chunkedNotFinal),
      (["Transfer-Encoding:"], .chunkedNotFinal), (["Transfer-Encoding: \u{b}chunked"], .badFieldValue),
      (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], .duplicateTransferEncoding),
      (["Transfer-Encoding: chunked", "Transfer-encoding: x"], .duplicateTransferEncoding),
      (["Transfer-Encoding : chunked"], .spaceBeforeColon), (["Transfer-Encoding\t: chunked"], .spaceBeforeColon),
      ([" Transfer-Encoding: chunked"], .obsFold), (["X: y\r\n Transfer-Encoding: chunked"], .obsFold),
      (["X: y\nTransfer-Encoding: chunked"], .badLineEnding), (["X: y\rTransfer-Encoding: chunked"], .badLineEnding),
      (["X: y\r\rTransfer-Encoding: chunked"], .badLineEnding), (["Transfer\u{0}-Encoding: chunked"], .badFieldName),
      (["Content\rLength: 5"], .badFieldName), (["Transfer-Encoding\u{0}: chunked"], .badFieldName),
    ] as [([String], HeadRefusal)])
  func framing(lines: [String], reason: HeadRefusal) {
    refused(latin1("POST /a HTTP/1.1\r\nHost: h\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"), reason)
  }

  @Test("Transfer-Encoding in HTTP/1.0 (fault 43)")
  func oldChunked() {
    refused(request("Transfer-Encoding: chunked", line: "POST / HTTP/1.0"), .transferEncodingInHTTP10)
  }

  @Test("a body in HTTP/1.0 that only the connection's end would end (fault 43)", arguments: ["POST", "PUT", "PATCH"])
  func oldWithoutLength(method: String) {
    refused(request("Connection: keep-alive", line: "\(method) / HTTP/1.0"), .missingLengthInHTTP10)
    #expect(ParsedRequest(request("Content-Length: 0", line: "\(method) / HTTP/1.0")).result == .complete)
    #expect(ParsedRequest(request(line: "\(method) / HTTP/1.1")).result == .complete)
    #expect(ParsedRequest(request(line: "DELETE / HTTP/1.0")).result == .complete)
  }

  @Test(
    "path tricks: two readers, two paths (S1)",
    arguments: [
      ("/..", .dotSegment), ("/.", .dotSegment), ("/a/../b", .dotSegment), ("/a/./b", .dotSegment), ("/a/..", .dotSegment),
      ("/%2e%2e/b", .dotSegment), ("/%2E./b", .dotSegment), ("/.%2e/b", .dotSegment), ("/%2e", .dotSegment), ("/a/%2e%2E?x", .dotSegment),
      ("/..;/b", .dotSegment), ("/a/..;x=1/b", .dotSegment), ("/.;/b", .dotSegment), ("/%2e%2e;/b", .dotSegment), ("/..%3b/b", .dotSegment),
      ("/..%3Bx", .dotSegment), ("/a%2f..%2fb", .dotSegment), ("/a%2F..", .dotSegment), ("/a%2f%2e%2e%2fb", .dotSegment),
      ("/a/..%2fb", .dotSegment), ("/..%2F", .dotSegment), ("/..?x", .dotSegment), ("/%2f..", .dotSegment),
      ("/a\\b", .backslash), ("/a%5cb", .backslash), ("/a%5Cb", .backslash), ("/..\\b", .dotSegment), ("/..%5cb", .dotSegment),
      ("/a%00b", .nulInPath), ("/..%00/", .nulInPath), ("/a#b", .fragment), ("/a?b#c", .fragment), ("/..#", .fragment),
      ("/a%", .badEscape), ("/a%4", .badEscape), ("/a%4?", .badEscape), ("/a%zz", .badEscape), ("/%2", .badEscape),
      ("/%%32%65", .badEscape),
      ("/a%u002e", .badEscape), ("/a b", .badTarget), ("/a\tb", .badTarget), ("/a\u{7f}", .badTarget), ("/\u{e9}", .badTarget),
      ("/a?\u{e9}", .badTarget), ("/a\"b", .badTarget), ("/a<b", .badTarget), ("/{a}", .badTarget), ("/a`b", .badTarget),
      (" /a", .badAbsoluteTarget),
      ("*", .badTarget), ("*a", .badTarget), ("a", .badAbsoluteTarget), ("h:80", .badAbsoluteTarget),
      ("ftp://h/a", .badAbsoluteTarget), ("http:/h/a", .badAbsoluteTarget), ("http:h", .badAbsoluteTarget), ("http://", .badAbsoluteTarget),
      ("http:///a", .badAbsoluteTarget), ("http://u@h/a", .badAbsoluteTarget), ("http://u:p@h/a", .badAbsoluteTarget),
      ("http://h:/a", .badAbsoluteTarget), ("http://h:99999/a", .badAbsoluteTarget), ("http://h\\a", .badAbsoluteTarget),
      ("http://h#a", .badAbsoluteTarget), ("http://h/../a", .dotSegment), ("\u{1a}http://h/", .badAbsoluteTarget),
      ("http://other/a", .hostMismatch), ("http://h:80/a", .hostMismatch), ("http://hh/a", .hostMismatch),
    ] as [(String, HeadRefusal)])
  func target(target: String, reason: HeadRefusal) { refused(request(line: "GET \(target) HTTP/1.1"), reason, target) }

  @Test(
    "broken request lines",
    arguments: [
      ("GET /", .badRequestLine), ("GET / ", .badRequestLine), ("GET", .badRequestLine), (" GET / HTTP/1.1", .badRequestLine),
      ("GET\t/ HTTP/1.1", .badRequestLine), ("G(T / HTTP/1.1", .badRequestLine), ("GET / HTTP/1.1 ", .badRequestLine),
      ("GET / HTTP/2.0", .unsupportedVersion), ("GET / HTTP/1.2", .unsupportedVersion), ("GET / HTTP/0.9", .unsupportedVersion),
      ("GET / http/1.1", .badVersion), ("GET / HTTP/1,1", .badVersion), ("GET / HTTX/1.1", .badVersion),
      ("GET / HTTP/11.1", .badRequestLine),
      ("CONNECT / HTTP/1.1", .badTarget), ("CONNECT h HTTP/1.1", .badTarget), ("CONNECT http://h/ HTTP/1.1", .badTarget),
      ("OPTIONS ** HTTP/1.1", .badTarget), ("PRI * HTTP/2.0", .unsupportedVersion), ("\u{16}\u{3}\u{1}", .badRequestLine),
      ("GET /\u{0} HTTP/1.1", .badTarget), ("GET / HTTP/1.1\r", .badRequestLine),
      ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", .badMethod),
    ] as [(String, HeadRefusal)])
  func requestLine(line: String, reason: HeadRefusal) { refused(request(line: line), reason, line) }

  @Test("a bare LF ends nothing")
  func bareLF() {
    refused(latin1("GET / HTTP/1.1\nHost: h\n\n"), .badLineEnding)
    refused(latin1("GET / HTTP/1.1\r\nHost: h\n\r\n"), .badLineEnding)
    refused(latin1("GET / HTTP/1.1\r\nHost: h\r\n\n"), .badLineEnding)
    refused(latin1("GET / HTTP/1.1\r\nHost: h\r\n\rX\n"), .badLineEnding)
    refused(latin1("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), .badRequestLine)
  }

  @Test(
    "Host missing, double or bad",
    arguments: [
      ([], .missingHost), (["Host: a", "Host: b"], .duplicateHost), (["Host: a", "hOST: a"], .duplicateHost), (["Host:"], .badHost),
      (["Host: a b"], .badHost), (["Host: a,b"], .badHost), (["Host: u@a"], .badHost), (["Host: a/b"], .badHost), (["Host: a:"], .badHost),
      (["Host: :80"], .badHost), (["Host: a:0"], .badHost), (["Host: a:65536"], .badHost), (["Host: a:8x"], .badHost),
      (["Host: a:80:80"], .badHost), (["Host: [::1"], .badHost), (["Host: ::1"], .badHost), (["Host: [::1]x"], .badHost),
      (["Host: [1:2]"], .badHost), (["Host: [g::]"], .badHost), (["Host: a%41"], .badHost), (["Host: a\\b"], .badHost),
      (["Host: \u{e9}"], .badHost), (["Host: a?b"], .badHost), (["Host: a#b"], .badHost), (["Host: [::1%25eth0]"], .badHost),
    ] as [([String], HeadRefusal)])
  func host(lines: [String], reason: HeadRefusal) {
    refused(latin1("GET / HTTP/1.1\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"), reason, "\(lines)")
  }

  @Test(
    "fields that decide must not come twice",
    arguments: [
      "Origin", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-Dest", "Sec-Fetch-User", "X-CSRF-Token", "Authorization", "Destination",
      "Access-Control-Request-Method", "Access-Control-Request-Headers", "Referer",
    ])
  func duplicates(name: String) {
    refused(request("\(name): a", "\(name.lowercased()): a"), .duplicateField)
    #expect(ParsedRequest(request("\(name): a")).result == .complete)
  }

  @Test(
    "broken field lines",
    arguments: [
      (": a", .emptyFieldName), ("X", .badFieldName), ("X y: a", .spaceBeforeColon), ("X(: a", .badFieldName), ("X@: a", .badFieldName),
      ("\u{e9}: a", .badFieldName), ("X\u{e9}: a", .badFieldName), ("X: a\u{0}b", .badFieldValue), ("X: a\u{1}", .badFieldValue),
      ("X: \u{7f}", .badFieldValue), ("X: a\u{1b}[0m", .badFieldValue), ("\tX: a", .obsFold), ("X", .badFieldName),
      ("\"X\": a", .badFieldName),
      ("Expect: 100-continued", .unknownExpectation), ("Expect: ", .unknownExpectation), ("Expect: 200-ok", .unknownExpectation),
      ("Connection: a b", .badConnection), ("Connection: (x)", .badConnection), ("Connection: \u{e9}", .badConnection),
    ] as [(String, HeadRefusal)])
  func fieldLine(line: String, reason: HeadRefusal) { refused(request(line), reason, line) }

  @Test("bytes from 0x80 on may stand in values, tabs too")
  func highBytes() { #expect(ParsedRequest(request("X: a\u{80}\u{ff}\tb")).result == .complete) }

  @Test("a thousand Connection options are not compared with every field")
  func manyOptions() {
    refused(request("Connection: " + Array(repeating: "a", count: 33).joined(separator: ",")), .badConnection)
  }

  @Test("a fifth Cookie field is refused")
  func cookieFields() {
    let four = Array(repeating: "Cookie: a=b", count: 4)
    #expect(ParsedRequest(request(four[0], four[1], four[2], four[3])).head.request.cookieCount == 4)
    refused(request(four[0], four[1], four[2], four[3], "Cookie: a=b"), .tooManyCookieFields)
  }

  @Test("every refusal has a status of its own kind and a code that no other has")
  func codes() {
    #expect(Set(HeadRefusal.allCases.map(\.code)).count == HeadRefusal.allCases.count)
    #expect(HeadRefusal.allCases.allSatisfy { [400, 413, 414, 417, 431, 501, 505].contains($0.status.code) })
    #expect(HeadRefusal.obsFold.problem.status == 400)
    // RFC 9112 §3 and §6.3: which of them are about something unknown, and which about something wrong.
    #expect(HeadRefusal.badMethod.status == 501 && HeadRefusal.unknownTransferCoding.status == 501)
    #expect(HeadRefusal.chunkedNotFinal.status == 400)
  }
}
