import Cryptography
import IntercomCore
import Sessions
import StrictJSON

extension SessionStoreConformance {
  static var leaseChecks: [Check] {
    [
      Check("a lease has one holder at a time") { subject in
        let leases = try await parallel { _ in try await acquire("refresh", subject) }
        try require(leases.count { $0 != nil } == 1, "\(leases.count { $0 != nil }) hold it")
        try require(try await acquire("another", subject) != nil, "another name is another lease")
      },
      Check("a dead holder loses its lease, and the next has a greater fencing token (fault 14)") { subject in
        guard let first = try await acquire("a", subject) else { throw Violation("no lease") }
        try await subject.advance(.seconds(11))
        guard let second = try await acquire("a", subject) else { throw Violation("the dead holder keeps it") }
        let renewed = try await subject.store.renew(first, lasting: .seconds(10), now: subject.time.wallNow())
        let released = try await subject.store.release(first)
        try require(renewed == nil && !released, "the old holder still acts")
        try require(second.fencingToken > first.fencingToken, "the fencing token did not grow")
      },
      Check("a lease is renewed under a greater token and given back") { subject in
        guard let first = try await acquire("a", subject),
          let renewed = try await subject.store.renew(first, lasting: .seconds(30), now: subject.time.wallNow())
        else { throw Violation("no lease") }
        try await subject.advance(.seconds(20))
        let meanwhile = try await acquire("a", subject)
        let released = try await subject.store.release(renewed)
        let next = try await acquire("a", subject)
        try require(meanwhile == nil && released && (next?.fencingToken ?? 0) > renewed.fencingToken, "renewal or release failed")
      },
      Check("who did not hear that it got a lease gets it again, under a greater token, and nobody else does") { subject in
        let owner = LeaseOwner(random: SystemRandom())
        guard let first = try await acquire("a", subject, owner) else { throw Violation("no lease") }
        try await subject.advance(.seconds(5))
        try require(try await acquire("a", subject) == nil, "another one got it")
        guard let again = try await acquire("a", subject, owner) else { throw Violation("it is not known again") }
        try require(again.fencingToken > first.fencingToken, "the fencing token did not grow")
        try require(try await !subject.store.release(first), "the lost one still acts")
        // It lasts from then on.
        try await subject.advance(.seconds(8))
        try require(try await acquire("a", subject) == nil, "another one got it before its end")
        try await subject.advance(.seconds(4))
        try require(try await acquire("a", subject) != nil, "it has no end")
      },
    ]
  }

  /// A lease of ten seconds.
  private static func acquire(
    _ name: Identifier, _ subject: Subject, _ owner: LeaseOwner = LeaseOwner(random: SystemRandom())
  ) async throws -> Lease? {
    try await subject.store.acquireLease(name, for: owner, lasting: .seconds(10), now: subject.time.wallNow())
  }

  static var sealedChecks: [Check] {
    [
      Check("a pending login is good for one of 100 takers (fault 23)") { subject in
        let keys = try KeyRing([Secret([UInt8](repeating: 7, count: 32))])
        let logins = PendingLogins(store: subject.store, keys: keys, time: subject.time, random: SystemRandom())
        let browser = BrowserBinding(random: SystemRandom())
        let state = try await logins.begin(.example(), browser: browser)
        let takes = try await parallel { _ in try await logins.take(state: Array(state.reveal().utf8), browser: browser) }
        let taken = takes.count { if case .taken = $0 { true } else { false } }
        let unknown = takes.count { if case .unknown = $0 { true } else { false } }
        try require(taken == 1 && unknown == 99, "\(taken) took it")
      },
      Check("a flipped, cut, foreign or empty value is no session and is removed (fault 9)") { subject in
        let keys = try KeyRing([Secret([UInt8](repeating: 7, count: 32))])
        let manager = SessionManager(store: subject.store, keys: keys, time: subject.time, random: SystemRandom())
        let (foreignID, _) = try await manager.create(from: .example(subject: "mallory", now: manager.now()))
        let foreign = try await subject.store.read(SessionKey(foreignID).record)?.value ?? []
        for damage in Damage.allCases {
          let (id, session) = try await manager.create(from: .example(now: manager.now()))
          let key = SessionKey(id).record
          guard let stored = try await subject.store.read(key) else { throw Violation("the session was not stored") }
          let value = damage.apply(to: stored.value, foreign: foreign)
          _ = try await subject.put(key, value, expecting: session.version)
          guard case .none = try await manager.load(id) else { throw Violation("a value with damage '\(damage)' became a session") }
          let left = try await subject.store.read(key)
          try require(left == nil, "the damaged value stays")
        }
      },
    ]
  }

  static var walkChecks: [Check] {
    (1...4).map { seed in
      Check("thousands of random steps answer as the model does (seed \(seed))") { subject in
        var walk = SessionStoreWalk(subject, seed: UInt64(seed))
        try await walk.run(steps: Int(5_000 * subject.walks))
      }
    }
  }

  /// What an attacker or a broken disk does to a value.
  private enum Damage: CaseIterable {
    case flippedFirst, flippedKeyID, flippedMiddle, flippedLast, cut, emptied, extended, anothers

    func apply(to value: [UInt8], foreign: [UInt8]) -> [UInt8] {
      var value = value
      switch self {
      case .flippedFirst: flip(&value, 0)
      case .flippedKeyID: flip(&value, 2)
      case .flippedMiddle: flip(&value, value.count / 2)
      case .flippedLast: flip(&value, value.count - 1)
      case .cut: value.removeLast(value.count / 3)
      case .emptied: value = []
      case .extended: value.append(0)
      case .anothers: value = foreign
      }
      return value
    }

    private func flip(_ value: inout [UInt8], _ index: Int) {
      if value.indices.contains(index) { value[index] ^= 1 }
    }
  }
}

extension VerifiedLogin {
  /// A login as the provider of tests gives it.
  package static func example(
    issuer: Identifier = "https://id.example", subject: Identifier = "alice", sid: Identifier? = "sid-1", now: WallInstant,
    accessLife: Duration? = .seconds(300), refreshToken: String? = "refresh-0"
  ) -> VerifiedLogin {
    VerifiedLogin(
      issuer: issuer, subject: subject, sid: sid, claims: ["preferred_username": .string(subject.description)],
      tokens: SessionTokens(
        accessToken: Secret("access-0"), received: now, accessExpiry: accessLife.map { now.advanced(by: $0) },
        refreshToken: refreshToken.map { Secret($0) }, idToken: Secret("id-token-0")))
  }
}

extension PendingLogin {
  /// A login under way, for tests.
  package static func example(returnTo: String = "/fs/", isSilent: Bool = false) -> PendingLogin {
    PendingLogin(
      issuer: "https://id.example", nonce: Secret("nonce"), codeVerifier: Secret("verifier"), redirectURI: "https://ics.example/callback",
      returnTo: returnTo, isSilent: isSilent, embedderOrigin: isSilent ? "https://mail.example" : nil)
  }
}
