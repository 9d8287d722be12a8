import HTTPMessage

/// How a server may read a path: each of these differences has been the cause of an advisory.
struct PathReader {
  var decodes: Int
  var backslashIsSlash: Bool
  var dropsParameters: Bool
  var mergesSlashes: Bool
  var cutsAtNUL: Bool

  static let all: [PathReader] = [1, 0].flatMap { decodes in
    [false, true].flatMap { backslash in
      [false, true].flatMap { parameters in
        [false, true].map {
          PathReader(decodes: decodes, backslashIsSlash: backslash, dropsParameters: parameters, mergesSlashes: $0, cutsAtNUL: true)
        }
      }
    }
  }

  /// The segments of the resource that this reader serves; nil when it would refuse.
  func resource(_ path: [UInt8]) -> [[UInt8]]? {
    var bytes = path
    for _ in 0..<decodes {
      guard let decoded = PercentCoding.decode(bytes) else { return nil }
      bytes = decoded
    }
    if cutsAtNUL, let nul = bytes.firstIndex(of: 0) { bytes = Array(bytes[..<nul]) }
    if backslashIsSlash { bytes = bytes.map { $0 == UInt8(ascii: "\\") ? UInt8(ascii: "/") : $0 } }
    var out: [[UInt8]] = []
    for piece in bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: mergesSlashes).map(Array.init).dropFirst(
      mergesSlashes ? 0 : 1)
    {
      let segment = dropsParameters ? Array(piece.prefix { $0 != UInt8(ascii: ";") }) : piece
      switch segment {
      case Array(".".utf8): continue
      case Array("..".utf8): _ = out.popLast()
      default: out.append(segment)
      }
    }
    return out
  }
}
