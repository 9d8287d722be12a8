import FoundationEssentials
import IntercomTesting
import Testing

/// The inputs that `dev/fuzz` keeps, replayed. A finding becomes a line of the corpus, and this test fails until it is mended.
@Suite("The fuzzers' corpora")
struct CorpusTests {
  static func inputs(_ property: WireProperty) throws -> [[UInt8]] {
    let path = "\(PackageRoot.path)/Fuzzing/Corpus/\(property.rawValue).txt"
    let file = try #require(FileManager.default.contents(atPath: path), "\(path) is missing")
    return try #require(Corpus.inputs(Array(file)), "\(path) has a line that cannot be read")
  }

  @Test("every kept input holds its target's properties (S23, S24)", arguments: WireProperty.allCases)
  func replay(property: WireProperty) throws {
    let inputs = try Self.inputs(property)
    #expect(inputs.count >= 20)
    for input in inputs {
      #expect(throws: Never.self, "\(Corpus.line(input))") { try property.check(input) }
      // Cut and changed inputs are cheap neighbours.
      for count in stride(from: 0, to: input.count, by: 5) {
        #expect(throws: Never.self, "\(count) bytes of \(Corpus.line(input))") { try property.check(Array(input[..<count])) }
      }
      for index in stride(from: 0, to: input.count, by: 7) {
        var changed = input
        changed[index] ^= 0x20
        #expect(throws: Never.self, "\(Corpus.line(changed))") { try property.check(changed) }
      }
    }
  }

  @Test("the corpora hold accepted and refused heads: without both they would prove nothing")
  func bothKinds() throws {
    let requests = try Self.inputs(.request).map { ParsedRequest($0).result }
    #expect(requests.count { $0 == .complete } >= 20)
    #expect(Set(requests).count >= 20, "few kinds of refusal")
    let bodies = try Self.inputs(.chunked).map { ChunkedProperty.read($0, step: 3) }
    #expect(bodies.count(where: \.isDone) >= 8 && Set(bodies.compactMap(\.failure)).count >= 6)
  }

  @Test("a line of a corpus is its input, whatever its bytes")
  func escapes() {
    let all = (0...255).map { UInt8($0) }
    for input in [all, Array("# a\\ ".utf8), [0x20], Array("\\x41\r\n\t".utf8)] {
      #expect(Corpus.input(Corpus.line(input).utf8) == input)
    }
    #expect(Corpus.inputs(Array("# comment\nGET\\r\\n\n\na\n".utf8)) == [Array("GET\r\n".utf8), Array("a".utf8)])
    for bad in ["\\", "\\q", "\\x4", "\\xzz", "\u{e9}"] { #expect(Corpus.input(bad.utf8) == nil) }
  }
}
