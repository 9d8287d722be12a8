import IntercomCore
import Sessions

/// An OpenID token with its times.
package struct HeldOpenIDToken: Sendable {
  package let json: Secret<[UInt8]>
  /// From here on it is asked for anew.
  package let freshUntil: WallInstant
  let expiry: WallInstant

  init(_ token: MatrixOpenIDToken, received: WallInstant) {
    json = token.json
    expiry = received.advanced(by: token.expiresIn)
    freshUntil = expiry.advanced(by: .seconds(-SessionTokens.margin(from: received, to: expiry)))
  }
}

/// What one process remembers of the accounts of sessions: OpenID tokens, failures for a short while, and which tokens were refused. All of it
/// is bounded, and may be forgotten at any time: it is found out again.
struct MatrixMemory {
  private struct Entry {
    var openID: HeldOpenIDToken?
    var failure: (error: MatrixError, until: WallInstant)?
    /// Tokens up to this generation were refused, the last time then.
    var refused: Int64 = -1
    var lastRefusal: WallInstant?
  }
  private var sessions: [SessionKey: [MatrixDevices.Key: Entry]] = [:]
  private let maximumSessions: Int

  /// How long a failure is answered from memory, so that an app that repeats does not beat on the homeserver.
  static let failureKept = Duration.seconds(5)
  /// Of a homeserver that does not answer and does not say when it will.
  static let outageKept = Duration.seconds(2)

  /// A backend that answers 401 to every token does not cause a login for each.
  static let refusalPause = Duration.seconds(10)

  init(maximumSessions: Int = 50_000) { self.maximumSessions = maximumSessions }

  func openID(_ key: MatrixDevices.Key) -> HeldOpenIDToken? { sessions[key.session]?[key]?.openID }
  func refused(_ key: MatrixDevices.Key) -> Int64 { sessions[key.session]?[key]?.refused ?? -1 }
  /// With the time that is left, where one was named.
  func failure(_ key: MatrixDevices.Key, now: WallInstant) -> MatrixError? {
    guard let failure = sessions[key.session]?[key]?.failure, now < failure.until else { return nil }
    let left = failure.error.retryAfter.map { _ in Duration.seconds(now.seconds(to: failure.until)) }
    return MatrixError(failure.error.code, failure.error.detail, retryAfter: left)
  }

  mutating func keep(_ token: HeldOpenIDToken, _ key: MatrixDevices.Key) { change(key) { $0.openID = token } }
  mutating func dropOpenID(_ key: MatrixDevices.Key) { sessions[key.session]?[key]?.openID = nil }
  mutating func note(_ error: MatrixError, _ key: MatrixDevices.Key, now: WallInstant) {
    let time = error.retryAfter ?? (error.code == .unavailable ? Self.outageKept : Self.failureKept)
    change(key) { $0.failure = (error, now.advanced(by: time)) }
  }
  mutating func forgetFailure(_ key: MatrixDevices.Key) { sessions[key.session]?[key]?.failure = nil }
  /// - Parameter byBackend: then no sooner than `refusalPause` after the last time.
  mutating func refuse(_ key: MatrixDevices.Key, _ generation: Int64, byBackend: Bool, now: WallInstant) {
    change(key) { entry in
      guard generation > entry.refused else { return }
      if byBackend, let last = entry.lastRefusal, now < last.advanced(by: Self.refusalPause) { return }
      entry.refused = generation
      entry.lastRefusal = now
    }
  }
  mutating func forget(_ keys: Set<SessionKey>) { for key in keys { sessions[key] = nil } }

  private mutating func change(_ key: MatrixDevices.Key, _ body: (inout Entry) -> Void) {
    if sessions[key.session] == nil, sessions.count >= maximumSessions { makeRoom() }
    body(&sessions[key.session, default: [:]][key, default: Entry()])
  }

  /// Half of them go.
  private mutating func makeRoom() {
    for session in sessions.keys.prefix(maximumSessions / 2 + 1) { sessions[session] = nil }
  }
}
