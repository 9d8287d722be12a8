/// Writes one JSON line of bounded length.
struct LogLine {
  /// With its line feed it never exceeds this, which is what a pipe takes whole (PIPE_BUF).
  static let limit = 4096
  /// One message, or one value, in bytes of its source text: a stack of header values must not push the other fields out.
  static let textLimit = 1024

  private var bytes: [UInt8] = []
  private var truncated = false
  /// Room for `,"truncated":true}` and the line feed.
  private static let reserve = 20

  init(time microseconds: Int64, level: LogLevel, event: StaticString, message: String) {
    bytes.reserveCapacity(512)
    bytes += Array(#"{"ts":""#.utf8)
    Self.appendTimestamp(microseconds, to: &bytes)
    bytes += Array(#"","level":"\#(level.name)","event":"#.utf8)
    appendText(event.description)
    bytes += Array(#","message":"#.utf8)
    appendText(message)
  }

  /// Adds a field, or marks the line as truncated when it has no room left. A name that the line has of its own gets a trailing `_`.
  mutating func append(_ name: String, _ value: LogValue) {
    let before = bytes.count
    bytes.append(UInt8(ascii: ","))
    appendText(["ts", "level", "event", "message", "truncated"].contains(name) ? name + "_" : name)
    bytes.append(UInt8(ascii: ":"))
    switch value {
    case .string(let text): appendText(text)
    case .integer(let number): bytes += Array(String(number).utf8)
    case .boolean(let flag): bytes += Array((flag ? "true" : "false").utf8)
    case .redacted: bytes += Array(#""<redacted>""#.utf8)
    }
    guard bytes.count > Self.limit - Self.reserve else { return }
    bytes.removeSubrange(before...)
    truncated = true
  }

  /// The whole line with its line feed.
  consuming func finish() -> [UInt8] {
    if truncated { bytes += Array(#","truncated":true"#.utf8) }
    bytes += [UInt8(ascii: "}"), UInt8(ascii: "\n")]
    return bytes
  }

  /// A JSON string. What could break the line, move a terminal's cursor or turn the direction of text is written as `\u00XX`.
  private mutating func appendText(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    var room = Self.textLimit
    for scalar in text.unicodeScalars {
      let width = Self.needsEscape(scalar.value) ? 6 : UTF8.width(scalar)
      guard width <= room else {
        bytes += Array("…".utf8)
        truncated = true
        break
      }
      room -= width
      switch scalar.value {
      case 0x22, 0x5c: bytes += [UInt8(ascii: "\\"), UInt8(scalar.value)]
      case let value where Self.needsEscape(value): Self.appendEscape(value, to: &bytes)
      default: bytes += Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// C0, DEL and C1 controls, line and paragraph separators, bidirectional overrides and isolates, the byte order mark.
  private static func needsEscape(_ value: UInt32) -> Bool {
    switch value {
    case 0..<0x20, 0x7f...0x9f, 0x200e...0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff: true
    default: false
    }
  }

  private static func appendEscape(_ value: UInt32, to bytes: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    bytes += [UInt8(ascii: "\\"), UInt8(ascii: "u")]
    for shift in [12, 8, 4, 0] as [UInt32] { bytes.append(digits[Int((value >> shift) & 15)]) }
  }

  /// [RFC 3339 §5.6](https://www.rfc-editor.org/rfc/rfc3339#section-5.6) in UTC with milliseconds: `2026-11-21T09:08:07.006Z`.
  static func appendTimestamp(_ microseconds: Int64, to bytes: inout [UInt8]) {
    let clamped = min(max(microseconds, 0), 253_402_300_799_999_999)  // the last microsecond of year 9999
    let seconds = clamped / 1_000_000
    let date = CivilDate(daysSince1970: seconds / 86_400)
    let second = seconds % 86_400
    appendDigits(date.year, 4, to: &bytes)
    bytes.append(UInt8(ascii: "-"))
    appendDigits(date.month, 2, to: &bytes)
    bytes.append(UInt8(ascii: "-"))
    appendDigits(date.day, 2, to: &bytes)
    bytes.append(UInt8(ascii: "T"))
    appendDigits(second / 3_600, 2, to: &bytes)
    bytes.append(UInt8(ascii: ":"))
    appendDigits(second / 60 % 60, 2, to: &bytes)
    bytes.append(UInt8(ascii: ":"))
    appendDigits(second % 60, 2, to: &bytes)
    bytes.append(UInt8(ascii: "."))
    appendDigits(clamped / 1_000 % 1_000, 3, to: &bytes)
    bytes.append(UInt8(ascii: "Z"))
  }

  private static func appendDigits(_ number: Int64, _ width: Int, to bytes: inout [UInt8]) {
    var divisor: Int64 = 1
    for _ in 1..<max(width, 2) { divisor *= 10 }
    while divisor > 0 {
      bytes.append(UInt8(ascii: "0") + UInt8(number / divisor % 10))
      divisor /= 10
    }
  }
}

/// A day of the proleptic Gregorian calendar, by the era arithmetic of 400 years (146,097 days).
private struct CivilDate {
  let year: Int64
  let month: Int64
  let day: Int64

  /// `days` ≥ 0.
  init(daysSince1970 days: Int64) {
    let shifted = days + 719_468  // days from 0000-03-01, so that the leap day ends a year
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }
}
