import Cryptography
import IntercomCore

/// A secret, or a part of one, found where it may not be.
package struct CanaryFind: Sendable, CustomStringConvertible {
  /// The secret's name.
  package let secret: String
  /// Where it was found, such as `log`.
  package let sink: String
  package let form: CanaryForm
  /// What stands before it, with everything that could be a secret masked.
  package let context: String

  package var description: String { "\(secret) is in \(sink) as \(form.rawValue), after \"\(context)\"" }
}

/// A way to write a secret's bytes.
package enum CanaryForm: String, Sendable, CaseIterable {
  /// As they are.
  case raw
  /// `%41`, once or twice.
  case percent
  /// `\u0041`, `\"`, `\/` of JSON, `\x41`, and the character references of HTML.
  case escaped
  /// Both alphabets, at any offset within other bytes.
  case base64
  /// `4141`, `41 41`, `41:41`, `0x41, 0x41`.
  case hex
  /// `[65, 65]`, as `dump` and `print` show arrays of bytes.
  case decimal
  /// UTF-16: a zero byte beside each.
  case wide

}

/// A secret that cannot be told from chance: a canary needs `CanarySearch.shortest` bytes.
package struct CanaryTooShort: Error, Sendable {
  package let name: String
  package let count: Int
}

/// Looks for marked secrets in whatever a program leaves behind (fault 57).
///
/// Every secret is looked for as a whole and in pieces, so that neither a cut nor an encoding hides it: every piece of 15 bytes or more is
/// found, and the first and last 12. A secret of fewer than 12 bytes cannot be told from chance and is refused.
package struct CanarySearch: Sendable {
  /// The shortest secret, in bytes.
  package static let shortest = 12
  private var names: [String] = []
  private var plain = PieceIndex(length: Self.shortest)
  /// 12 bytes in digits of base64.
  private var base64 = PieceIndex(length: 16)
  private var hex = PieceIndex(length: 24)
  private var allowed: [[UInt8]] = []

  package init() {}

  /// Looks for this value from now on. Throws for one that is too short.
  package mutating func add(_ name: String, _ value: some Sequence<UInt8>) throws(CanaryTooShort) {
    let bytes = Array(value)
    guard bytes.count >= Self.shortest else {
      throw CanaryTooShort(name: name, count: bytes.count)
    }
    let secret = names.count
    names.append(name)
    plain.add(bytes, secret, step: 4)
    hex.add(Hex.digits(bytes), secret, step: 4)
    // The digits of base64 depend on how many bytes stand before; those that depend on neighbours are left out.
    for before in 0..<3 {
      let digits = Base64.encodedBytes([UInt8](repeating: 0, count: before) + bytes).filter { $0 != UInt8(ascii: "=") }
      let first = (before * 8 + 5) / 6
      let whole = (before + bytes.count) * 8 / 6
      base64.add(Array(digits[first..<whole]), secret, step: 1)
    }
  }

  package mutating func add(_ name: String, _ value: String) throws(CanaryTooShort) { try add(name, value.utf8) }

  /// A value that may stand in the sinks to come, as it is: it is cut out before the search. (A token in `id_token_hint`, the session cookie in
  /// its own Set-Cookie.)
  package func allowing(_ values: [String]) -> CanarySearch {
    var copy = self
    copy.allowed += values.filter { !$0.isEmpty }.map { Array($0.utf8) }
    return copy
  }

  /// How many secrets are looked for.
  package var count: Int { names.count }

  /// Each secret that is there, once, with the first form in which it was found.
  package func search(_ sink: String, _ bytes: [UInt8]) -> [CanaryFind] {
    let bytes = allowed.reduce(bytes) { $0.cutting($1) }
    var finds: [CanaryFind] = []
    var seen: Set<Int> = []
    func note(_ form: CanaryForm, _ index: PieceIndex, _ view: [UInt8]) {
      for (secret, position) in index.matches(in: view) where seen.insert(secret).inserted {
        finds.append(CanaryFind(secret: names[secret], sink: sink, form: form, context: Self.masked(view, before: position)))
      }
    }
    note(.raw, plain, bytes)
    let once = CanaryViews.percentDecoded(bytes)
    note(.percent, plain, once)
    note(.percent, plain, CanaryViews.percentDecoded(once))
    note(.escaped, plain, CanaryViews.unescaped(bytes))
    note(.escaped, plain, CanaryViews.unescaped(once))
    for view in [bytes, once] { note(.base64, base64, CanaryViews.oneAlphabet(view)) }
    note(.hex, hex, CanaryViews.hexDigits(bytes))
    note(.decimal, plain, CanaryViews.decimalBytes(bytes))
    if bytes.contains(0) { note(.wide, plain, bytes.filter { $0 != 0 }) }
    return finds
  }

  package func search(_ sink: String, _ text: String) -> [CanaryFind] { search(sink, Array(text.utf8)) }

  /// At most 40 bytes, words with digits or capitals and long words left out.
  private static func masked(_ bytes: [UInt8], before position: Int) -> String {
    let text = String(decoding: bytes[max(0, position - 40)..<position].map { $0 >= 0x20 && $0 < 0x7f ? $0 : 32 }, as: UTF8.self)
    let words = text.split(whereSeparator: { !($0.isLetter || $0.isNumber) })
    return words.map { $0.count > 12 || $0.contains(where: \.isNumber) ? "…" : String($0) }.joined(separator: " ")
  }
}

