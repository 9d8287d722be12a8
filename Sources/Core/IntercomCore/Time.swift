import Linux

/// A point of the monotonic clock, in nanoseconds: for time-outs and deadlines, never for `exp`.
public struct MonotonicInstant: Hashable, Comparable, Sendable {
  public var nanoseconds: Int64

  @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  @inlinable public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

  /// Saturates instead of overflowing.
  @inlinable public func advanced(by duration: Duration) -> Self {
    let (sum, overflow) = nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
    return Self(nanoseconds: overflow ? (duration < .zero ? .min : .max) : sum)
  }

  @inlinable public func duration(to other: Self) -> Duration {
    let (difference, overflow) = other.nanoseconds.subtractingReportingOverflow(nanoseconds)
    return .nanoseconds(overflow ? (other < self ? .min : .max) : difference)
  }
}

/// A point of the wall clock, in whole seconds since 1970 (the unit of `exp`, `iat`, `nbf`): never for time-outs.
public struct WallInstant: Hashable, Comparable, Sendable, Codable {
  public var seconds: Int64

  @inlinable public init(seconds: Int64) { self.seconds = seconds }
  @inlinable public init(from decoder: any Decoder) throws { self.init(seconds: try decoder.singleValueContainer().decode(Int64.self)) }
  @inlinable public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(seconds)
  }

  @inlinable public static func < (left: Self, right: Self) -> Bool { left.seconds < right.seconds }

  /// Saturates instead of overflowing; fractions of a second are dropped.
  @inlinable public func advanced(by duration: Duration) -> Self {
    let (sum, overflow) = seconds.addingReportingOverflow(duration.wholeSeconds)
    return Self(seconds: overflow ? (duration < .zero ? .min : .max) : sum)
  }
}

extension Duration {
  @inlinable var wholeSeconds: Int64 { saturated(attoseconds / 1_000_000_000_000_000_000) }

  /// This duration in nanoseconds, saturated at the range of `Int64` (292 years).
  @inlinable public var wholeNanoseconds: Int64 { saturated(attoseconds / 1_000_000_000) }
}

/// `Duration.components` would cost five times as much, several times in each request.
@inlinable func saturated(_ value: Int128) -> Int64 {
  guard value <= Int128(Int64.max) else { return .max }
  return value >= Int128(Int64.min) ? Int64(truncatingIfNeeded: value) : .min
}

/// Both clocks and sleep, given at the composition root so that tests own time.
package protocol TimeSource: Sendable {
  func monotonicNow() -> MonotonicInstant
  func wallNow() -> WallInstant
  /// Returns early by throwing `CancellationError` when the task is cancelled.
  func sleep(for duration: Duration) async throws
}

/// The machine's clocks.
package struct SystemTime: TimeSource {
  package init() {}
  package func monotonicNow() -> MonotonicInstant { MonotonicInstant(nanoseconds: Linux.monotonicNanoseconds()) }
  package func wallNow() -> WallInstant { WallInstant(seconds: Linux.wallSeconds()) }
  package func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
}
