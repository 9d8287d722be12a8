import HTTP1
import HTTPMessage

/// Authorities: Host fields, absolute and authority forms and URLs take the same ones and read the same host and port out of them.
enum HostProperty {
  static func check(_ bytes: [UInt8]) throws(Broken) {
    let hostEnd = AuthoritySyntax.hostEnd(bytes.span, ByteRange(0, bytes.count))
    if let hostEnd { try shape(bytes, hostEnd) }
    try elsewhere(bytes, hostEnd)
    // Anything before or behind it does not change what it is.
    let around = Array("/@".utf8) + bytes + Array(":80".utf8)
    let inside = AuthoritySyntax.hostEnd(around.span, ByteRange(2, bytes.count + 2))
    try hold(inside == hostEnd.map { $0 + 2 }, "its surroundings change it")
  }

  private static func shape(_ bytes: [UInt8], _ hostEnd: Int) throws(Broken) {
    try hold((1...bytes.count).contains(hostEnd), "the host ends at \(hostEnd) of \(bytes.count)")
    try hold(bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"/?#@\\%,;\"<> ".utf8.contains($0) }, "a byte that is no authority's")
    let host = bytes[..<hostEnd]
    if host.first == UInt8(ascii: "[") {
      try hold(host.last == UInt8(ascii: "]") && host.count { $0 == UInt8(ascii: "]") } == 1, "an address without its bracket")
      let groups = host.count { $0 == UInt8(ascii: ":") }
      try hold((2...8).contains(groups), "an address of \(groups) colons")
    } else {
      try hold(!host.contains(UInt8(ascii: ":")), "a colon in the host")
    }
    guard hostEnd < bytes.count else { return }
    try hold(bytes[hostEnd] == UInt8(ascii: ":"), "no colon before the port")
    let port = Int(String(decoding: bytes[(hostEnd + 1)...], as: UTF8.self)) ?? -1
    try hold((1...65535).contains(port), "port \(port)")
    try hold(AuthoritySyntax.port(bytes.span, ByteRange(hostEnd + 1, bytes.count)) == port, "another port")
  }

  private static func elsewhere(_ bytes: [UInt8], _ hostEnd: Int?) throws(Broken) {
    guard !bytes.isEmpty, bytes.count < 2048, bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return }
    let host = hostEnd.map { Array(bytes[..<$0]) }
    try one("Host", "GET / HTTP/1.1\r\nHost: ", bytes, "\r\n\r\n", host)
    try one("authority form", "CONNECT ", bytes, " HTTP/1.1\r\nHost: h\r\n\r\n", hostEnd == bytes.count ? nil : host)
    guard !bytes.contains(UInt8(ascii: "/")), !bytes.contains(UInt8(ascii: "?")) else { return }
    let field = String(decoding: bytes, as: UTF8.self)
    // Bytes that are no UTF-8 are refused anyway.
    try one("absolute form", "GET http://", bytes, "/a HTTP/1.1\r\nHost: \(hostEnd == nil ? "h" : field)\r\n\r\n", host)
    let url = HTTPURL(bytes: Array("http://".utf8) + bytes + Array("/a".utf8))
    try hold((url != nil) == (hostEnd != nil), "as URL \(url != nil), as authority \(hostEnd != nil)")
    guard let url, let host, let hostEnd else { return }
    try hold(url.host.bytes == NaiveHead.lowercased(host), "the URL has another host")
    let port = hostEnd < bytes.count ? AuthoritySyntax.port(bytes.span, ByteRange(hostEnd + 1, bytes.count)) : 80
    try hold(url.port == port, "the URL has another port")
    let again = HTTPURL(url.description)
    try hold(again == url, "the URL written anew is another")
  }

  private static func one(_ what: String, _ before: String, _ bytes: [UInt8], _ after: String, _ host: [UInt8]?) throws(Broken) {
    let head = Array(before.utf8) + bytes + Array(after.utf8)
    let parsed = ParsedRequest(head)
    try hold((parsed.result == .complete) == (host != nil), "as \(what) \(parsed.result), as authority \(host != nil)")
    guard let host else { return }
    try hold(parsed.head.request.host.bytes(in: head.span) == host, "as \(what) another host")
    try hold(parsed.head.request.authority.bytes(in: head.span) == bytes, "as \(what) another authority")
  }
}
