import HTTPServer
import IntercomCore
import Telemetry

/// What the steps and log lines of one request have in common.
struct RequestStory: Sendable {
  var correlation: String
  var method: String
  /// As sent, without the query: queries carry codes.
  var path: String
  /// Who asked, as far as trusted proxies tell.
  var client: String
  var subjectName: String?

  /// `connection-request`: stands in every line and step of one request.
  static func correlation(_ id: ExchangeID) -> String { "\(id.connection.rawValue)-\(id.sequence)" }
}

extension GatewayServices {
  /// Whether anybody hears of single requests.
  var tellsStories: Bool { steps.wantsSteps || log.writes(.debug) }

  /// One line for a request that is over. What Intercom refused is `debug`, everything else `trace`; an upstream that failed is a warning,
  /// with lines that repeat counted instead of written.
  func logExchange(_ summary: ExchangeSummary, _ exchange: ServerConnection<GatewayHandler>, route: String?, now: MonotonicInstant) {
    let (context, id) = (exchange.context, exchange.exchangeID)
    let reason = summary.problem ?? context.refusal
    if let route, let reason, summary.status >= 502 {
      log.limited(
        by: repeats, now: now, key: "\(route) \(reason)", .warning, "upstream_failed", "A backend did not answer as it should.",
        [
          "route": .string(route), "reason": .string(reason), "status": LogValue(summary.status),
          "request": .string(RequestStory.correlation(id)),
        ])
    }
    let level: LogLevel = reason == nil ? .trace : .debug
    guard log.writes(level) else { return }
    let story = context.story
    log.log(
      level, reason == nil ? "request" : "request_refused", reason == nil ? "A request was answered." : "A request was refused.",
      [
        "request": .string(RequestStory.correlation(id)), "method": .string(story?.method ?? summary.method.name),
        "path": .string(story?.path ?? ""), "client": .string(story?.client ?? exchange.peer.ip.description),
        "route": .string(route ?? context.routeName ?? ""), "status": LogValue(summary.status), "reason": .string(reason ?? ""),
        "ending": .string(summary.ending.rawValue), "bytesIn": LogValue(summary.bytesIn), "bytesOut": LogValue(summary.bytesOut),
        "duration": LogValue(summary.duration),
      ])
  }
}
