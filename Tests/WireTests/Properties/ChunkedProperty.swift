import HTTP1
import HTTPMessage

/// Chunked bodies: where pieces are cut does not matter, `next`, `scan` and `decode` agree, a naive reader takes the same payload out, and
/// the payload written anew is the same.
enum ChunkedProperty {
  struct Outcome: Equatable {
    var payload: [UInt8] = []
    /// Bytes of the body; of a broken one nil, as nothing can follow it.
    var consumed: Int?
    var isDone = false
    var failure: ChunkFault?
  }

  static let guarded: FieldNameSet = ["X-Auth-User"]

  static func check(_ bytes: [UInt8]) throws(Broken) {
    let whole = read(bytes, step: max(1, bytes.count))
    for step in [1, 2, 5, 16] {
      let pieces = read(bytes, step: step)
      try hold(pieces == whole, "whole \(whole), by \(step) \(pieces)")
    }
    try hold(decoded(bytes) == whole, "next and decode differ")
    var scanner = ChunkedScanner(guarded: guarded)
    let consumed = scanner.scan(bytes.span)
    try hold(scanner.isDone == whole.isDone && scanner.failure == whole.failure, "next and scan differ")
    try hold(whole.failure != nil || consumed == whole.consumed, "scan ends at \(consumed), next at \(whole.consumed ?? -1)")
    try hold(!(whole.isDone && whole.failure != nil), "done and broken")
    try hold(whole.isDone || whole.failure != nil || consumed == bytes.count, "waits, but leaves bytes")
    guard whole.isDone, let end = whole.consumed else {
      try hold(whole.failure != nil || naive(bytes) == nil, "a naive reader is done, ours is not")
      return
    }
    try hold(scanner.scan(bytes.span) == 0, "reads on behind the end")
    guard let naive = naive(bytes) else { throw Broken("accepted, but a naive reader cannot read it") }
    try hold(naive.payload == whole.payload && naive.end == end, "a naive reader ends at \(naive.end), ours at \(end)")
    let again = read(written(whole.payload), step: 3)
    try hold(again.isDone && again.payload == whole.payload, "written anew it is another payload")
  }

  static func read(_ bytes: [UInt8], step: Int) -> Outcome {
    var scanner = ChunkedScanner(guarded: guarded)
    var out = Outcome()
    var start = 0
    while start < bytes.count {
      let end = min(start + step, bytes.count)
      let piece = bytes.span.extracting(start..<end)
      var at = 0
      steps: while true {
        switch scanner.next(piece, from: at) {
        case .payload(let range):
          out.payload += range.bytes(in: piece)
          at = range.upper
        case .needMore: break steps
        case .end(let offset):
          out.isDone = true
          out.consumed = start + offset
          return out
        case .fault(let fault):
          out.failure = fault
          return out
        }
      }
      start = end
    }
    out.consumed = bytes.count
    return out
  }

  private static func decoded(_ bytes: [UInt8]) -> Outcome {
    var scanner = ChunkedScanner(guarded: guarded)
    var out = Outcome()
    let consumed = scanner.decode(bytes.span) { piece in
      for index in 0..<piece.count { out.payload.append(piece[index]) }
    }
    out.isDone = scanner.isDone
    out.failure = scanner.failure
    out.consumed = out.failure == nil ? consumed : nil
    return out
  }

  /// RFC 9112 §7.1 line by line; nil when the body is not complete or a line ends without CRLF.
  static func naive(_ bytes: [UInt8]) -> (payload: [UInt8], end: Int)? {
    var payload: [UInt8] = []
    var at = 0
    func line() -> ArraySlice<UInt8>? {
      guard let lineFeed = bytes[at...].firstIndex(of: 0x0a), lineFeed > at, bytes[lineFeed - 1] == 0x0d else { return nil }
      defer { at = lineFeed + 1 }
      return bytes[at..<(lineFeed - 1)]
    }
    while let sizeLine = line() {
      let digits = sizeLine.prefix { $0 != UInt8(ascii: ";") }
      guard let size = Int(String(decoding: digits, as: UTF8.self), radix: 16), size >= 0, digits.first != UInt8(ascii: "+")
      else { return nil }
      if size == 0 {
        while let trailer = line() { if trailer.isEmpty { return (payload, at) } }
        return nil
      }
      guard size <= bytes.count - at - 2, bytes[at + size] == 0x0d, bytes[at + size + 1] == 0x0a else { return nil }
      payload += bytes[at..<(at + size)]
      at += size + 2
    }
    return nil
  }

  /// The payload in chunks of up to ten bytes.
  static func written(_ payload: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    for start in stride(from: 0, to: payload.count, by: 10) {
      let piece = payload[start..<min(start + 10, payload.count)]
      out += Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + [0x0d, 0x0a]
    }
    return out + Array("0\r\n\r\n".utf8)
  }
}
