import Linux

/// How far an attempt to connect came.
enum RedisReach: Int, Comparable {
  /// The name has no address.
  case nowhere
  /// The address did not take the connection.
  case address
  /// The server was there, and TLS was not.
  case server
  /// The server spoke, or ended the connection.
  case conversation

  static func < (left: RedisReach, right: RedisReach) -> Bool { left.rawValue < right.rawValue }
}

/// Why the latest attempt to each address of the server failed. With several addresses most of them may be nobody's: that one of them refuses
/// connections must not hide what the server says at another.
struct RedisAttempts {
  private var failures: [(address: IPAddress?, reach: RedisReach, reason: String)] = []

  /// Addresses that the name does not have any more are forgotten.
  mutating func keep(_ addresses: [IPAddress]) {
    failures.removeAll { failure in failure.address.map { !addresses.contains($0) } ?? !addresses.isEmpty }
  }

  mutating func failed(_ address: IPAddress?, _ reach: RedisReach, _ reason: String) {
    failures.removeAll { $0.address == address }
    failures.append((address, reach, reason))
  }

  mutating func forget() { failures = [] }

  /// That of the attempt that came furthest, the latest of several such.
  var reason: String {
    failures.reduce(nil as (reach: RedisReach, reason: String)?) { best, failure in
      if let best, failure.reach < best.reach { return best }
      return (failure.reach, failure.reason)
    }?.reason ?? "there was no connection yet"
  }
}
