import IntercomCore
import Telemetry

/// Why a session ended; the raw values are the words of the log and of the metric `sessions_ended_total`.
package enum EndReason: String, Sendable, CaseIterable {
  case loggedOut = "logged_out"
  case backChannelLogout = "back_channel_logout"
  /// Not used for the idle time.
  case idle
  /// Its absolute time is over.
  case absolute
  /// Its browser signed in anew.
  case replaced
  /// The provider refused the refresh token.
  case refreshRefused = "refresh_refused"
  /// The access token expired and there is no refresh token.
  case tokenExpired = "token_expired"
  /// A refreshed token named another user or issuer, or another session of the provider.
  case identityChanged = "identity_changed"
  case administrator
  /// The store failed behind its making: its browser never got the cookie.
  case abandoned

  /// Whether somebody is told that it is over, and counts on it. Every replica sees for itself that a session's time is over or its tokens are.
  var isTold: Bool {
    switch self {
    case .loggedOut, .backChannelLogout, .identityChanged, .administrator: true
    case .idle, .absolute, .replaced, .refreshRefused, .tokenExpired, .abandoned: false
    }
  }
}

/// Logs and counts what happens to sessions. Never a session id, key or token.
package struct SessionEvents: Sendable {
  package let log: StructuredLog
  private let metrics: LoopMetrics?
  private let created: MetricFamily<Counter>?
  private let ended: MetricFamily<Counter>?
  private let damagedRecords: MetricFamily<Counter>?
  private let tokens: MetricFamily<Counter>?
  private let aftercare: MetricFamily<Counter>?
  private let aftercareWaiting: MetricFamily<Gauge>?

  /// What became of one thing that had to be done after a session's end.
  enum AftercareResult: String, CaseIterable {
    case done, needless
    case givenUp = "given_up"
    case dropped
  }
  /// What became of a call for tokens.
  package enum TokenResult: String, CaseIterable, Sendable {
    case done, refused
    case identityChanged = "identity_changed"
    case unavailable, invalid, cached, joined
  }
  package enum TokenCall: String, CaseIterable, Sendable {
    case refresh, exchange
    case matrixLogin = "matrix_login"
    case matrixRefresh = "matrix_refresh"
    case matrixOpenID = "matrix_openid"
    case matrixLogout = "matrix_logout"
  }

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
      "token_calls_total", help: "Calls for tokens by result; joined ones waited for another request's call.",
      labels: [
        MetricLabel("call", TokenCall.allCases.map(\.rawValue)), MetricLabel("result", TokenResult.allCases.map(\.rawValue)),
      ])
    aftercare = registry?.counter(
      "session_aftercare_total", help: "What was to be done elsewhere after sessions' ends, by result.",
      labels: [
        MetricLabel("care", AftercareKind.allCases.map(\.rawValue)), MetricLabel("result", AftercareResult.allCases.map(\.rawValue)),
      ])
    aftercareWaiting = registry?.gauge("session_aftercare_waiting", help: "What is still to be done elsewhere after sessions' ends.")
    metrics = registry?.makeSharedMetrics()
  }

  func sessionCreated() { count(created?[]) }

  func sessionEnded(_ reason: EndReason, count number: Int = 1) {
    guard number > 0 else { return }
    count(ended?[EndReason.allCases.firstIndex(of: reason) ?? 0], number)
    // A grant that changed hands is the provider's fault or an attack: somebody should look.
    let level: LogLevel = reason == .identityChanged ? .warning : .info
    log.log(level, "session_ended", "A session ended.", ["reason": .string(reason.rawValue), "count": LogValue(number)])
  }

  /// Whoever holds a copy did not say in time that it is gone.
  func endUnacknowledged(_ reason: EndReason) {
    log.error(
      "session_end_unacknowledged", "A session ended, but an event loop did not confirm in time that it dropped its copy; is it stuck?",
      ["reason": .string(reason.rawValue)])
  }

  func damaged(_ kind: RecordKind) {
    count(damagedRecords?[Int(kind.rawValue)])
    log.warning("session_record_damaged", "A stored value did not open and was dropped.", ["kind": "\(kind)"])
  }

  /// Counts a call for a token.
  package func token(_ call: TokenCall, _ result: TokenResult) {
    count(tokens?[TokenCall.allCases.firstIndex(of: call) ?? 0, TokenResult.allCases.firstIndex(of: result) ?? 0])
  }

  func aftercareBegan() { if let gauge = aftercareWaiting?[], let metrics { metrics.add(gauge, 1) } }

  /// - Parameter result: one that was dropped never began.
  func aftercareEnded(_ kind: AftercareKind, _ result: AftercareResult) {
    let kinds = AftercareKind.allCases
    count(aftercare?[kinds.firstIndex(of: kind) ?? 0, AftercareResult.allCases.firstIndex(of: result) ?? 0])
    if result != .dropped, let gauge = aftercareWaiting?[], let metrics { metrics.add(gauge, -1) }
  }

  private func count(_ counter: Counter?, _ amount: Int = 1) {
    if let counter, let metrics { metrics.add(counter, amount) }
  }
}
