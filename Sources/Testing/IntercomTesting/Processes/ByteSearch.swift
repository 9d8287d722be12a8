import Linux

extension [UInt8] {
  /// The positions where `needle` begins, overlapping ones too.
  package func positions(of needle: [UInt8]) -> [Int] {
    var found: [Int] = []
    var from = 0
    while let next = firstPosition(of: needle, in: self, from: from) {
      found.append(next)
      from = next + 1
    }
    return found
  }

  package func contains(_ text: String) -> Bool { firstPosition(of: Array(text.utf8), in: self) != nil }
}
