import HTTPMessage

/// A path of the file store: its segments decoded once, as bytes. No value of this type leads out of the folder it is used in.
package struct StorePath: Sendable, Hashable {
  /// Empty for the root.
  package let segments: [[UInt8]]
  /// The client wrote a slash at the end: it means a folder ([RFC 4918 §5.2](https://www.rfc-editor.org/rfc/rfc4918#section-5.2)).
  package let hasTrailingSlash: Bool

  package static let root = StorePath(segments: [], hasTrailingSlash: true)
  /// Deeper folders are refused: each level costs a descriptor and a step of recursion.
  package static let maximumDepth = 32

  private init(segments: [[UInt8]], hasTrailingSlash: Bool) {
    self.segments = segments
    self.hasTrailingSlash = hasTrailingSlash
  }

  /// Reads an absolute path with percent escapes, as a request line or `Destination` has it.
  ///
  /// Nil for what no file can be called: dot segments, empty segments, an encoded slash, control characters and what XML cannot carry,
  /// invalid UTF-8, a segment over 255 bytes, more than 32 segments.
  package init?(raw: some Sequence<UInt8>) {
    let raw = Array(raw)
    guard raw.first == UInt8(ascii: "/") else { return nil }
    var parts = raw.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    var hasTrailingSlash = false
    if parts.last?.isEmpty == true {
      hasTrailingSlash = true
      parts.removeLast()
    }
    guard parts.count <= Self.maximumDepth else { return nil }
    var segments: [[UInt8]] = []
    for part in parts {
      guard let name = PercentCoding.decode(part), Self.isName(name) else { return nil }
      segments.append(name)
    }
    self.init(segments: segments, hasTrailingSlash: hasTrailingSlash)
  }

  /// Nil for the root.
  package var name: [UInt8]? { segments.last }
  package var parents: ArraySlice<[UInt8]> { segments.dropLast() }

  package func appending(_ name: [UInt8], isFolder: Bool) -> StorePath {
    StorePath(segments: segments + [name], hasTrailingSlash: isFolder)
  }

  /// Is `other` this path or below it?
  package func holds(_ other: StorePath) -> Bool { other.segments.starts(with: segments) }

  /// The path as a reference in XML or a header: everything but unreserved characters escaped.
  package func href(isFolder: Bool) -> String {
    var out = "/"
    for (index, segment) in segments.enumerated() {
      if index > 0 { out += "/" }
      out += String(decoding: PercentCoding.encode(segment), as: UTF8.self)
    }
    if isFolder, !segments.isEmpty { out += "/" }
    return out
  }

  private static func isName(_ name: [UInt8]) -> Bool {
    guard !name.isEmpty, name.count <= 255, name != [0x2e], name != [0x2e, 0x2e] else { return false }
    guard let text = String(validating: name, as: UTF8.self) else { return false }
    return text.unicodeScalars.allSatisfy { scalar in
      scalar.value >= 0x20 && scalar.value != 0x7f && !(0x80...0x9f).contains(scalar.value) && scalar != "/"
        && scalar.value != 0xfffe && scalar.value != 0xffff
    }
  }
}