enum Hex {
  static func digits(_ bytes: [UInt8]) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }
}

/// All pieces of one length, found in a text by one pass (a rolling hash).
private struct PieceIndex: Sendable {
  let length: Int
  private var pieces: [UInt64: [(secret: Int, bytes: [UInt8])]] = [:]
  /// Tells most positions apart without asking the dictionary.
  private var filter = [Bool](repeating: false, count: 1 << 20)
  private static let factor: UInt64 = 0x100_0000_01b3

  init(length: Int) { self.length = length }

  /// Every `step`th piece, and the last.
  mutating func add(_ bytes: [UInt8], _ secret: Int, step: Int) {
    guard bytes.count >= length else { return }
    var starts = Array(stride(from: 0, through: bytes.count - length, by: step))
    starts.append(bytes.count - length)
    for start in starts {
      let piece = Array(bytes[start..<(start + length)])
      let hash = piece.reduce(UInt64(0)) { $0 &* Self.factor &+ UInt64($1) }
      if pieces[hash]?.contains(where: { $0.secret == secret && $0.bytes == piece }) == true { continue }
      pieces[hash, default: []].append((secret, piece))
      filter[Self.slot(hash)] = true
    }
  }

  private static func slot(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: (hash ^ (hash >> 31)) & 0xf_ffff) }

  /// Secrets with the position of their piece.
  func matches(in text: [UInt8]) -> [(secret: Int, position: Int)] {
    guard text.count >= length, !pieces.isEmpty else { return [] }
    var found: [(secret: Int, position: Int)] = []
    var leaving: UInt64 = 1
    for _ in 0..<length { leaving = leaving &* Self.factor }
    var hash: UInt64 = 0
    for index in text.indices {
      hash = hash &* Self.factor &+ UInt64(text[index])
      if index >= length { hash = hash &- leaving &* UInt64(text[index - length]) }
      guard index >= length - 1, filter[Self.slot(hash)], let candidates = pieces[hash] else { continue }
      let start = index - length + 1
      for candidate in candidates where candidate.bytes.elementsEqual(text[start...index]) { found.append((candidate.secret, start)) }
    }
    return found
  }
}

extension [UInt8] {
  /// Without every occurrence of `part`, a space in its place.
  fileprivate func cutting(_ part: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    var from = 0
    for position in positions(of: part) where position >= from {
      out += self[from..<position] + [32]
      from = position + part.count
    }
    return from == 0 ? self : out + self[from...]
  }
}
