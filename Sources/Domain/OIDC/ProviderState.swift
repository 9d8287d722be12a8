import IntercomCore
import JOSE

/// What is known of the provider, and when to ask again. Pure: time comes in as values.
struct ProviderState: Sendable {
  struct Knowledge: Sendable {
    var metadata: ProviderMetadata
    var keys: JSONWebKeySet
    /// When the keys were last fetched.
    var fetched: MonotonicInstant
  }

  private let timing: ProviderClient.Timing
  private var last: Knowledge?
  private var lastUnknownKeyFetch: MonotonicInstant?
  private var failures = 0

  init(_ timing: ProviderClient.Timing) { self.timing = timing }

  /// The last good metadata and keys, while they are not too old.
  func usable(_ now: MonotonicInstant) -> Knowledge? {
    guard let last, last.fetched.duration(to: now) <= timing.maximumStaleness else { return nil }
    return last
  }

  var isFailing: Bool { failures > 0 }

  /// A token named a key that is not there: may the keys be fetched now? Said yes to at most once per interval, however many such tokens come.
  mutating func mayFetchForUnknownKey(_ now: MonotonicInstant) -> Bool {
    if let lastUnknownKeyFetch, lastUnknownKeyFetch.duration(to: now) < timing.unknownKeyInterval { return false }
    lastUnknownKeyFetch = now
    return true
  }

  mutating func fetched(_ keys: JSONWebKeySet, _ now: MonotonicInstant) {
    last?.keys = keys
    last?.fetched = now
  }

  /// Both came: the pause until the next time, before the keys' own `max-age` ends.
  mutating func refreshed(_ metadata: ProviderMetadata, _ keys: JSONWebKeySet, maximumAge: Duration?, _ now: MonotonicInstant) -> Duration {
    last = Knowledge(metadata: metadata, keys: keys, fetched: now)
    failures = 0
    guard let maximumAge else { return timing.refreshInterval }
    return min(timing.refreshInterval, max(.seconds(60), maximumAge * 4 / 5))
  }

  /// What is known stays. The pause doubles from one second up to the limit; the random half keeps replicas apart.
  mutating func failed(random: UInt8) -> Duration {
    let exponent = min(failures, 16)
    failures += 1
    let full = min(timing.maximumBackOff, .seconds(1 << exponent))
    return full / 2 + full / 2 * Int(random) / 255
  }
}
