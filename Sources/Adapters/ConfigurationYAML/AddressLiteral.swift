/// An IP address literal, strictly read: no leading zeros, no octal or hexadecimal IPv4, no zone.
package enum AddressLiteral: Sendable, Hashable {
  case v4([UInt8])
  /// Eight groups of 16 bits.
  case v6([UInt16])

  package init?(_ text: some StringProtocol) {
    if let bytes = Self.v4Bytes(text) {
      self = .v4(bytes)
    } else if let groups = Self.v6Groups(text) {
      self = .v6(groups)
    } else {
      return nil
    }
  }

  package var isLoopback: Bool {
    switch self {
    case .v4(let bytes): bytes.first == 127
    case .v6(let groups): groups.dropLast().allSatisfy { $0 == 0 } && groups.last == 1
    }
  }

  /// Every address of its family.
  package var isAny: Bool {
    switch self {
    case .v4(let bytes): bytes.allSatisfy { $0 == 0 }
    case .v6(let groups): groups.allSatisfy { $0 == 0 }
    }
  }

  package var isV6: Bool { if case .v6 = self { true } else { false } }

  /// The canonical text, without brackets ([RFC 5952 §4](https://www.rfc-editor.org/rfc/rfc5952#section-4)).
  package var text: String {
    switch self {
    case .v4(let bytes): bytes.map(String.init).joined(separator: ".")
    case .v6(let groups): Self.compressed(groups)
    }
  }

  private static func v4Bytes(_ text: some StringProtocol) -> [UInt8]? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    let bytes = parts.compactMap { wholeNumber(String($0)).flatMap { UInt8(exactly: $0) } }
    return bytes.count == 4 ? bytes : nil
  }

  private static func v6Groups(_ text: some StringProtocol) -> [UInt16]? {
    guard text.utf8.count <= 45 else { return nil }
    let halves = String(text).split(separator: "::", omittingEmptySubsequences: false).map { groups(of: $0) }
    switch halves.count {
    case 1:
      guard let all = halves[0], all.count == 8 else { return nil }
      return all
    case 2:
      guard let head = halves[0], let tail = halves[1], head.count + tail.count <= 7 else { return nil }
      return head + [UInt16](repeating: 0, count: 8 - head.count - tail.count) + tail
    default: return nil
    }
  }

  private static func groups(of text: Substring) -> [UInt16]? {
    guard !text.isEmpty else { return [] }
    var groups: [UInt16] = []
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    for (index, part) in parts.enumerated() {
      if index == parts.count - 1, part.contains("."), let bytes = v4Bytes(part) {
        groups.append(UInt16(bytes[0]) << 8 | UInt16(bytes[1]))
        groups.append(UInt16(bytes[2]) << 8 | UInt16(bytes[3]))
        continue
      }
      guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy({ isHex($0) }), let group = UInt16(part, radix: 16) else { return nil }
      groups.append(group)
    }
    return groups
  }

  private static func isHex(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): true
    default: false
    }
  }

  private static func compressed(_ groups: [UInt16]) -> String {
    var best = 0..<0
    var start = 0
    for index in 0...groups.count where index == groups.count || groups[index] != 0 {
      if index - start > max(1, best.count) { best = start..<index }
      start = index + 1
    }
    let words = groups.map { String($0, radix: 16) }
    guard !best.isEmpty else { return words.joined(separator: ":") }
    return words[..<best.lowerBound].joined(separator: ":") + "::" + words[best.upperBound...].joined(separator: ":")
  }
}
