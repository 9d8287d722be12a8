import HTTP1
import HTTPMessage
import Linux
import Testing

private func address(_ text: String) -> ForwardedNode? { NetworkAddress(text).map { ForwardedNode(.address($0)) } }
private func address(_ text: String, port: String) -> ForwardedNode? {
  NetworkAddress(text).map { ForwardedNode(.address($0), port: Array(port.utf8)) }
}
private func hidden(_ name: String, port: String? = nil) -> ForwardedNode {
  ForwardedNode(.obfuscated(Array(name.utf8)), port: port.map { Array($0.utf8) })
}

/// RFC 7239, and who is believed: only proxies that are named (S3).
@Suite("Forwarded and its older sisters")
struct ForwardedTests {
  @Test(
    "nodes: addresses, ports, unknown and obfuscated ones (RFC 7239 §6)",
    arguments: [
      ("for=192.0.2.43", address("192.0.2.43")), ("For=\"192.0.2.43\"", address("192.0.2.43")),
      ("FOR=\"192.0.2.43:47011\"", address("192.0.2.43", port: "47011")), ("for=\"[2001:db8::17]\"", address("2001:db8::17")),
      ("for=\"[2001:DB8:cafe::17]:4711\"", address("2001:db8:cafe::17", port: "4711")),
      ("for=\"[::ffff:192.0.2.43]\"", address("192.0.2.43")), ("for=\"192.0.2.43:_p\"", address("192.0.2.43", port: "_p")),
      ("for=unknown", ForwardedNode(.unknown)), ("for=\"Unknown:1\"", ForwardedNode(.unknown, port: [0x31])),
      ("for=_gazonk", hidden("_gazonk")), ("for=_SEVKISEK.a-b_", hidden("_SEVKISEK.a-b_")), ("for=\"_h:_p\"", hidden("_h", port: "_p")),
      ("for=\"19\\2.0.\\2.43\"", address("192.0.2.43")), ("by=_x", nil), (";;for=_a;;", hidden("_a")),
      ("x=1;for=_a;y=\"\\\"\"", hidden("_a")),
    ] as [(String, ForwardedNode?)])
  func nodes(line: String, node: ForwardedNode?) throws {
    let elements = try #require(Forwarded.elements([Array(line.utf8)]))
    #expect(elements.count == 1 && elements.first?.client == node)
    #expect(throws: Never.self) { try ForwardedProperty.check(Array(line.utf8)) }
  }

  @Test(
    "garbage anywhere makes the whole list worthless: nobody is named by it, least of all the proxy (S3)",
    arguments: [
      "for", "for=", "=a", "for=192.0.2", "for=192.0.2.256", "for=192.0.02.1", "for=192.0.2.1.", "for=192.0.2.1:80", "for=[2001:db8::1]",
      "for=\"2001:db8::1\"", "for=\"[2001:db8::1\"", "for=\"[192.0.2.1]\"", "for=\"192.0.2.1:\"", "for=\"192.0.2.1:123456\"",
      "for=\"192.0.2.1:8x\"", "for=\"192.0.2.1:_\"", "for=\"[::1]x\"", "for=\"[::1%25eth0]\"", "for=host.example", "for=_", "for=\"_a b\"",
      "for=\"_\u{e9}\"", "for=\"\"", "for=\" 192.0.2.1\"", "for=192.0.2.1;for=192.0.2.2", "for=_a;FOR=_a", "x=1;x=2", "for =_a", "for= _a",
      "for=_a; proto=http", "for=_a ;proto=http", "for=_a proto=http", "for=\"_a", "for=\"_a\\", "for=\"_a\\\"", "for=_a\"", "for=\"_a\"b",
      "for='_a'", "for=_a,for", "for=_a,\"", "host=a b", "host=", "host=\"a:0\"", "host=\"u@a\"", "host=a:80", "proto=", "proto=1a",
      "proto=\"a b\"", "proto=http://", "by=a", "for=_a\t;", "(for=_a)", "for=\"_a\u{0}\"", "for=\"\\\u{7f}\"", "{}=1",
    ])
  func garbage(line: String) {
    let bytes = latin1(line)
    #expect(Forwarded.elements([bytes]) == nil)
    #expect(Forwarded.elements([Array("for=192.0.2.1".utf8), bytes]) == nil)
    #expect(Forwarded.elements([bytes + Array(", for=192.0.2.1".utf8)]) == nil)
    let peer = ForwardedProperty.peer
    #expect(ForwardedClient.resolve(peer: peer, Forwarded.elements([bytes])) { _ in true } == ForwardedClient(ForwardedNode(.unknown)))
  }

