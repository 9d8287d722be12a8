import IntercomCore
import Linux
import Synchronization
import Workers

/// Why a host has no address.
package enum NameResolutionError: Error, Sendable, Equatable {
  /// There is none, as the system's resolver says in its own words.
  case notFound(String)
  /// The resolver could not find out.
  case failed(String)
  /// Too many look-ups wait.
  case overloaded

  package var origin: FaultOrigin {
    switch self {
    case .notFound, .failed: .upstream
    case .overloaded: .gateway
    }
  }
}

/// Host names to addresses, off the loops, remembered for a short time.
///
/// A name is looked up by one thread at a time, however many requests wait for it. While the resolver fails or hangs, the addresses that
/// it gave last are used: a name server's outage is not a backend's. When it says that a name has none any more, they are gone.
package final class NameResolver: Sendable {
  private typealias Outcome = Result<[IPAddress], NameResolutionError>
  private struct Entry {
    /// The latest that were found.
    var addresses: [IPAddress]?
    var until = MonotonicInstant(nanoseconds: .min)
    /// After a failure the next look-up waits until then, if there are older addresses.
    var pause = MonotonicInstant(nanoseconds: .min)
    var running: (task: Task<Outcome, Never>, since: MonotonicInstant)?
  }

  private let cache = Mutex<[Identifier: Entry]>([:])
  private let workers: Workers
  private let time: any TimeSource
  private let lifetime: Mutex<Duration>
  private let lookUp: @Sendable (String) -> Result<[IPAddress], NameResolutionError>

  /// How long nobody asks again after a failure, and how long a look-up may take before requests stop waiting for it: both only when older
  /// addresses are there.
  private static let failurePause = Duration.seconds(1)
  private static let patience = Duration.milliseconds(500)
  /// Names come from the configuration, so there are few; the bound is for safety.
  private static let cacheLimit = 1024

  /// - Parameters:
  ///   - workers: threads of their own for look-ups: a name server that does not answer must not hold other work up.
  ///   - lifetime: how long an answer is used; getaddrinfo does not tell the record's own.
  package init(
    workers: Workers, time: any TimeSource = SystemTime(), lifetime: Duration = .seconds(30),
    lookUp: @escaping @Sendable (String) -> Result<[IPAddress], NameResolutionError> = NameResolver.system
  ) {
    self.workers = workers
    self.time = time
    self.lifetime = Mutex(lifetime)
    self.lookUp = lookUp
  }

  /// How long answers are used from now on.
  package func setLifetime(_ duration: Duration) { lifetime.withLock { $0 = duration } }

  /// The addresses of a literal (with or without brackets), of `localhost` or of `*.localhost`, which are loopback by definition
  /// ([RFC 6761 §6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)) while most resolvers do not know them. Nil for other names.
  package static func immediate(_ host: String) -> [IPAddress]? {
    var text = Substring(host)
    if text.utf8.first == UInt8(ascii: "["), text.utf8.last == UInt8(ascii: "]") { text = text.dropFirst().dropLast() }
    if let literal = IPAddress(String(text)) { return [literal] }
    var name = host.utf8.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
    if name.last == UInt8(ascii: ".") { name.removeLast() }
    let local = Array("localhost".utf8)
    guard name == local || name.suffix(local.count + 1).elementsEqual(Array(".localhost".utf8)) else { return nil }
    return [.loopbackV4, .loopbackV6]
  }

  /// What `immediate` knows, an answer that is still fresh, or an older one while the resolver fails.
  package func known(_ host: String) -> [IPAddress]? {
    if let found = Self.immediate(host) { return found }
    let now = time.monotonicNow()
    return cache.withLock { cache in
      guard let entry = cache[Identifier(host)], let addresses = entry.addresses else { return nil }
      let isStuck = entry.running.map { $0.since.duration(to: now) >= Self.patience } ?? false
      return now < entry.until || now < entry.pause || isStuck ? addresses : nil
    }
  }

  /// The addresses that were found last, however old.
  package func lastGood(_ host: String) -> [IPAddress]? { cache.withLock { $0[Identifier(host)]?.addresses } }

  /// The addresses of `host`, at least one. May take as long as the system's resolver: callers set their own deadline.
  package func resolve(_ host: String) async throws(NameResolutionError) -> [IPAddress] {
    if let found = known(host) { return found }
    let key = Identifier(host)
    let task = cache.withLock { cache in
      if let running = cache[key]?.running { return running.task }
      if cache.count >= Self.cacheLimit { cache = cache.filter { $0.value.running != nil } }
      let task = Task { await self.find(host, key) }
      cache[key, default: Entry()].running = (task, time.monotonicNow())
      return task
    }
    return try await task.value.get()
  }

  private func find(_ host: String, _ key: Identifier) async -> Outcome {
    let lookUp = lookUp
    let outcome: Outcome
    do { outcome = try await workers.run { lookUp(host) } } catch { outcome = .failure(.overloaded) }
    let now = time.monotonicNow()
    return cache.withLock { cache in
      var entry = cache[key] ?? Entry()
      defer { cache[key] = entry }
      entry.running = nil
      switch outcome {
      case .success(let found):
        entry.addresses = found
        entry.until = now.advanced(by: lifetime.withLock { $0 })
        return outcome
      case .failure(.notFound):
        entry.addresses = nil
        return outcome
      case .failure:
        entry.pause = now.advanced(by: Self.failurePause)
        return entry.addresses.map { .success($0) } ?? outcome
      }
    }
  }

  /// getaddrinfo(3).
  package static let system: @Sendable (String) -> Result<[IPAddress], NameResolutionError> = { host in
    do throws(NameLookupError) { return .success(try resolveHostName(host)) } catch {
      return .failure(error.isAnswer ? .notFound(error.description) : .failed(error.description))
    }
  }
}
