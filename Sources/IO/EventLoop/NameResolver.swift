import IntercomCore
import Linux
import Synchronization
import Workers

/// Why a host has no address.
package enum NameResolutionError: Error, Sendable, Equatable {
  /// The system's resolver says so, in its own words.
  case notFound(String)
  /// Too many look-ups wait.
  case overloaded

  package var origin: FaultOrigin {
    switch self {
    case .notFound: .upstream
    case .overloaded: .gateway
    }
  }
}

/// Host names to addresses, off the loops, remembered for a short time.
package final class NameResolver: Sendable {
  private struct Entry {
    var addresses: [IPAddress]
    var until: MonotonicInstant
  }

  private let cache = Mutex<[Identifier: Entry]>([:])
  private let workers: Workers
  private let time: any TimeSource
  private let lifetime: Duration
  private let lookUp: @Sendable (String) -> Result<[IPAddress], NameResolutionError>

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
    self.lifetime = lifetime
    self.lookUp = lookUp
  }

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

  /// What `immediate` knows, or an answer that is still fresh.
  package func known(_ host: String) -> [IPAddress]? {
    if let found = Self.immediate(host) { return found }
    let now = time.monotonicNow()
    return cache.withLock { cache in
      guard let entry = cache[Identifier(host)], now < entry.until else { return nil }
      return entry.addresses
    }
  }

  /// The addresses of `host`, at least one. May take as long as the system's resolver: callers set their own deadline.
  package func resolve(_ host: String) async throws(NameResolutionError) -> [IPAddress] {
    if let found = known(host) { return found }
    let lookUp = lookUp
    let result: Result<[IPAddress], NameResolutionError>
    do { result = try await workers.run { lookUp(host) } } catch { throw .overloaded }
    let addresses = try result.get()
    let entry = Entry(addresses: addresses, until: time.monotonicNow().advanced(by: lifetime))
    cache.withLock { cache in
      if cache.count >= Self.cacheLimit { cache = [:] }
      cache[Identifier(host)] = entry
    }
    return addresses
  }

  /// getaddrinfo(3).
  package static let system: @Sendable (String) -> Result<[IPAddress], NameResolutionError> = { host in
    do throws(NameLookupError) { return .success(try resolveHostName(host)) } catch { return .failure(.notFound(error.description)) }
  }
}
