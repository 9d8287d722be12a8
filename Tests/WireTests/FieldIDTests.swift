import HTTP1
import HTTPMessage
import Testing

@Suite("Field names by number")
struct FieldIDTests {
  static let families: [FieldID] = [.secFetchOther, .accessControlOther, .xForwardedOther, .xOriginalOther]
  static let known = FieldID.allCases.filter { $0 != .other && !families.contains($0) }

  func lookup(_ name: String) -> FieldID {
    let bytes = latin1("xx" + name + ": value")
    return FieldID.lookup(bytes.span, 2, name.utf8.count)
  }

  @Test("every name is found in any case of its letters", arguments: known)
  func found(id: FieldID) {
    #expect(lookup(id.name) == id)
    #expect(lookup(id.name.lowercased()) == id)
    #expect(lookup(id.name.uppercased()) == id)
  }

  @Test("no near miss of a name is taken for it", arguments: known)
  func nearMisses(id: FieldID) {
    let name = latin1(id.name)
    for index in name.indices {
      for byte in UInt8(0)...255 where lower(byte) != lower(name[index]) {
        var other = name
        other[index] = byte
        let bytes = other + latin1(": padding")
        let found = FieldID.lookup(bytes.span, 0, other.count)
        #expect(found != id, "\(String(decoding: other, as: UTF8.self))")
      }
    }
    for other in ["x" + id.name, id.name + "x", String(id.name.dropLast()), String(id.name.dropFirst())] {
      #expect(lookup(other) != id)
    }
  }

  @Test("members of a family that have no number of their own have the family's", arguments: families)
  func family(id: FieldID) {
    #expect(lookup(id.name + "Something") == id)
    #expect(lookup(id.name.lowercased() + "x") == id)
    #expect(lookup(id.name) == .other)
  }

  @Test("a lookup outside of the bytes finds nothing")
  func outside() {
    let bytes = latin1("Host")
    #expect(FieldID.lookup(bytes.span, 1, 4) == .other)
    #expect(FieldID.lookup(bytes.span, -1, 4) == .other)
    #expect(FieldID.lookup(bytes.span, 9, 4) == .other)
    #expect(FieldID.lookup(bytes.span, 0, Int.max) == .other)
  }

  @Test("all ids fit one word")
  func fits() { #expect(FieldID.allCases.count <= 64) }

  @Test("a byte that no name may have is refused wherever it stands in a known name (S23)", arguments: known)
  func badBytes(id: FieldID) {
    let name = latin1(id.name)
    for index in 0...name.count {
      for byte: UInt8 in [0, 0x0d, 0x20, 0x28, 0x7f, 0x8d, 0xff] {
        var inserted = name
        inserted.insert(byte, at: index)
        expectRefused(inserted)
        guard index < name.count else { continue }
        inserted = name
        inserted[index] = byte
        expectRefused(inserted)
      }
    }
  }

  private func expectRefused(_ name: [UInt8]) {
    let refusal = ParsedRequest(latin1("GET / HTTP/1.1\r\nHost: h\r\n") + name + latin1(": x\r\nAccept: */*\r\n\r\n")).refusal
    #expect(
      [.badFieldName, .spaceBeforeColon, .obsFold, .badLineEnding].contains(refusal), "\(name) \(String(describing: refusal))")
  }

  private func lower(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }
}
