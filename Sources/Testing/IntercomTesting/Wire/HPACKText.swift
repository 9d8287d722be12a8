/// Field lists of HTTP/2 as a test client needs them ([RFC 7541](https://www.rfc-editor.org/rfc/rfc7541)): written as literals, so that a test
/// says every byte, and read without a dynamic table, which the client's settings forbid the server.
package enum HPACKText {
  /// Literals without indexing and without Huffman codes: whatever a test wants to send goes out as it is.
  package static func encode(_ fields: [(String, String)]) -> [UInt8] {
    var out: [UInt8] = []
    for (name, value) in fields {
      out.append(0)
      out += string(Array(name.utf8)) + string(Array(value.utf8))
    }
    return out
  }

  private static func string(_ bytes: [UInt8]) -> [UInt8] { integer(bytes.count, prefix: 7, first: 0) + bytes }

  /// §5.1
  package static func integer(_ value: Int, prefix: Int, first: UInt8) -> [UInt8] {
    let most = (1 << prefix) - 1
    guard value >= most else { return [first | UInt8(value)] }
    var out = [first | UInt8(most)]
    var rest = value - most
    while rest >= 128 {
      out.append(UInt8(rest % 128) | 0x80)
      rest /= 128
    }
    return out + [UInt8(rest)]
  }

  /// Nil when the block is broken or needs the dynamic table.
  package static func decode(_ block: [UInt8]) -> [(String, String)]? {
    var fields: [(String, String)] = []
    var at = 0
    while at < block.count {
      let first = block[at]
      if first & 0x80 != 0 {
        guard let index = readInteger(block, &at, prefix: 7), let entry = entry(index) else { return nil }
        fields.append(entry)
      } else if first & 0xe0 == 0x20 {
        guard readInteger(block, &at, prefix: 5) == 0 else { return nil }
      } else {
        guard let index = readInteger(block, &at, prefix: first & 0x40 != 0 ? 6 : 4) else { return nil }
        guard let name = index == 0 ? readString(block, &at) : entry(index)?.0, let value = readString(block, &at) else { return nil }
        fields.append((name, value))
      }
    }
    return fields
  }

  private static func entry(_ index: Int) -> (String, String)? { index >= 1 && index <= table.count ? table[index - 1] : nil }

  private static func readInteger(_ block: [UInt8], _ at: inout Int, prefix: Int) -> Int? {
    guard at < block.count else { return nil }
    let most = (1 << prefix) - 1
    var value = Int(block[at]) & most
    at += 1
    guard value == most else { return value }
    var shift = 0
    while at < block.count, shift < 28 {
      let byte = block[at]
      at += 1
      value += Int(byte & 0x7f) << shift
      if byte & 0x80 == 0 { return value }
      shift += 7
    }
    return nil
  }

  private static func readString(_ block: [UInt8], _ at: inout Int) -> String? {
    guard at < block.count else { return nil }
    let isHuffman = block[at] & 0x80 != 0
    guard let length = readInteger(block, &at, prefix: 7), length <= block.count - at else { return nil }
    let bytes = Array(block[at..<at + length])
    at += length
    return (isHuffman ? HuffmanText.decode(bytes) : bytes).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Appendix A
  private static let table: [(String, String)] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"), (":scheme", "http"),
    (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""), ("accept-encoding", "gzip, deflate"), ("accept-language", ""),
    ("accept-ranges", ""), ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
    ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""),
    ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""),
    ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
  ]
}

/// The Huffman code of HPACK (Appendix B). It is canonical: shorter codes first, those of one length in the order of their bytes; so the
/// lengths say all.
private enum HuffmanText {
  /// By code, with a leading 1 that says how long it is.
  private static let codes: [UInt32: UInt8] = {
    var codes: [UInt32: UInt8] = [:]
    var next: UInt32 = 0
    for length in 5...30 {
      for (byte, own) in lengths.enumerated() where own == length {
        codes[1 << UInt32(length) | next] = UInt8(byte)
        next += 1
      }
      next <<= 1
    }
    return codes
  }()

  static func decode(_ bytes: [UInt8]) -> [UInt8]? {
    var out: [UInt8] = []
    var code: UInt32 = 1
    for byte in bytes {
      for bit in (0..<8).reversed() {
        code = code << 1 | UInt32(byte >> UInt8(bit) & 1)
        if let found = codes[code] {
          out.append(found)
          code = 1
        } else if code >= 1 << 30 {
          return nil
        }
      }
    }
    // The rest is padding: fewer than eight ones.
    return code < 1 << 8 && (code + 1) & code == 0 ? out : nil
  }

  private static let lengths: [UInt8] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  ]
}
