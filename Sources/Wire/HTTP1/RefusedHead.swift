import HTTPMessage

/// What can be said of a head that the parser refused for what it says, although each of its lines can be read.
package enum RefusedHead {
  /// Where the value of its Origin stands. Nil without one, with several, and when the head is not there to its end or one of its field lines is no
  /// sound line: then nobody can tell what it says. The request line is not looked at.
  package static func origin(_ bytes: borrowing Span<UInt8>, _ limits: HeadLimits) -> ByteRange? {
    // One empty line before a request is forgiven.
    let start = bytes.count > 1 && bytes[0] == ASCII.cr && bytes[1] == ASCII.lf ? 2 : 0
    let lineFeed = find(ASCII.lf, bytes, start, bytes.count)
    guard lineFeed > start, lineFeed < bytes.count, bytes[lineFeed &- 1] == ASCII.cr else { return nil }
    var at = lineFeed &+ 1
    var origin: ByteRange?
    for _ in 0...limits.fieldCount {
      if hasBytes(bytes, at, 2), load2(bytes, at) == 0x0a0d { return at &+ 2 <= limits.head ? origin : nil }
      var field = HeadField()
      guard FieldLine.scan(bytes, at, &field) == .field, Int(field.end) > at, Int(field.end) <= limits.head else { return nil }
      if field.id == .origin {
        guard origin == nil else { return nil }
        origin = field.value
      }
      at = Int(field.end)
    }
    return nil
  }
}

extension HeadRefusal {
  /// The request target is what is wrong: the method stands before it, and was read.
  package var isOfTarget: Bool {
    switch self {
    case .badTarget, .badAbsoluteTarget, .fragment, .badEscape, .nulInPath, .backslash, .dotSegment: true
    default: false
    }
  }
}
