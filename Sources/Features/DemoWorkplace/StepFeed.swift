import HTTPMessage
import HTTPServer
import IntercomCore
import StrictJSON
import Synchronization
import Telemetry

/// What Intercom did, kept for a moment and sent to open panels as server-sent events
/// ([HTML §9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
///
/// Everything is bounded: the steps kept, the listeners, and what waits for each of them. A listener that is too slow is cut off; its
/// browser comes back by itself and names the last step it has.
package final class StepFeed: StepObserver {
  /// The bounds, and how often a quiet stream says that it lives.
  package struct Limits: Sendable {
    package var kept = 200
    package var listeners = 32
    package var waiting = 256
    package var heartbeat = Duration.seconds(15)
    package init() {}
  }

  private struct State {
    var lastID: UInt64 = 0
    /// The latest steps as events, oldest first.
    var kept: [(id: UInt64, event: [UInt8])] = []
    var listeners: [UInt64: AsyncStream<[UInt8]>.Continuation] = [:]
    var nextListener: UInt64 = 0
    var isClosed = false
  }

  private let limits: Limits
  private let time: any TimeSource
  /// Wall and monotonic clock read together once, so that steps have milliseconds.
  private let start: (wallMilliseconds: Int64, monotonic: MonotonicInstant)
  private let state = Mutex(State())

  package init(time: any TimeSource, limits: Limits = Limits()) {
    self.time = time
    self.limits = limits
    start = (time.wallNow().seconds &* 1000, time.monotonicNow())
  }

  package func observe(_ step: Step) {
    let sinceStart = start.monotonic.duration(to: time.monotonicNow()).wholeNanoseconds / 1_000_000
    let milliseconds = start.wallMilliseconds &+ sinceStart
    state.withLock { state in
      guard !state.isClosed else { return }
      state.lastID &+= 1
      let event = Self.event(step, id: state.lastID, milliseconds: milliseconds)
      if state.kept.count >= limits.kept { state.kept.removeFirst() }
      state.kept.append((state.lastID, event))
      for (listener, continuation) in state.listeners {
        if case .dropped = continuation.yield(event) {
          continuation.finish()
          state.listeners[listener] = nil
        }
      }
    }
  }

  /// Ends all streams, so that a server that stops does not wait for panels.
  package func close() {
    let open = state.withLock { state in
      state.isClosed = true
      defer { state.listeners = [:] }
      return Array(state.listeners.values)
    }
    for continuation in open { continuation.finish() }
  }

  /// `GET /steps`: what is kept after `Last-Event-ID`, then each step as it happens.
  package var endpoint: Endpoint {
    { [self] request, _ in
      // The panel's own page asks; another site has no business with what happens here.
      if let site = request.fields.single("sec-fetch-site"), Identifier(site) != "same-origin", Identifier(site) != "none" {
        return Response(Problem(403, "foreign_site", "Only the demo's own page may listen."))
      }
      guard hasRoom else {
        return Response(Problem(503, "too_many_listeners", "Too many panels are open. Close one and reload."))
      }
      let last = request.fields.single("last-event-id").flatMap { UInt64($0) }
      let fields = Fields(["Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"])
      return Response(
        200, fields,
        stream: .stream(length: nil) { [self] writer in
          // Not before: a connection that ends here never runs this, and would leave its listener behind.
          guard let (id, stream) = subscribe(after: last) else { return }
          defer { unsubscribe(id) }
          try await send(stream, listener: id, to: writer)
        })
    }
  }

  private func send(_ stream: AsyncStream<[UInt8]>, listener: UInt64, to writer: any ResponseWriter) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [self] in
        while true {
          try await time.sleep(for: limits.heartbeat)
          beat(listener)
        }
      }
      defer { group.cancelAll() }
      for await event in stream { try await writer.write(event) }
    }
  }

  private func beat(_ listener: UInt64) { state.withLock { _ = $0.listeners[listener]?.yield(Array(": still here\n\n".utf8)) } }

  private var hasRoom: Bool { state.withLock { !$0.isClosed && $0.listeners.count < limits.listeners } }

  /// How many panels listen now.
  package var listenerCount: Int { state.withLock { $0.listeners.count } }

  private func unsubscribe(_ id: UInt64) { state.withLock { $0.listeners[id] = nil } }

  private func subscribe(after last: UInt64?) -> (id: UInt64, stream: AsyncStream<[UInt8]>)? {
    state.withLock { state in
      guard !state.isClosed, state.listeners.count < limits.listeners else { return nil }
      // What is kept goes first and must fit, whatever the bound for a slow reader is.
      let (stream, continuation) = AsyncStream.makeStream(
        of: [UInt8].self, bufferingPolicy: .bufferingOldest(limits.waiting + limits.kept + 2))
      continuation.yield(Array("retry: 1000\n\n".utf8))
      var after = last ?? 0
      if after > state.lastID {
        // An id of another process: the page starts over.
        continuation.yield(Array("event: restart\ndata: {}\n\n".utf8))
        after = 0
      }
      for (id, event) in state.kept where id > after { continuation.yield(event) }
      state.nextListener &+= 1
      state.listeners[state.nextListener] = continuation
      return (state.nextListener, stream)
    }
  }

  private static func event(_ step: Step, id: UInt64, milliseconds: Int64) -> [UInt8] {
    var members: [JSONObject.Member] = [
      .init("id", .int64(Int64(clamping: id))), .init("at", .int64(milliseconds)), .init("kind", .string(step.kind.rawValue)),
      .init("title", .string(step.title)),
    ]
    if let subject = step.subjectName { members.append(.init("subject", .string(subject))) }
    if let correlation = step.correlation { members.append(.init("correlation", .string(correlation))) }
    var facts: [JSONObject.Member] = []
    for fact in step.facts where !facts.contains(where: { $0.key == Identifier(fact.key.rawValue) }) {
      facts.append(.init(Identifier(fact.key.rawValue), .string(fact.value)))
    }
    members.append(.init("facts", .object(JSONObject(facts) ?? [:])))
    let json = JSONObject(members) ?? [:]
    return Array("event: step\nid: \(id)\ndata: ".utf8) + json.serialized + Array("\n\n".utf8)
  }
}
