import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import Sessions
import Synchronization

/// What applications may know of a session: no token, nobody's name.
struct SessionState: Sendable, Equatable {
  enum Standing: Sendable, Equatable {
    /// Seconds until it ends if it is not used, and until it ends however much it is.
    case signedIn(idle: Int, absolute: Int)
    /// Why not: a stable word.
    case signedOut(String)
  }
  let standing: Standing

  static func signedOut(_ reason: String) -> SessionState { SessionState(standing: .signedOut(reason)) }

  /// - Parameter lastUse: the latest that is known beside the store.
  static func signedIn(_ session: Session, lastUse: WallInstant?, _ sessions: SessionManager) -> SessionState {
    let (now, settings) = (sessions.now(), sessions.settings)
    let absolute = min(session.absoluteExpiry, session.created.advanced(by: settings.absolute))
    let idle = max(session.lastUse, lastUse ?? session.lastUse).advanced(by: settings.idle)
    func left(_ end: WallInstant) -> Int { Int(clamping: max(0, end.seconds &- now.seconds)) }
    return SessionState(standing: .signedIn(idle: left(idle), absolute: left(absolute)))
  }

  /// Of a session that is over where nobody knows why, and of none at all.
  static let endedWord = "session_ended"
  static let ended = SessionState.signedOut(endedWord)
  static let none = SessionState.signedOut("no_session")

