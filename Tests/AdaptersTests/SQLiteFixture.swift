import FoundationEssentials
import IntercomCore
import IntercomTesting
import SessionStoreSQLite
import Sessions
import Telemetry
import Testing

/// A database file of a test's own, with clocks that the test moves and a log that it reads.
struct SQLiteFixture {
  let folder: TestFolder
  let time: ManualTime
  let sink = MemorySink()
  let path: String

  init(inMemory: Bool = true, time: ManualTime = ManualTime()) throws {
    folder = try TestFolder(inMemory: inMemory)
    self.time = time
    path = folder.file("sessions.db")
  }

  func open(_ change: (inout SQLiteSessionStore.Options) -> Void = { _ in }) async throws -> SQLiteSessionStore {
    var options = SQLiteSessionStore.Options()
    change(&options)
    return try await SQLiteSessionStore.open(path: path, time: time, log: StructuredLog(to: sink), options: options)
  }

  /// The error of an opening that must fail.
  func openingError() async -> SQLiteStoreOpenError? {
    do {
      await (try open()).close()
      return nil
    } catch { return error as? SQLiteStoreOpenError }
  }

  func expiry(_ seconds: Int64 = 3_600) -> WallInstant { time.wallNow().advanced(by: .seconds(seconds)) }

  /// Lines of the log with this event.
  func lines(_ event: String) -> [String] { sink.lines.filter { $0.contains("\"event\":\"\(event)\"") } }

  static func key(_ number: Int, _ kind: RecordKind = .session) -> RecordKey { RecordKey(kind: kind, naming: [Identifier("\(number)")]) }
  static func index(_ number: Int) -> IndexKey { IndexKey(sid: Identifier("\(number)"), issuer: "i") }

  /// A value of some KB that names its number.
  static func value(_ number: Int, bytes: Int = 3_000) -> [UInt8] {
    var random = SplitMix64(state: UInt64(number))
    return (0..<bytes).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }
}

extension SessionStore {
  /// Creates a record and gives its version.
  func create(_ key: RecordKey, _ value: [UInt8], _ indexes: [IndexKey] = [], expiry: WallInstant) async throws -> UInt64 {
    let outcome = try await write(key, value, indexes: indexes, expiry: expiry, expecting: nil)
    guard case .written(let version) = outcome else { throw SessionStoreConformance.Violation("a creation gave \(outcome)") }
    return version
  }
}

extension SessionStore {
  /// Changes a record of this version and gives the new one.
  func replace(_ key: RecordKey, _ value: [UInt8], _ version: UInt64, expiry: WallInstant) async throws -> UInt64 {
    let outcome = try await write(key, value, indexes: [], expiry: expiry, expecting: version)
    guard case .written(let version) = outcome else { throw SessionStoreConformance.Violation("a change gave \(outcome)") }
    return version
  }
}

/// The error is `unavailable`.
func isUnavailable(_ error: any Error) -> Bool {
  if case SessionStoreError.unavailable = error { true } else { false }
}
