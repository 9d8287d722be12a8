import HTTP1
import HTTPMessage

/// Values of Cookie fields: both readers of the house agree, and in what is left without our own cookies no reader finds one (S10).
enum CookieProperty {
  static let own = ["__Host-intercom", "intercom"]
  static let names = OwnCookieNames(own)

  static func check(_ bytes: [UInt8]) throws(Broken) {
    let found = cookies(bytes)
    var end = 0
    for cookie in found {
      try hold(cookie.pair.lower >= end && cookie.pair.upper <= bytes.count && !cookie.pair.isEmpty, "pairs overlap")
      let ranges = [cookie.name, cookie.value]
      try hold(ranges.allSatisfy { $0.lower >= cookie.pair.lower && $0.upper <= cookie.pair.upper }, "outside its pair")
      try hold(!cookie.pair.bytes(in: bytes.span).contains(UInt8(ascii: ";")), "a ; inside a pair")
      try hold(CookieScanner.split(bytes.span, cookie.pair) == cookie, "split reads another cookie")
      end = cookie.pair.upper
    }
    var fields = Fields()
    fields.append("Cookie", bytes: bytes)
    let endpoint = CookieHeader(fields).all.map { [$0.name, $0.value.reveal()] }
    let warm = found.map { [$0.name.bytes(in: bytes.span), $0.value.bytes(in: bytes.span)] }
    try hold(endpoint == warm, "endpoints and the warm path read different cookies")

    let kept = found.filter { !names.claims($0, in: bytes.span) }
    let forwarded = Array(kept.map { $0.pair.bytes(in: bytes.span) }.joined(separator: [UInt8(ascii: ";"), 0x20]))
    let again = cookies(forwarded)
    try hold(again.map { $0.pair.bytes(in: forwarded.span) } == kept.map { $0.pair.bytes(in: bytes.span) }, "written anew others come out")
    try hold(!again.contains { names.claims($0, in: forwarded.span) }, "our own cookie appears when the rest is written anew")
    for reader in CookieReader.all {
      for name in reader.names(forwarded) {
        try hold(!own.contains { Array($0.utf8).map(lower) == name }, "our own cookie survives for \(reader)")
      }
    }
    for index in found.indices where own.contains(where: { Array($0.utf8) == warm[index][0] }) {
      try hold(names.claims(found[index], in: bytes.span), "our own cookie is not known as ours")
    }
  }

  private static func cookies(_ bytes: [UInt8]) -> [CookiePair] {
    var scanner = CookieScanner(ByteRange(0, bytes.count))
    var out: [CookiePair] = []
    while let cookie = scanner.next(in: bytes.span) { out.append(cookie) }
    return out
  }

  private static func lower(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }

  /// How an upstream may read a Cookie field.
  struct CookieReader {
    /// RFC 2109 servers take a comma for a separator.
    var splitsAtComma: Bool
    /// Quotes hide separators (RFC 2965, older Java and Python servers).
    var honoursQuotes: Bool
    /// White space, control bytes, quotes and `$` around a name are skipped.
    var trims: Bool

    static let all = [false, true].flatMap { comma in
      [false, true].flatMap { quotes in [false, true].map { CookieReader(splitsAtComma: comma, honoursQuotes: quotes, trims: $0) } }
    }

    /// The names of all cookies, lower case; of one without `=` its whole text.
    func names(_ field: [UInt8]) -> [[UInt8]] {
      var pieces: [[UInt8]] = [[]]
      var isQuoted = false
      for byte in field {
        if honoursQuotes, byte == UInt8(ascii: "\"") { isQuoted.toggle() }
        if !isQuoted, byte == UInt8(ascii: ";") || (splitsAtComma && byte == UInt8(ascii: ",")) {
          pieces.append([])
        } else {
          pieces[pieces.count - 1].append(byte)
        }
      }
      return pieces.map { piece in
        let whole = trims ? trim(piece) : NaiveHead.trim(piece)
        // A nameless cookie (`=name=value`) is its value to browsers, and servers print it so.
        let body = whole.first == UInt8(ascii: "=") ? Array(whole.drop { $0 == UInt8(ascii: "=") }) : whole
        let name = Array(body.prefix { $0 != UInt8(ascii: "=") })
        return (trims ? trim(name) : NaiveHead.trim(name)).map(lower)
      }
    }

    private func trim(_ bytes: [UInt8]) -> [UInt8] {
      let isSkipped = { (byte: UInt8) in byte <= 0x20 || byte >= 0x7f || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "$") }
      return Array(bytes.drop(while: isSkipped).reversed().drop(while: isSkipped).reversed())
    }
  }
}
