import EventLoop
import IntercomCore
import SessionStoreRedis
import SessionStoreSQLite
import Sessions
import Telemetry
import Workers

/// The place where sessions are kept, opened: what must be closed of it, and how it does.
package struct OpenStorage: Sendable {
  package let store: any SessionStore
  /// Until when copies of its records are good.
  var lease = CopyLease.unlimited
  private var database: SQLiteSessionStore?
  private var shared: Shared?

  /// A store that replicas share, with what carries its connection. A loop of its own: requests that keep the others busy do not hold it up.
  private struct Shared {
    let store: RedisSessionStore
    let loops: EventLoopGroup
    let names: Workers
  }

  private init(_ store: any SessionStore) { self.store = store }

  /// Opens what the deployment names. Throws when it cannot be; a Redis that is not there is waited for by its calls.
  package static func open(_ deployment: Deployment, _ registry: MetricRegistry) async throws -> OpenStorage {
    switch deployment.store {
    case .memory: return OpenStorage(MemorySessionStore(time: deployment.time, capacity: MemorySessionStore.Capacity()))
    case .given(let store): return OpenStorage(store)
    case .sqlite(let path):
      let database = try await SQLiteSessionStore.open(path: path, time: deployment.time, log: deployment.log, registry: registry)
      var storage = OpenStorage(database)
      storage.database = database
      return storage
    case .redis(let settings):
      let loops = try EventLoopGroup(count: 1, configuration: LoopConfiguration(time: deployment.time))
      let names = try Workers(name: "store-names", threads: 1)
      let store = await RedisSessionStore(
        settings, on: loops.loops[0], resolver: NameResolver(workers: names, time: deployment.time), time: deployment.time,
        random: SystemRandom(), log: deployment.log, registry: registry)
      var storage = OpenStorage(store)
      storage.lease = store.watch.lease
      storage.shared = Shared(store: store, loops: loops, names: names)
      return storage
    }
  }

  /// Whoever holds copies hears what other replicas change.
  func tell(_ holder: any SessionCopyHolder) { shared?.store.watch.attach(holder) }

  /// After the last use.
  package func close() async {
    await database?.close()
    guard let shared else { return }
    await shared.store.close()
    await shared.loops.stop()
    shared.names.stop()
  }

  var check: ReadinessCheck {
    ReadinessCheck(name: "sessions") { [database, shared] in
      if let failure = shared?.store.watch.failure { return .missing("Redis: \(failure)") }
      return switch await database?.condition() {
      case nil, .works?: .works
      case .takesNoWrites(let reason)?: .limited("takes no writes: \(reason)")
      case .fails(let reason)?: .missing(reason)
      }
    }
  }
}