  @Test("elements come in order over all lines; empty ones are passed over, and more than 32 are too many")
  func lists() {
    func hosts(_ lines: String...) -> [String]? {
      Forwarded.elements(lines.map { Array($0.utf8) })?.map { String(decoding: $0.host ?? [], as: UTF8.self) }
    }
    #expect(hosts("host=a, host=b;proto=https", "host=c") == ["a", "b", "c"])
    #expect(hosts(",, host=a ,,\thost=b,", "", " ", ",") == ["a", "b"])
    #expect(hosts("host=\"a,b\"") == nil)
    #expect(hosts(";") == [""] && hosts(";,;") == ["", ""])
    #expect(hosts(Array(repeating: "host=a", count: 32).joined(separator: ","))?.count == 32)
    #expect(hosts(Array(repeating: "host=a", count: 33).joined(separator: ",")) == nil)
    let element = Forwarded.elements([Array("proto=HTTPS;host=\"A.example:8443\";by=_b".utf8)])?.first
    #expect(element?.scheme == Array("https".utf8) && element?.host == Array("A.example:8443".utf8) && element?.proxy == hidden("_b"))
  }

  @Test(
    "read from the right: who is no trusted proxy ends the chain, whoever stands to the left (S3)",
    arguments: [
      // 10.0.0.0/8 and 2001:db8::/32 are trusted; 10.0.0.1 asks.
      ([], "10.0.0.1", 0), (["for=192.0.2.1"], "192.0.2.1", 1), (["for=6.6.6.6, for=192.0.2.1"], "192.0.2.1", 1),
      (["for=6.6.6.6", "for=192.0.2.1, for=10.9.9.9"], "192.0.2.1", 2), (["for=10.2.2.2, for=10.3.3.3"], "10.2.2.2", 2),
      (["for=192.0.2.1, for=\"[2001:db8::1]:99\""], "192.0.2.1", 2), (["for=192.0.2.1, for=\"[::ffff:10.0.0.7]\""], "192.0.2.1", 2),
      (["for=6.6.6.6, for=unknown"], nil, 1), (["for=6.6.6.6, for=_hidden, for=10.1.1.1"], nil, 2), (["for=6.6.6.6, proto=http"], nil, 1),
      (["for=6.6.6.6, for=127.0.0.1"], "127.0.0.1", 1), (["for=6.6.6.6, for=10.0.0.1garbage"], nil, 0),
    ] as [([String], String?, Int)])
  func chain(lines: [String], client: String?, hops: Int) {
    let elements = Forwarded.elements(lines.map { Array($0.utf8) })
    let seen = ForwardedClient.resolve(peer: ForwardedProperty.peer, elements, trusts: ForwardedProperty.trusts)
    #expect(seen.node.address == client.flatMap { NetworkAddress($0) } && seen.hops == hops)
    // Whoever is not trusted may write what it likes.
    let stranger = NetworkAddress(v4: 0xc000_0209)
    #expect(
      ForwardedClient.resolve(peer: stranger, elements, trusts: ForwardedProperty.trusts)
        == ForwardedClient(ForwardedNode(.address(stranger))))
  }

  @Test(
    "X-Forwarded-For is read from the right too, and what is no address takes nothing from the others (S3)",
    arguments: [
      (["192.0.2.1"], "192.0.2.1", 1), (["6.6.6.6, 192.0.2.1"], "192.0.2.1", 1), (["6.6.6.6", "192.0.2.1 , 10.1.1.1"], "192.0.2.1", 2),
      (["192.0.2.1:55, 10.1.1.1:44"], "192.0.2.1", 2), (["2001:db9::1, 2001:db8::2"], "2001:db9::1", 2),
      (["[2001:db9::1]:80, [2001:db8::2]"], "2001:db9::1", 2), (["6.6.6.6, unknown"], nil, 1), ([",,192.0.2.1,,"], "192.0.2.1", 1),
      (["6.6.6.6, host.example"], nil, 1), (["6.6.6.6;192.0.2.1"], nil, 1), (["192.0.2.1 10.1.1.1"], nil, 1), (["\"192.0.2.1\""], nil, 1),
      (["2001:db8::1:80:80:80:80:80:80:80"], nil, 1), (["192.0.2.1, \u{e9}"], nil, 1), (["\u{e9}, \", 192.0.2.1"], "192.0.2.1", 1),
      (["10.2.2.2, garbage, 10.1.1.1"], nil, 2), ([String(repeating: "6.6.6.6,", count: 99) + "192.0.2.1"], "192.0.2.1", 1),
      ([String(repeating: "10.1.1.1,", count: 99)], "10.1.1.1", 32), ([], "10.0.0.1", 0), ([" , ,"], "10.0.0.1", 0),
    ] as [([String], String?, Int)])
  func older(lines: [String], client: String?, hops: Int) {
    let elements = Forwarded.elements(xForwardedFor: lines.map(latin1))
    let seen = ForwardedClient.resolve(peer: ForwardedProperty.peer, elements, trusts: ForwardedProperty.trusts)
    #expect(seen.node.address == client.flatMap { NetworkAddress($0) } && seen.hops == hops)
  }

  @Test("addresses are read as the system reads them, and both spellings of an IPv4 address are one")
  func addresses() {
    var generator = SeededGenerator(seed: 7239)
    let atoms = ["::", ":", "0", "1", "ffff", "db8", "2001", ".", "192", "255", "256", "01", "10.0.0.1", "g", "A", "00000", "%1", " "]
    var accepted = 0
    for _ in 0..<30_000 {
      let text = (0..<Int.random(in: 1...12, using: &generator)).map { _ in atoms[Int.random(in: 0..<atoms.count, using: &generator)] }
        .joined()
      let theirs = IPAddress(text).map { address in
        switch address {
        case .v4(let bits): NetworkAddress(v4: bits)
        case .v6(let high, let low, _): NetworkAddress(high: high, low: low)
        }
      }
      #expect(NetworkAddress(text) == theirs, "\(text)")
      accepted += theirs == nil ? 0 : 1
    }
    #expect(accepted > 300, "\(accepted)")
    #expect(
      NetworkAddress("::ffff:192.0.2.1") == NetworkAddress("192.0.2.1") && NetworkAddress("::192.0.2.1") != NetworkAddress("192.0.2.1"))
  }

  @Test(
    "blocks",
    arguments: [
      ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0", "::a00:1", "a00::"]),
      ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6"]), ("0.0.0.0/0", ["1.2.3.4"], ["::", "2001:db8::1"]),
      ("2001:db8::/32", ["2001:db8:ffff::"], ["2001:db9::"]), ("::/0", ["1.2.3.4", "ff::"], []),
      ("2001:db8:0:1::/64", ["2001:db8:0:1:ffff::"], ["2001:db8:0:2::"]), ("::1", ["::1"], ["::2", "127.0.0.1"]),
      ("2001:db8::8/125", ["2001:db8::f"], ["2001:db8::7", "2001:db8::10"]), ("::ffff:10.0.0.0/104", ["10.9.9.9"], ["11.0.0.0"]),
    ] as [(String, [String], [String])])
  func blocks(text: String, members: [String], others: [String]) throws {
    let block = try #require(NetworkBlock(text))
    for member in members { #expect(block.contains(try #require(NetworkAddress(member))), "\(member)") }
    for other in others { #expect(!block.contains(try #require(NetworkAddress(other))), "\(other)") }
  }

  @Test(
    "what is no block",
    arguments: [
      "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.1/8", "2001:db8::1/32", "::/129", "a",
      "10.0.0",
      "10.0.0.0 /8", "[::1]", "::1/0128", "10.0.0.0/-1", "0.0.0.0/\u{ff11}",
    ])
  func badBlocks(text: String) { #expect(NetworkBlock(text) == nil) }
}
