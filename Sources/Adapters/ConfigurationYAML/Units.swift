/// Decimal digits only, so that `08`, `1e3`, `0x10` and `+1` cannot be read in two ways.
package func wholeNumber(_ text: String) -> Int? {
  let digits = Array(text.utf8)
  guard (1...18).contains(digits.count), digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
  guard digits.count == 1 || digits.first != UInt8(ascii: "0") else { return nil }
  return Int(text)
}

private func split(_ text: String) -> (number: Int, unit: String)? {
  let digits = text.prefix { $0.isASCII && $0.isNumber }
  guard let number = wholeNumber(String(digits)) else { return nil }
  return (number, String(text.dropFirst(digits.count)))
}

private let durationUnits: [(name: String, milliseconds: Int)] = [
  ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
]

/// `500ms`, `5s`, `10m`, `24h`, `7d`; nil for anything else, and for more than 292 million years.
package func parseDuration(_ text: String) -> Duration? {
  guard let (number, unit) = split(text), let scale = durationUnits.first(where: { $0.name == unit })?.milliseconds else { return nil }
  let (milliseconds, overflow) = number.multipliedReportingOverflow(by: scale)
  return overflow ? nil : .milliseconds(milliseconds)
}

/// In the largest unit that keeps it whole; one or two days are shown in hours and one or two minutes in seconds, as people say `24h` and
/// `60s`.
package func showDuration(_ duration: Duration) -> String {
  let (seconds, attoseconds) = duration.components
  let (scaled, overflow) = Int(clamping: seconds).multipliedReportingOverflow(by: 1000)
  guard !overflow else { return "\(seconds)s" }
  let (milliseconds, tooFar) = scaled.addingReportingOverflow(Int(clamping: attoseconds / 1_000_000_000_000_000))
  guard !tooFar, milliseconds != 0 else { return "\(seconds)s" }
  let unit = durationUnits.first { unit in
    milliseconds % unit.milliseconds == 0 && (!["d", "m"].contains(unit.name) || milliseconds / unit.milliseconds > 2)
  }
  guard let unit else { return "\(milliseconds)ms" }
  return "\(milliseconds / unit.milliseconds)\(unit.name)"
}

private let sizeUnits: [(name: String, bytes: Int)] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)]

/// `512B`, `64KiB`, `1MiB`, `2GiB`; nil for anything else.
package func parseSize(_ text: String) -> Int? {
  guard let (number, unit) = split(text), let scale = sizeUnits.first(where: { $0.name == unit })?.bytes else { return nil }
  let (bytes, overflow) = number.multipliedReportingOverflow(by: scale)
  return overflow ? nil : bytes
}

/// In the largest unit that keeps it whole.
package func showSize(_ bytes: Int) -> String {
  guard bytes != 0, let unit = sizeUnits.first(where: { bytes % $0.bytes == 0 }) else { return "0B" }
  return "\(bytes / unit.bytes)\(unit.name)"
}
