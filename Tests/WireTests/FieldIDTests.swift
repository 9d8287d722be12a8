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
      for byte in UInt8(0)...255 where isToken(byte) && byte | 0x20 != name[index] | 0x20 {
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

  private func isToken(_ byte: UInt8) -> Bool {
    byte < 128
      && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber || "!#$%&'*+-.^_`|~".utf8.contains(byte))
  }
}
