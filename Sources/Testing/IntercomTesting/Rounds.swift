import FoundationEssentials

/// How often a test repeats what it does: a few times in CI, the full count of its fault case under `dev/soak`.
///
/// `INTERCOM_SOAK=FILE` asks for the full counts; each such test then appends one line about what it did to FILE. With
/// `INTERCOM_SOAK_SECONDS=N` a test that can end early stops after so long, and says how many rounds it did.
package enum Rounds {
  private static let report = ProcessInfo.processInfo.environment["INTERCOM_SOAK"].flatMap { $0.isEmpty ? nil : $0 }

  package static var isFull: Bool { report != nil }

  package static func count(_ usual: Int, full: Int) -> Int { isFull ? full : usual }

  /// How long a test whose rounds can end early may go on; without end in CI, where the count is small.
  package static var limit: Duration {
    let seconds = ProcessInfo.processInfo.environment["INTERCOM_SOAK_SECONDS"].flatMap { Int($0) } ?? 0
    return isFull && seconds > 0 ? .seconds(seconds) : .seconds(365 * 86_400)
  }

  /// How far a full run is, for whoever watches: the content of FILE.progress, for the test runner holds back what tests print. Nothing in CI.
  package static func progress(_ line: String) {
    if let report { try? Data((line + "\n").utf8).write(to: URL(filePath: report + ".progress")) }
  }

  /// Keeps what a full run saw, for instance "fault 13: 10,000 rounds of 100 requests, 10,000 refreshes, no error". Nothing in CI.
  package static func keep(_ line: String) throws {
    guard let report else { return }
    let before = FileManager.default.contents(atPath: report) ?? Data()
    try (before + Data((line + "\n").utf8)).write(to: URL(filePath: report))
  }
}
