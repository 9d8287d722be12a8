import IntercomApp
import IntercomCore
import Linux
import Sessions
import Telemetry

/// What `intercom serve` does, by the same composition root, on a memory store that already holds sessions.
enum PrefilledServe {
  static func run(configuration file: String, sessions count: Int) async throws {
    raiseDescriptorLimit()
    let sessions = try BenchSessions(configuration: file)
    let signals = try serverSignals()
    let log = StructuredLog(minimum: sessions.configuration.log.level)
    var deployment = try Deployment(sessions.configuration, log: log, random: SystemRandom())
    let store = MemorySessionStore(time: deployment.time)
    deployment.store = .given(store)
    try await sessions.fill(store, keys: deployment.keys, settings: deployment.sessions, count: count)
    let running = try await Composition.start(deployment)
    BenchHost.say("ready")
    for await signal in signals where signal != .hangup { break }
    guard await running.stop() else { throw BenchFault(description: "the time to drain was over") }
  }
}
