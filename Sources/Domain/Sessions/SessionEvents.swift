import IntercomCore
import Telemetry

/// Why a session ended.
package enum EndReason: String, Sendable, CaseIterable {
  case loggedOut
  case backChannelLogout
  /// Not used for the idle time.
  case idle
  /// Its absolute time is over.
  case absolute
  /// Its browser signed in anew.
  case replaced
  /// The provider refused the refresh token.
  case refreshRefused
  /// The access token expired and there is no refresh token.
  case tokenExpired
  /// A refreshed token named another user or issuer.
  case identityChanged
  case administrator
}

/// Logs and counts what happens to sessions. Never a session id, key or token.
package struct SessionEvents: Sendable {
  let log: StructuredLog
  private let metrics: LoopMetrics?
  private let created: MetricFamily<Counter>?
  private let ended: MetricFamily<Counter>?
  private let damagedRecords: MetricFamily<Counter>?
  private let tokens: MetricFamily<Counter>?

  /// What became of a call for tokens.
  enum TokenResult: Int, CaseIterable { case done, refused, unavailable, invalid, cached, joined }
  enum TokenCall: Int, CaseIterable { case refresh, exchange }

  /// Counts nothing and logs nowhere.
  package static let none = SessionEvents(log: .none, registry: nil)

  /// Registers its metrics: make it before the loops' metrics are made.
  package init(log: StructuredLog, registry: MetricRegistry?) {
    self.log = log
    created = registry?.counter("sessions_created_total", help: "Sessions created at login.")
    ended = registry?.counter(
      "sessions_ended_total", help: "Sessions ended, by reason.",
      labels: [MetricLabel("reason", EndReason.allCases.map(\.rawValue))])
    damagedRecords = registry?.counter(
      "session_records_damaged_total", help: "Stored values that did not open or decode and were dropped.",
      labels: [MetricLabel("kind", RecordKind.allCases.map { "\($0)" })])
    tokens = registry?.counter(
      "token_calls_total", help: "Refreshes and exchanges by result; joined ones waited for another request's call.",
      labels: [
        MetricLabel("call", TokenCall.allCases.map { "\($0)" }), MetricLabel("result", TokenResult.allCases.map { "\($0)" }),
      ])
    metrics = registry?.makeSharedMetrics()
  }

  func sessionCreated() { count(created?[]) }

  func sessionEnded(_ reason: EndReason, count number: Int = 1) {
    guard number > 0 else { return }
    count(ended?[EndReason.allCases.firstIndex(of: reason) ?? 0], number)
    log.info("session_ended", "A session ended.", ["reason": .string(reason.rawValue), "count": LogValue(number)])
  }

  func damaged(_ kind: RecordKind) {
    count(damagedRecords?[Int(kind.rawValue)])
    log.warning("session_record_damaged", "A stored value did not open and was dropped.", ["kind": "\(kind)"])
  }

  func token(_ call: TokenCall, _ result: TokenResult) { count(tokens?[call.rawValue, result.rawValue]) }

  private func count(_ counter: Counter?, _ amount: Int = 1) {
    if let counter, let metrics { metrics.add(counter, amount) }
  }
}
