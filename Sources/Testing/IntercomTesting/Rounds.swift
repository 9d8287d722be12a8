import FoundationEssentials

/// How often a test repeats what it does: a few times in CI, the full count of its fault case under `dev/soak`.
///
/// `INTERCOM_SOAK=FILE` asks for the full counts; each such test then appends one line about what it did to FILE.
package enum Rounds {
  private static let report = ProcessInfo.processInfo.environment["INTERCOM_SOAK"].flatMap { $0.isEmpty ? nil : $0 }

  package static var isFull: Bool { report != nil }

  package static func count(_ usual: Int, full: Int) -> Int { isFull ? full : usual }

  /// Keeps what a full run saw, for instance "fault 13: 10,000 rounds of 100 requests, 10,000 refreshes, no error". Nothing in CI.
  package static func keep(_ line: String) throws {
    guard let report else { return }
    let before = FileManager.default.contents(atPath: report) ?? Data()
    try (before + Data((line + "\n").utf8)).write(to: URL(filePath: report))
  }
}
