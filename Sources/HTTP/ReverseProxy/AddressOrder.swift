import IntercomCore
import Linux

/// In which order the addresses of one endpoint are tried: those that failed lately come last, so that a dead one of two does not cost every
/// request its share of the time.
package struct AddressOrder: Sendable, Hashable {
  private struct Failure: Sendable, Hashable {
    var address: IPAddress
    var until: MonotonicInstant
  }
  private var failures: [Failure] = []
  private static let memory = Duration.seconds(30)
  private static let mostFailures = 16

  package init() {}

  package mutating func failed(_ address: IPAddress, now: MonotonicInstant) {
    failures.removeAll { $0.address == address || $0.until <= now }
    if failures.count >= Self.mostFailures { failures.removeFirst() }
    failures.append(Failure(address: address, until: now.advanced(by: Self.memory)))
  }

  package mutating func worked(_ address: IPAddress) { failures.removeAll { $0.address == address } }

  /// The resolver's order (RFC 6724), but for those that failed: they come last, the one that failed longest ago first.
  package func ordered(_ addresses: [IPAddress], now: MonotonicInstant) -> [IPAddress] {
    guard !failures.isEmpty, addresses.count > 1 else { return addresses }
    let late = failures.filter { $0.until > now && addresses.contains($0.address) }.map(\.address)
    return addresses.filter { !late.contains($0) } + late
  }
}