  /// `{"signedIn":true,"expiresIn":…,"idleExpiresIn":…,"absoluteExpiresIn":…}` or `{"signedIn":false,"reason":"…"}`
  var json: [UInt8] {
    switch standing {
    case .signedIn(let idle, let absolute):
      return Array(
        #"{"signedIn":true,"expiresIn":\#(min(idle, absolute)),"idleExpiresIn":\#(idle),"absoluteExpiresIn":\#(absolute)}"#.utf8)
    case .signedOut(let reason):
      var out = Array(#"{"signedIn":false,"reason":"#.utf8)
      Problem.appendString(reason, to: &out)
      out.append(UInt8(ascii: "}"))
      return out
    }
  }
}

/// Open tabs that want to hear of their session's end: server-sent events
/// ([HTML §9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)). One per process. Watching is no use of the session, and asks the
/// provider for nothing.
package final class SessionWatch: Sendable {
  /// The bounds, and how often a quiet stream says that it lives, so that one whose client is gone is noticed.
  package struct Limits: Sendable {
    package var ofSession = 32
    package var inAll = 4_096
    package var heartbeat = Duration.seconds(15)
    /// How often is looked whether the session's time is over.
    package var look = Duration.seconds(5)
    package init() {}
  }
  private enum Event: Sendable {
    case look
    case ended(String)
    /// The process ends.
    case closing
  }
  private struct State {
    var listeners: [UInt64: AsyncStream<Event>.Continuation] = [:]
    var ofSession: [SessionKey: Set<UInt64>] = [:]
    var last: UInt64 = 0
    var isClosed = false
    /// Watched sessions that others changed and that the store is yet to be asked about, by one task at a time.
    var changed: Set<SessionKey> = []
    var isAsking = false

    func hasRoom(_ key: SessionKey, _ limits: Limits) -> Bool {
      !isClosed && listeners.count < limits.inAll && (ofSession[key]?.count ?? 0) < limits.ofSession
    }
  }

  private let limits: Limits
  private let sessions: SessionManager
  private let time: any TimeSource
  private let random: any RandomSource
  private let state = Mutex(State())

  /// What is tried when the store does not say whether a session lives.
  private static let pauses: [Duration] = [.milliseconds(500), .seconds(1), .seconds(2)]
  private static let head = Duration.milliseconds(200)
  /// Questions to the store at the same time.
  private static let width = 16

  package init(_ sessions: SessionManager, time: any TimeSource, random: any RandomSource, limits: Limits = Limits()) {
    self.sessions = sessions
    self.time = time
    self.random = random
    self.limits = limits
  }

  /// How many tabs listen now.
  package var count: Int { state.withLock { $0.listeners.count } }

  /// Whether another one may listen to this session.
  func hasRoom(_ key: SessionKey) -> Bool {
    state.withLock { $0.hasRoom(key, limits) }
  }

  /// Ends all streams, so that a server that stops does not wait for them; browsers come back to another one.
  package func close() {
    let open = state.withLock { state in
      state.isClosed = true
      return Array(state.listeners.values)
    }
    for listener in open { listener.yield(.closing) }
  }

  // MARK: one stream

  /// The stream of a session that was live a moment ago.
  func stream(of session: Session) -> Response.Body {
    .stream(length: nil) { [self] writer in
      // Not before: a connection that ends here never runs this, and would leave its listener behind.
      guard let (id, events) = subscribe(session.key) else { return try await writer.write(hint()) }
      defer { unsubscribe(id, session.key) }
      try await writer.write(Array("retry: 3000\n\n".utf8))
      // An end between the decision and the subscription was told to nobody here.
      var known = session
      if let reason = await over(&known, asks: true) { return try await writer.write(Self.signedOut(reason)) }
      try await writer.write(Self.event("session", .signedIn(known, lastUse: nil, sessions)))
      try await send(events, id, known, to: writer)
    }
  }

  private func send(_ events: AsyncStream<Event>, _ id: UInt64, _ session: Session, to writer: any ResponseWriter) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [self] in
        while true {
          try await time.sleep(for: limits.look)
          tell(id, .look)
        }
      }
      defer { group.cancelAll() }
      var known = session
      var beaten = time.monotonicNow()
      for await event in events {
        switch event {
        case .ended(let reason): return try await writer.write(Self.signedOut(reason))
        case .closing: return try await writer.write(hint())
        case .look:
          if let reason = await over(&known, asks: false) { return try await writer.write(Self.signedOut(reason)) }
          guard beaten.duration(to: time.monotonicNow()) >= limits.heartbeat else { continue }
          beaten = time.monotonicNow()
          try await writer.write(Array(":\n\n".utf8))
        }
      }
    }
  }

  /// Why the session is over; nil while it lives or nobody can say. A session whose time seems to be over is read again: others know later uses,
  /// and those that are not written yet are younger than a touch interval.
  private func over(_ known: inout Session, asks: Bool) async -> String? {
    if !asks, case .live = sessions.freshness(of: known) { return nil }
    let noted = known.lastUse.advanced(by: sessions.settings.touchInterval)
    guard let lookup = try? await sessions.load(known.key, noted: noted) else { return nil }
    switch lookup {
    case .live(let session):
      known = session
      return nil
    case .none: return SessionState.endedWord
    case .ended(let reason): return reason.rawValue
    }
  }

  /// Each comes back after another time, so that not all of them ask the next process at once.
  private func hint() -> [UInt8] {
    let draw = random.bytes(2).reduce(0) { $0 << 8 | Int($1) }
    return Array("retry: \(1_000 + draw % 4_000)\n\n".utf8)
  }

  private static func signedOut(_ reason: String) -> [UInt8] { event("signed-out", .signedOut(reason)) }
  private static func event(_ name: String, _ state: SessionState) -> [UInt8] {
    Array("event: \(name)\ndata: ".utf8) + state.json + Array("\n\n".utf8)
  }

  // MARK: listeners

  private func subscribe(_ key: SessionKey) -> (id: UInt64, events: AsyncStream<Event>)? {
    state.withLock { state in
      guard state.hasRoom(key, limits) else { return nil }
      // The newest are kept: the last one is the end.
      let (stream, continuation) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .bufferingNewest(2))
      state.last &+= 1
      state.listeners[state.last] = continuation
      state.ofSession[key, default: []].insert(state.last)
      return (state.last, stream)
    }
  }

  private func unsubscribe(_ id: UInt64, _ key: SessionKey) {
    state.withLock { state in
      state.listeners[id] = nil
      state.ofSession[key]?.remove(id)
      if state.ofSession[key]?.isEmpty == true { state.ofSession[key] = nil }
    }
  }

  private func tell(_ id: UInt64, _ event: Event) { _ = state.withLock { $0.listeners[id]?.yield(event) } }

  private func tellEnd(_ key: SessionKey, _ reason: String) {
    let listeners = state.withLock { state in (state.ofSession[key] ?? []).compactMap { state.listeners[$0] } }
    for listener in listeners {
      listener.yield(.ended(reason))
      // Nothing after it.
      listener.finish()
    }
  }

  // MARK: what others change

  /// Other replicas changed these sessions, or ended them; nil: nobody knows which. The store tells, for those that are watched.
  func changed(_ keys: [SessionKey]?) {
    let begins = state.withLock { state in
      state.changed.formUnion(keys?.filter { state.ofSession[$0] != nil } ?? Array(state.ofSession.keys))
      guard !state.changed.isEmpty, !state.isAsking else { return false }
      state.isAsking = true
      return true
    }
    guard begins else { return }
    Task {
      while true {
        // An end that happens in this process is told by it, and its reason known: that comes first.
        try? await time.sleep(for: Self.head)
        guard let keys = nextChanged() else { return }
        await withTaskGroup(of: Void.self) { group in
          for (index, key) in keys.enumerated() {
            if index >= Self.width { await group.next() }
            group.addTask { await self.ask(key) }
          }
        }
      }
    }
  }

  private func nextChanged() -> Set<SessionKey>? {
    state.withLock { state in
      state.isAsking = !state.changed.isEmpty
      defer { state.changed = [] }
      return state.isAsking ? state.changed : nil
    }
  }

  private func ask(_ key: SessionKey) async {
    for pause in Self.pauses {
      if let isThere = try? await sessions.isThere(key) {
        if !isThere { tellEnd(key, SessionState.endedWord) }
        return
      }
      try? await time.sleep(for: pause)
    }
  }
}

extension SessionWatch: SessionEndObserver {
  package func sessionsEnded(_ sessions: [EndedSession]) async {
    for session in sessions { tellEnd(session.key, session.reason.rawValue) }
  }
}
