import HTTPMessage

/// Why a chunked body is broken: its message cannot be finished, and neither connection can be used again.
package enum ChunkFault: UInt8, Error, Sendable, Hashable, CaseIterable {
  case badSize, sizeTooLarge, badExtension, extensionsTooLarge, badLineEnding, badTrailer, trailersTooLarge, forbiddenTrailer

  /// A short stable word for logs and metrics.
  package var code: String {
    switch self {
    case .badSize: "bad_chunk_size"
    case .sizeTooLarge: "chunk_too_large"
    case .badExtension: "bad_chunk_extension"
    case .extensionsTooLarge: "chunk_extensions_too_large"
    case .badLineEnding: "bad_chunk_line_ending"
    case .badTrailer: "bad_trailer"
    case .trailersTooLarge: "trailers_too_large"
    case .forbiddenTrailer: "forbidden_trailer"
    }
  }
}

/// What the next bytes of a chunked body are.
package enum ChunkStep: Sendable, Hashable {
  /// Payload in this range; go on behind it.
  case payload(ByteRange)
  /// All bytes are read; more must come.
  case needMore
  /// The body ends before this offset.
  case end(Int)
  case fault(ChunkFault)
}

/// Tracks where a chunked body (RFC 9112 §7.1) ends. Its bytes may pass untouched (`scan`), or its payload is taken out (`next`).
///
/// Strict, because every leniency here is a known way to smuggle: sizes are digits only, lines end in CRLF, extensions are names with
/// tokens or quoted strings (§7.1.1) without the white space that no sender may write, extensions and trailers have bounded sizes, and a
/// trailer may not carry what only a head may (framing, routing, identity).
package struct ChunkedScanner: Sendable {
  private enum State: UInt8 {
    case size, extensionStart, extensionName, valueStart, token, quoted, escaped, unquoted, sizeLF, data, dataCR, dataLF
    case trailerStart, trailerName, trailerValue, trailerLF, endLF, done, failed
  }

  /// Extensions of all chunks together; nobody uses them but attackers, who make each byte of payload cost many (CVE-2023-39326).
  package static let mostExtensionBytes = 4 << 10
  /// The trailer section.
  package static let mostTrailerBytes = 8 << 10
  /// 2^52: fits the arithmetic of every peer.
  private static let mostSizeDigits: UInt8 = 13

  private var state: State = .size
  private var digits: UInt8 = 0
  private var left = 0
  private var extensionBytes = 0
  private var trailerBytes = 0
  private var trailerName: [UInt8] = []
  private var fault: ChunkFault?
  private let guarded: FieldNameSet
  private let keepsTrailers: Bool
  /// The trailer section as it came, its empty line included; empty unless it is kept.
  package private(set) var trailerLines: [UInt8] = []

  /// - Parameters:
  ///   - guarded: further names that no trailer may have, such as the identity fields that Intercom sets.
  ///   - keepsTrailers: for whoever does not pass the bytes on as they came.
  package init(guarded: FieldNameSet = FieldNameSet(), keepsTrailers: Bool = false) {
    self.guarded = guarded
    self.keepsTrailers = keepsTrailers
  }

  package var isDone: Bool { state == .done }
  /// Why the body is broken, once it is.
  package var failure: ChunkFault? { fault }

  /// How many of these bytes belong to this body. Fewer than all when it is done or broken (`isDone`, `failure`).
  package mutating func scan(_ bytes: borrowing Span<UInt8>) -> Int {
    var at = 0
    while true {
      switch next(bytes, from: at) {
      case .payload(let range): at = range.upper
      case .needMore: return bytes.count
      case .end(let end): return end
      case .fault: return at
      }
    }
  }

  /// The next step from `at` on. After `payload` go on at its end; after `needMore` begin at the start of the next bytes.
  package mutating func next(_ bytes: borrowing Span<UInt8>, from start: Int) -> ChunkStep {
    var at = start
    let count = bytes.count
    while at < count {
      if state == .data {
        let size = min(left, count &- at)
        left &-= size
        if left == 0 { state = .dataCR }
        return .payload(ByteRange(at, at &+ size))
      }
      if state == .done { return .end(at) }
      if state == .failed { return .fault(fault ?? .badSize) }
      let failure = state.rawValue < State.trailerStart.rawValue ? frame(bytes[at]) : trailer(bytes[at])
      if let failure {
        state = .failed
        fault = failure
        return .fault(failure)
      }
      at &+= 1
    }
    return state == .done ? .end(at) : .needMore
  }

  /// A byte of a chunk's size line or of the CRLF behind its data.
  @inline(__always) private mutating func frame(_ byte: UInt8) -> ChunkFault? {
    switch state {
    case .size:
      if let value = hexValue(byte) {
        digits &+= 1
        if digits > Self.mostSizeDigits { return .sizeTooLarge }
        left = left &<< 4 | value
      } else if digits == 0 {
        return .badSize
      } else if byte == ASCII.cr {
        state = .sizeLF
      } else if byte == ASCII.semicolon {
        state = .extensionStart
      } else {
        return .badSize
      }
    case .sizeLF:
      guard byte == ASCII.lf else { return .badLineEnding }
      digits = 0
      state = left == 0 ? .trailerStart : .data
    case .dataCR:
      guard byte == ASCII.cr else { return .badLineEnding }
      state = .dataLF
    case .dataLF:
      guard byte == ASCII.lf else { return .badLineEnding }
      state = .size
    default: return extensions(byte)
    }
    return nil
  }

  /// A byte of `*( ";" chunk-ext-name [ "=" ( token / quoted-string ) ] )`.
  private mutating func extensions(_ byte: UInt8) -> ChunkFault? {
    extensionBytes &+= 1
    if extensionBytes > Self.mostExtensionBytes { return .extensionsTooLarge }
    switch (state, byte) {
    case (.quoted, UInt8(ascii: "\"")): state = .unquoted
    case (.quoted, UInt8(ascii: "\\")): state = .escaped
    case (.quoted, _), (.escaped, _):
      guard isText(byte) else { return .badExtension }
      state = .quoted
    case (.valueStart, UInt8(ascii: "\"")): state = .quoted
    case (.extensionName, ASCII.equals): state = .valueStart
    case (.extensionName, ASCII.cr), (.token, ASCII.cr), (.unquoted, ASCII.cr): state = .sizeLF
    case (.extensionName, ASCII.semicolon), (.token, ASCII.semicolon), (.unquoted, ASCII.semicolon): state = .extensionStart
    case (.extensionStart, _) where isToken(byte), (.extensionName, _) where isToken(byte): state = .extensionName
    case (.valueStart, _) where isToken(byte), (.token, _) where isToken(byte): state = .token
    default: return .badExtension
    }
    return nil
  }

  /// A byte of the trailer section, whose lines are fields like those of a head.
  private mutating func trailer(_ byte: UInt8) -> ChunkFault? {
    trailerBytes &+= 1
    if trailerBytes > Self.mostTrailerBytes { return .trailersTooLarge }
    if keepsTrailers { trailerLines.append(byte) }
    switch state {
    case .trailerStart:
      if byte == ASCII.cr {
        state = .endLF
      } else {
        guard isToken(byte) else { return .badTrailer }
        trailerName.removeAll(keepingCapacity: true)
        trailerName.append(byte)
        state = .trailerName
      }
    case .trailerName:
      if byte == ASCII.colon {
        if FieldTwin.isGuarded(trailerName.span, ids: .forbiddenTrailers, names: guarded) { return .forbiddenTrailer }
        state = .trailerValue
      } else {
        guard isToken(byte) else { return .badTrailer }
        trailerName.append(byte)
      }
    case .trailerValue:
      if byte == ASCII.cr { state = .trailerLF } else if !isText(byte) { return .badTrailer }
    case .trailerLF:
      guard byte == ASCII.lf else { return .badLineEnding }
      state = .trailerStart
    default:
      guard byte == ASCII.lf else { return .badLineEnding }
      state = .done
    }
    return nil
  }

  /// Hands each piece of payload in these bytes to `take` and says how many of the bytes belong to the body, as `scan` does.
  package mutating func decode(_ bytes: borrowing Span<UInt8>, _ take: (borrowing Span<UInt8>) -> Void) -> Int {
    var at = 0
    while true {
      switch next(bytes, from: at) {
      case .payload(let range):
        take(bytes.extracting(range.lower..<range.upper))
        at = range.upper
      case .needMore: return bytes.count
      case .end(let end): return end
      case .fault: return at
      }
    }
  }

  @inline(__always) private func isText(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7f || byte == ASCII.tab }
}
