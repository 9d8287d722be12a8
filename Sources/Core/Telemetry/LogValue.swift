import IntercomCore

/// How much a log line matters, from the least.
package enum LogLevel: UInt8, Sendable, CaseIterable, Comparable {
  case trace, debug, info, warning, error

  /// The word that stands in the line and in the configuration.
  package var name: String {
    switch self {
    case .trace: "trace"
    case .debug: "debug"
    case .info: "info"
    case .warning: "warning"
    case .error: "error"
    }
  }

  /// The level of this exact name.
  package init?(named name: String) {
    guard let level = Self.allCases.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else { return nil }
    self = level
  }

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// The value of a log field. It is typed so that a `Secret` can only become `<redacted>`.
package enum LogValue: Sendable, Hashable {
  case string(String)
  case integer(Int64)
  case boolean(Bool)
  case redacted

  package init(_ text: String) { self = .string(text) }
  package init(_ number: some BinaryInteger) { self = .integer(Int64(clamping: number)) }
  package init(_ identifier: Identifier) { self = .string(identifier.description) }
  /// Whole microseconds: the unit of every duration in log lines.
  package init(_ duration: Duration) { self = .integer(duration.wholeNanoseconds / 1_000) }
  package init<Value>(_ secret: Secret<Value>) { self = .redacted }
  package init(_ origin: FaultOrigin) { self = .string(origin.rawValue) }
}

extension LogValue: ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int64) { self = .integer(value) }
  package init(booleanLiteral value: Bool) { self = .boolean(value) }
}
