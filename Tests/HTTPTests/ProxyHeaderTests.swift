import HTTPMessage
import IntercomCore
import IntercomTesting
import Linux
import Testing

@testable import HTTPServer

/// The PROXY protocol, read as bytes and seen by endpoints.
@Suite("PROXY header", .timeLimit(.minutes(1)))
struct ProxyHeaderTests {
  private static let binary: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]
    let reading: ProxyHeader.Reading
    init(_ name: String, _ bytes: [UInt8], _ reading: ProxyHeader.Reading) {
      testDescription = name
      self.bytes = bytes
      self.reading = reading
    }
    init(_ text: String, _ reading: ProxyHeader.Reading) { self.init(text, Array(text.utf8), reading) }
  }

  private static let four = SocketAddress(.v4(0xc000_0201), port: 56324)
  private static let six = SocketAddress(.v6(0x2001_0db8_0000_0000, 1, zone: 0), port: 56324)

  static let cases = [
    Case("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET", .whole(45, four)),
    Case("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", .whole(46, six)),
    Case("PROXY UNKNOWN\r\nGET", .whole(15, nil)),
    Case("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", .whole(41, nil)),
    Case("PROX", .short),
    Case("PROXY TCP4 192.0.2.1 198.51.100.7 5632", .short),
    Case("GET / HTTP/1.1\r\n", .wrong),
    Case("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n", .wrong),
    Case("PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n", .wrong),
    Case("PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n", .wrong),
    Case("PROXY TCP4 192.0.2.1 198.51.100.7 +5 443\r\n", .wrong),
    Case("PROXY TCP4 192.0.2.1  198.51.100.7 1 443\r\n", .wrong),
    Case("PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n", .wrong),
    Case("PROXY TCP4 " + String(repeating: "1", count: 200), .wrong),
    Case("version 2, IPv4", binary + [0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 1, 0xbb, 0x47], .whole(28, four)),
    Case(
      "version 2, IPv4 with extensions behind it",
      binary + [0x21, 0x11, 0, 16, 192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 1, 0xbb, 4, 0, 1, 0], .whole(32, four)),
    Case(
      "version 2, IPv6",
      binary + [0x21, 0x21, 0, 36, 0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1]
        + [UInt8](repeating: 0, count: 16) + [0xdc, 0x04, 1, 0xbb], .whole(52, six)),
    Case("version 2, for itself", binary + [0x20, 0, 0, 0], .whole(16, nil)),
    Case("version 2, unspecified", binary + [0x21, 0, 0, 0], .whole(16, nil)),
    Case("version 2, cut", binary + [0x21, 0x11, 0, 12, 192], .short),
    Case("version 2, the signature cut", Array(binary.prefix(5)), .short),
    Case("version 3", binary + [0x31, 0x11, 0, 12] + [UInt8](repeating: 0, count: 12), .wrong),
    Case("version 2, too short for its family", binary + [0x21, 0x11, 0, 4, 1, 2, 3, 4], .wrong),
    Case("version 2, datagrams", binary + [0x21, 0x12, 0, 12] + [UInt8](repeating: 0, count: 12), .wrong),
    Case("version 2, longer than we take", binary + [0x21, 0x11, 0xff, 0xff], .wrong),
  ]

  @Test("Each form is read to its last byte and no further, and anything else is refused", arguments: cases)
  func forms(_ given: Case) {
    #expect(ProxyHeader.read(given.bytes) == given.reading)
    guard case .whole(let length, _) = given.reading else { return }
    for end in 0..<length { #expect(ProxyHeader.read(Array(given.bytes.prefix(end))) == .short, "\(end) bytes") }
  }

  private func ask(_ proxies: [NetworkBlock], _ header: String) async throws -> String {
    var seen = ""
    try await TestServer.run(endpoints(), proxies: proxies) { server in
      seen = try await server.client { port in
        let socket = try RawSocket(port: port)
        // In two pieces: the first is no whole header.
        try? socket.send(String(header.prefix(9)))
        try? socket.send(header.dropFirst(9) + "GET /who HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        return (try? socket.receiveAllText()) ?? ""
      }
    }
    return seen
  }

  @Test("A proxy that is trusted says who the client is; a connection of anybody else, or without a header, is closed (S5)")
  func trust() async throws {
    let (own, other) = ([try #require(NetworkBlock("127.0.0.0/8"))], [try #require(NetworkBlock("10.0.0.0/8"))])
    let header = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
    #expect(try await ask(own, header).contains(" 192.0.2.1 "))
    #expect(try await ask(own, "PROXY UNKNOWN\r\n").contains(" 127.0.0.1 "))
    #expect(try await ask(own, "").isEmpty)
    #expect(try await ask(other, header).isEmpty)
  }
}
