import HTTPMessage
import IntercomCore
import JOSE
import Synchronization
import Telemetry

/// The provider as Intercom knows it: the last good metadata and keys, refreshed in the background by `run`.
///
/// Before the first success nothing is known and every caller gets `providerUnavailable`; afterwards a provider that is down, slow or lying
/// changes nothing until what is known is too old.
package final class ProviderClient: Sendable {
  package struct Timing: Sendable {
    /// Between background refreshes, when the keys do not say less by `Cache-Control: max-age`.
    package var refreshInterval: Duration = .seconds(600)
    /// The longest pause after failures: also how long recovery may go unnoticed.
    package var maximumBackOff: Duration = .seconds(15)
    /// Between fetches that tokens with unknown keys cause.
    package var unknownKeyInterval: Duration = .seconds(30)
    /// Keys that could not be renewed for so long are not trusted any more.
    package var maximumStaleness: Duration = .seconds(86_400)
    /// One call (behaviour: "Times").
    package var callTimeout: Duration = .seconds(5)
    /// A fetch of keys within another operation: 5 s for the call before and 3 s for this keep within its 8 s.
    package var keyFetchTimeout: Duration = .seconds(3)
    package init() {}
  }

  private struct Shared {
    var state: ProviderState
    var fetch: Task<OIDCError?, Never>?
    /// Why the last fetch that a token caused gave no keys.
    var fetchFailure: OIDCError?
  }

  package let client: ClientConfiguration
  let timing: Timing
  let time: any TimeSource
  private let transport: any HTTPTransport
  private let random: any RandomSource
  let log: StructuredLog
  private let shared: Mutex<Shared>
  /// How calls of whatever kind end, and background refreshes.
  private let calls = LastResult()
  private let refreshes = LastResult()

  package init(
    _ client: ClientConfiguration, transport: any HTTPTransport, time: any TimeSource, random: any RandomSource,
    log: StructuredLog = .none, timing: Timing = Timing()
  ) {
    self.client = client
    self.transport = transport
    self.time = time
    self.random = random
    self.log = log
    self.timing = timing
    shared = Mutex(Shared(state: ProviderState(timing)))
  }

  /// For `/readyz`.
  package var isReady: Bool {
    let now = time.monotonicNow()
    return shared.withLock { $0.state.usable(now) != nil }
  }

  /// What was wrong the last time that the provider was needed, and for how long it has been; nil when nothing was. Free of secrets.
  package var trouble: String? {
    let now = time.monotonicNow()
    return refreshes.failure(now) ?? calls.failure(now)
  }

  /// Keeps what is known fresh until its task is cancelled.
  package func run() async {
    while !Task.isCancelled {
      do { try await time.sleep(for: await refresh()) } catch { return }
    }
  }

  /// One background refresh, metadata first, then keys: both are taken or none. Returns the pause until the next.
  package func refresh() async -> Duration {
    do throws(OIDCError) {
      let metadata = try ProviderMetadata.parse(
        try await call(ProviderMetadata.request(client), "metadata", unusable: .invalidMetadata), client)
      let (keys, maximumAge) = try await fetchKeys(metadata, timing.callTimeout)
      let now = time.monotonicNow()
      let (pause, recovered) = shared.withLock { shared in
        let recovered = shared.state.isFailing || shared.state.usable(now) == nil
        shared.fetchFailure = nil
        return (shared.state.refreshed(metadata, keys, maximumAge: maximumAge, now), recovered)
      }
      refreshes.worked()
      if recovered { log.info("provider_ready", "the provider's metadata and keys are here", ["issuer": LogValue(client.issuer.text)]) }
      return pause
    } catch {
      if !Task.isCancelled { refreshes.failed(error.detail, now: time.monotonicNow()) }
      let jitter = random.bytes(1).first ?? 0
      let (pause, first) = shared.withLock { shared in
        let first = !shared.state.isFailing
        return (shared.state.failed(random: jitter), first)
      }
      let code = LogValue(error.code.rawValue)
      if first {
        log.warning("provider_failing", error.detail, ["code": code])
      } else {
        log.debug("provider_failing", error.detail, ["code": code])
      }
      return pause
    }
  }

  /// The last good metadata; throws `providerUnavailable` when there is none.
  package func metadata() throws(OIDCError) -> ProviderMetadata { try knowledge().metadata }

  /// Checks a token's signature with the provider's keys. A key that is not known makes them be fetched anew, at most once per interval for
  /// all tokens together. Costs up to 0.8 ms of CPU: not for an event loop.
  ///
  /// Throws `refusal` for a token that is wrong. Where that cannot be said because its key is unknown and no keys come: `providerUnavailable`
  /// when the provider does not answer, `invalidKeySet` when it answers what is no key set.
  package func verify(_ compact: [UInt8], refusal: OIDCError.Code) async throws(OIDCError) -> VerifiedJWS {
    let token: UnverifiedJWS
    do { token = try UnverifiedJWS.parse(compact) } catch { throw OIDCError(refusal, "\(error)") }
    do {
      return try knowledge().keys.verify(token, allowed: client.algorithms)
    } catch let error as OIDCError {
      throw error
    } catch JOSEError.unknownKey {
      // The key may be new.
    } catch { throw OIDCError(refusal, "\(error)") }
    let failure = await fetchForUnknownKey()
    // Again also when nothing was fetched for this token: another one's fetch may just have ended.
    do throws(JOSEError) {
      return try knowledgeKeys().verify(token, allowed: client.algorithms)
    } catch {
      guard error == .unknownKey, let failure else { throw OIDCError(refusal, "\(error)") }
      throw OIDCError(
        failure.isTemporary ? .providerUnavailable : .invalidKeySet, "the key of a token is unknown, and of the keys: \(failure.detail)")
    }
  }

  /// Makes a call within the time for one. An answer that cannot be taken at all is `unusable`. `purpose` is for traces.
  func call(
    _ request: OutboundRequest, _ what: String, unusable: OIDCError.Code, purpose: String? = nil, within limit: Duration? = nil
  ) async throws(OIDCError) -> OutboundResponse {
    let began = time.monotonicNow()
    do {
      let response = try await transport.send(request, deadline: began.advanced(by: limit ?? timing.callTimeout))
      if response.status.code >= 500 {
        calls.failed("\(what): the provider answered \(response.status.code)", now: time.monotonicNow())
      } else if !calls.works {
        calls.worked()
      }
      if log.writes(.trace) { trace(what, purpose, request, "\(response.status.code)", response.body.count, since: began) }
      return response
    } catch {
      let failure = OIDCError(error, what, unusable: unusable)
      if error != .cancelled { calls.failed(failure.detail, now: time.monotonicNow()) }
      if log.writes(.trace) { trace(what, purpose, request, failure.detail, 0, since: began) }
      throw failure
    }
  }

  /// One line for a call: where, how it went, how long it took. The query is left out, and fields and bodies are never there.
  private func trace(
    _ what: String, _ purpose: String?, _ request: OutboundRequest, _ result: String, _ bytes: Int, since: MonotonicInstant
  ) {
    log.log(
      .trace, "provider_call", "The provider was called.",
      [
        "call": .string(what), "purpose": .string(purpose ?? what), "method": .string(request.method.name),
        "url": .string(String(request.url.prefix { $0 != "?" })), "result": .string(result), "bytes": LogValue(bytes),
        "duration": LogValue(since.duration(to: time.monotonicNow())),
      ])
  }

  private func knowledge() throws(OIDCError) -> ProviderState.Knowledge {
    let now = time.monotonicNow()
    guard let known = shared.withLock({ $0.state.usable(now) }) else {
      throw OIDCError(.providerUnavailable, "the provider's metadata and keys are not known yet, or too old")
    }
    return known
  }

  private func knowledgeKeys() -> JSONWebKeySet { (try? knowledge())?.keys ?? JSONWebKeySet(keys: []) }

  /// Why no newer keys are here: the failure of the fetch, or of the last one while none may be made. Nil: they are as new as can be.
  private func fetchForUnknownKey() async -> OIDCError? {
    let metadata: ProviderMetadata
    do throws(OIDCError) { metadata = try self.metadata() } catch { return error }
    let now = time.monotonicNow()
    let (task, failure): (Task<OIDCError?, Never>?, OIDCError?) = shared.withLock { shared in
      if let running = shared.fetch { return (running, nil) }
      guard shared.state.mayFetchForUnknownKey(now) else { return (nil, shared.fetchFailure) }
      // A task of its own: the caller that came first may be cancelled, the others still wait.
      let task = Task { await self.fetchKeysOnce(metadata) }
      shared.fetch = task
      return (task, nil)
    }
    guard let task else { return failure }
    return await task.value
  }

  private func fetchKeysOnce(_ metadata: ProviderMetadata) async -> OIDCError? {
    var keys: JSONWebKeySet?
    var failure: OIDCError?
    do throws(OIDCError) { keys = try await fetchKeys(metadata, timing.keyFetchTimeout).keys } catch {
      failure = error
      log.warning("provider_keys_failing", error.detail, ["code": LogValue(error.code.rawValue)])
    }
    let now = time.monotonicNow()
    shared.withLock { shared in
      if let keys { shared.state.fetched(keys, now) }
      shared.fetchFailure = failure
      shared.fetch = nil
    }
    return failure
  }

  private func fetchKeys(
    _ metadata: ProviderMetadata, _ limit: Duration
  ) async throws(OIDCError) -> (keys: JSONWebKeySet, maximumAge: Duration?) {
    let maximum = JSONWebKeySet.Limits().bytes
    let request = OutboundRequest(
      .get, client.backChannel.address(of: metadata.jwksURI), fields: Fields(["Accept": "application/jwk-set+json, application/json"]),
      maximumResponseBytes: maximum)
    let response = try await call(request, "keys", unusable: .invalidKeySet, within: limit)
    _ = try ProviderAnswer.object(
      response, .invalidKeySet, "the key set", maximumBytes: maximum, types: ["application/json", "application/jwk-set+json"])
    let keys: JSONWebKeySet
    do { keys = try JSONWebKeySet.parse(response.body, allowed: client.algorithms) } catch {
      throw OIDCError(.invalidKeySet, "the key set: \(error)")
    }
    // A set of keys none of which can be used would end every session's refresh: what was good stays.
    guard !keys.keys.isEmpty else { throw OIDCError(.invalidKeySet, "no key of the set can be used") }
    return (keys, Self.maximumAge(response.fields))
  }

  /// `max-age` of Cache-Control ([RFC 9111 §5.2.2.1](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.1)).
  private static func maximumAge(_ fields: Fields) -> Duration? {
    guard let value = fields.single("cache-control") else { return nil }
    for part in value.utf8.split(separator: UInt8(ascii: ",")) {
      let directive = part.drop { $0 == 32 || $0 == 9 }
      guard directive.starts(with: "max-age=".utf8) else { continue }
      guard let seconds = Int64(String(decoding: directive.dropFirst(8).prefix { $0 > 32 }, as: UTF8.self)), seconds >= 0 else {
        return nil
      }
      return .seconds(min(seconds, 31_536_000))
    }
    return nil
  }
}
