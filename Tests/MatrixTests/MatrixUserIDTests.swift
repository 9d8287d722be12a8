import IntercomCore
import Matrix
import Testing

@Suite("Matrix: user ids")
struct MatrixUserIDTests {
  private func name(_ claim: String, server: Identifier = "example.org") throws(MatrixUserID.Fault) -> Identifier {
    try MatrixUserID(claim: claim, serverName: server).text
  }

  @Test("a claim in lower case is the local name; nothing else of it is changed")
  func names() throws {
    #expect(try name("alice") == "@alice:example.org")
    #expect(try name("Alice.OF-Wonder_land=1+2/3") == "@alice.of-wonder_land=1+2/3:example.org")
    #expect(try name("5F8D2C1E-0000-4444-8888-ABCDEFABCDEF", server: "[::1]:8448") == "@5f8d2c1e-0000-4444-8888-abcdefabcdef:[::1]:8448")
  }

  @Test(
    "what no user id can hold is refused, never mapped: another's id, another server, controls, letters that fold into ASCII (S12)",
    arguments: [
      "@alice", "alice:evil.example", "@bob:example.org", "alice@example.org", "alice:example.org", "al ice", " alice", "alice ", "alice\n",
      "alice\r\nX: y", "alice\u{0}", "\u{e4}lice", "a\u{308}lice", "\u{c4}LICE", "\u{212a}elvin", "\u{ff41}lice", "alice\u{200b}",
      "alice?x=y", "alice#x", "alice%2f", "alice\"", "alice\\", "alice{}", "\u{7f}", "\u{1f600}",
    ])
  func refused(_ claim: String) {
    #expect(throws: MatrixUserID.Fault.character) { try self.name(claim) }
  }

  @Test("an empty claim and one that makes the id longer than 255 bytes are refused")
  func bounds() throws {
    #expect(throws: MatrixUserID.Fault.empty) { try self.name("") }
    let longest = String(repeating: "a", count: 255 - 2 - "example.org".utf8.count)
    #expect(try name(longest).bytes.count == 255)
    #expect(throws: MatrixUserID.Fault.tooLong) { try self.name(longest + "a") }
    #expect(throws: MatrixUserID.Fault.tooLong) { try self.name(String(repeating: "\u{e4}", count: 100_000)) }
  }
}
