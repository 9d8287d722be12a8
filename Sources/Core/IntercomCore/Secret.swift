/// A value that never prints itself: passwords, tokens, codes, cookies, keys.
///
/// It cannot be encoded: records are written field by field, by code that says `reveal()`.
///
/// Every place that needs the value says `reveal()`, so that all uses can be found by one search. A secret is not `Equatable`: compare
/// revealed bytes with `Cryptography.constantTimeEqual`.
public struct Secret<Value: Sendable>: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  @usableFromInline let value: Value

  @inlinable public init(_ value: Value) { self.value = value }

  /// The value itself. Never pass the result to a log, an error, a trace or a page.
  @inlinable public func reveal() -> Value { value }

  @inlinable public var description: String { "<redacted>" }
  @inlinable public var debugDescription: String { "<redacted>" }
  @inlinable public var customMirror: Mirror { Mirror(self, children: []) }
}

/// A type whose values hold secrets among other things, such as a request with its fields: it prints its name and nothing else, whatever
/// prints it (interpolation, `dump`, a failed test, a crash report).
package protocol PrintsNothing: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {}

extension PrintsNothing {
  package var description: String { "\(Self.self)(<redacted>)" }
  package var debugDescription: String { description }
  package var customMirror: Mirror { Mirror(self, children: []) }
}
