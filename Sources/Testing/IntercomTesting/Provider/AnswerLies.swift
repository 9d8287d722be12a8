import HTTPMessage
import HTTPServer
import IntercomCore

/// Answers that are wrong whatever they carry.
extension MisbehavingProvider {
  func answer(_ honest: Response, _ bytes: [UInt8], _ lie: AnswerLie) -> Response {
    let json: Fields = ["Content-Type": "application/json"]
    switch lie {
    case .html, .status: return Self.page(lie)
    case .wrongType: return Response(honest.status, ["Content-Type": "text/plain"], bytes)
    case .typeMissing: return Response(honest.status, [:], bytes)
    case .oversized: return replace(honest, Self.padded(bytes, by: 4 << 20))
    case .bytes(let count): return Response(200, json, stream: Self.spaces(count))
    case .endless: return Response(200, json, stream: Self.spaces(nil))
    case .gzipBomb: return Response(200, ["Content-Type": "application/json", "Content-Encoding": "gzip"], Self.gzipBomb)
    case .redirect: return Response(307, ["Location": elsewhere], [])
    case .silence: return Response(200, json, stream: trickle([], pause: .seconds(3_600)))
    case .slowBytes: return Response(200, json, stream: trickle(bytes, pause: .milliseconds(50)))
    case .brokenOff:
      return Response(
        200, json,
        stream: .stream(length: bytes.count + 100) { writer in
          try await writer.write(bytes)
          throw BodyError.incomplete
        })
    case .oversizedHead:
      var response = replace(honest, bytes)
      for number in 0..<70 { response.fields.append("X-Padding-\(number)", String(repeating: "a", count: 1_000)) }
      return response
    default: return replace(honest, Self.written(bytes, lie))
    }
  }

  /// The same content, written so that two readers may see two documents.
  private static func written(_ bytes: [UInt8], _ lie: AnswerLie) -> [UInt8] {
    let other = #"{"issuer":"https://evil.example","access_token":"other","keys":[],"#
    switch lie {
    case .duplicateKeys: return Array(other.utf8) + bytes.dropFirst()
    case .truncated: return bytes.dropLast()
    case .empty: return []
    case .array: return Array("[".utf8) + bytes + Array("]".utf8)
    case .byteOrderMark: return [0xef, 0xbb, 0xbf] + bytes
    case .utf16: return bytes.flatMap { [$0, 0] }
    case .trailingComma: return bytes.dropLast() + Array(",}".utf8)
    case .deep:
      let (open, close) = ([UInt8](repeating: 0x5b, count: 10_000), [UInt8](repeating: 0x5d, count: 10_000))
      return Array(#"{"deep":"#.utf8) + open + close + Array(",".utf8) + bytes.dropFirst()
    case .twice: return bytes + bytes
    case .invalidUTF8: return Array(#"{"x":""#.utf8) + [0xff] + Array(#"","#.utf8) + bytes.dropFirst()
    default: return bytes
    }
  }

  private static func page(_ lie: AnswerLie) -> Response {
    let page = Array("<!doctype html><title>Proxy</title>".utf8)
    guard case .status(let code) = lie else { return Response(200, ["Content-Type": "text/html"], page) }
    return code == 204 ? Response(204) : Response(Status(code), ["Content-Type": "text/html"], page)
  }

  private static func padded(_ bytes: [UInt8], by count: Int) -> [UInt8] {
    Array(#"{"padding":""#.utf8) + [UInt8](repeating: UInt8(ascii: "a"), count: count) + Array(#"","#.utf8) + bytes.dropFirst()
  }

  /// White space is legal before a JSON text: whoever reads on waits for what never comes.
  private static func spaces(_ count: Int?) -> Response.Body {
    .stream(length: count) { writer in
      let piece = [UInt8](repeating: 0x20, count: 65_536)
      var rest = count ?? .max
      while rest > 0 {
        try await writer.write(Array(piece.prefix(rest)))
        rest -= min(rest, piece.count)
      }
    }
  }

  /// One byte at a time.
  private func trickle(_ bytes: [UInt8], pause: Duration) -> Response.Body {
    let time = time
    return .stream(length: bytes.count + 1) { writer in
      for byte in bytes {
        try await writer.write([byte])
        try await time.sleep(for: pause)
      }
      try await time.sleep(for: .seconds(3_600))
    }
  }

  /// A deflate block with the fixed codes (RFC 1951 §3.2.6): a space, then copies of 258 bytes at distance 1, 13 bits each, eight of which are
  /// 13 bytes. No end of block and no check sum: whoever unfolds it has done so before that is missed.
  private static let gzipBomb: [UInt8] = {
    var bits: [UInt8] = [0, 1, 0]  // not the last block; type 01, low bit first
    /// Huffman codes go high bit first.
    func code(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(value >> (count - 1 - $0) & 1) } }
    bits += code(0x30 + 0x20, 8)
    for _ in 0..<8 { bits += code(0xc0 + 285 - 280, 8) + code(0, 5) }
    let head: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]
    // The first 11 bits shift what follows by three: the pattern of 104 bits repeats from there.
    let pattern = Array(bits[11...])
    var stream = Array(bits[..<11])
    for _ in 0..<8 { stream += pattern }
    func bytes(_ bits: ArraySlice<UInt8>) -> [UInt8] {
      stride(from: bits.startIndex, to: bits.endIndex - 7, by: 8).map { start in
        (0..<8).reduce(UInt8(0)) { $0 | bits[start + $1] << UInt8($1) }
      }
    }
    let first = bytes(stream[..<16])
    let period = bytes(stream[16..<(16 + 104)])
    var out = head + first
    while out.count < 1 << 20 { out += period }
    return out
  }()
}
