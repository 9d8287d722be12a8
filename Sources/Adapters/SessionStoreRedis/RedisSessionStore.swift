import Cryptography
import EventLoop
import IntercomCore
import Sessions
import Synchronization
import Telemetry

/// Keeps records in Redis 7, for replicas that share them. One connection carries all calls of the process, in pipelines; what is not answered in
/// time is `unavailable` and never "no record". What a write did whose answer was lost is not known, and it is not sent again.
package final class RedisSessionStore: SessionStore {
  private let actor: LoopActor
  private let number: Int
  private let settings: RedisSettings
  private let time: any TimeSource
  private let random: any RandomSource
  private let clock: @Sendable () -> WallInstant
  private let ticker: Task<Void, Never>
  private let metrics: RedisMetrics
  /// Says until when copies of records are good, and what others changed.
  package let watch: RedisWatch

  /// How often calls' times are looked at.
  private static let tick = Duration.milliseconds(100)
  /// How long what remains of a record stays behind its end: its version, for fencing.
  private static let grace = Duration.seconds(600)
  /// An index entry whose record is not there is removed when it is this old; a younger one may be on its way.
  private static let staleAfter = Duration.seconds(600)

  /// Begins to connect; calls wait for it within their time.
  ///
  /// - Parameters:
  ///   - actor: the loop that the connection lives on.
  package init(
    _ settings: RedisSettings, on actor: LoopActor, resolver: NameResolver, time: any TimeSource, random: any RandomSource,
    log: StructuredLog, registry: MetricRegistry? = nil
  ) async {
    self.actor = actor
    self.settings = settings
    self.time = time
    self.random = random
    clock = { time.wallNow() }
    let number = -storeNumbers.add(1, ordering: .relaxed).newValue
    self.number = number
    let metrics = RedisMetrics(registry)
    self.metrics = metrics
    let watch = RedisWatch(number: number, time: time, log: log, metrics: metrics)
    self.watch = watch
    registry?.value("redis_copies_usable", help: "1 while copies of sessions may be used; 0: every request reads its session.") {
      watch.lease.isValid(time.monotonicNow()) ? 1 : 0
    }
    let greeting = Self.greeting(settings)
    await actor.withLoop { loop in
      let link = RedisLink(settings, greeting: greeting, number: number, loop: loop, resolver: resolver, random: random)
      loop.attachments[number] = link
      link.onPush = { watch.told($0) }
      link.onChange = { watch.connectionChanged($0) }
      link.tick()
    }
    ticker = Task {
      while !Task.isCancelled {
        await actor.withLoop { loop in
          guard let link = loop.attachments[number] as? RedisLink else { return }
          link.tick()
          watch.tick(link, loop.now)
        }
        try? await time.sleep(for: Self.tick)
      }
    }
  }

  deinit { ticker.cancel() }

  /// Ends the connection; later calls are `unavailable`.
  package func close() async {
    ticker.cancel()
    await actor.withLoop { [number] loop in
      (loop.attachments[number] as? RedisLink)?.stop()
      loop.attachments[number] = nil
    }
  }

  private static func greeting(_ settings: RedisSettings) -> RedisCommands {
    var greeting = RedisCommands()
    var hello = words("HELLO", "3")
    if let password = settings.password { hello += words("AUTH", settings.user) + [Array(password.reveal().utf8)] }
    greeting.add(hello + words("SETNAME", "intercom"))
    if settings.database != 0 { greeting.add(words("SELECT", "\(settings.database)")) }
    // Refused while the server is on its way up, or has lost its master.
    greeting.add(words("PING"))
    greeting.add(words("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", RedisKeys.sessionPrefix, "NOLOOP"))
    return greeting
  }

  // MARK: records

  package func read(_ key: RecordKey) async throws(SessionStoreError) -> StoredRecord? {
    let answers = try await call(.read, passing: Self.foreign) {
      $0.add(words("HMGET") + [RedisKeys.record(key)] + words("v", "x", "d"))
    }
    // What somebody else put there is a record that nobody can open: it is counted and removed as any damaged one.
    if answers.first?.errorCode == Self.foreign { return StoredRecord(value: [], version: 0, expiry: clock().advanced(by: Self.grace)) }
    guard let fields = answers.first?.elements, fields.count == 3 else { throw await distrusted() }
    return Self.record(version: fields[0], expiry: fields[1], value: fields[2], now: clock())
  }

  /// The error of a command for a key that holds something of another type.
  private static let foreign = "WRONGTYPE"

  private static func record(version: RESP3Value, expiry: RESP3Value, value: RESP3Value, now: WallInstant) -> StoredRecord? {
    guard let version = version.number, let expiry = expiry.number.flatMap({ Int64(exactly: $0) }), let value = value.bytes,
      expiry > now.seconds
    else { return nil }
    return StoredRecord(value: value, version: version, expiry: WallInstant(seconds: expiry))
  }

  package func write(
    _ key: RecordKey, _ value: [UInt8], indexes: [IndexKey], expiry: WallInstant, expecting expected: UInt64?
  ) async throws(SessionStoreError) -> WriteOutcome {
    guard value.count <= maximumRecordBytes else { throw .tooLarge }
    let write = Write(key: key, value: value, indexes: indexes, expiry: expiry, expected: expected, now: clock())
    // A new record is entered in its indexes before it exists: whoever then looks for it by them finds it. Later writes know only whether
    // the indexes are still the same, which they nearly always are.
    if expected == nil, !indexes.isEmpty { return try await self.write(write, stamp: stamp()) }
    let outcome = try await attempt(write, stamp: nil)
    if case .needsIndex = outcome { return try await self.write(write, stamp: stamp()) }
    return try await finish(outcome, write, stamp: nil)
  }

  private struct Write: Sendable {
    let key: RecordKey
    let value: [UInt8]
    let indexes: [IndexKey]
    let expiry: WallInstant
    let expected: UInt64?
    let now: WallInstant

    var life: Int64 { max(0, expiry.seconds - now.seconds) * 1000 + RedisSessionStore.graceMilliseconds }
  }

  private enum Attempt: Sendable {
    case written(version: UInt64, indexes: [UInt8], stamp: [UInt8])
    case conflict, deleted, needsIndex
  }

  fileprivate static let graceMilliseconds = grace.components.seconds * 1000

  private func write(_ write: Write, stamp: String) async throws(SessionStoreError) -> WriteOutcome {
    try await finish(try await attempt(write, stamp: stamp), write, stamp: stamp)
  }

  private func attempt(_ write: Write, stamp: String?) async throws(SessionStoreError) -> Attempt {
    let answers = try await call(.write, kind: write.key.kind) { commands in
      for index in write.indexes {
        if let stamp {
          let member = RedisKeys.member(write.key, stamp.utf8)
          commands.add(eval(RedisScripts.index, RedisKeys.index(index), [member] + words(stamp, "\(write.life)")))
        } else {
          commands.add(eval(RedisScripts.extend, RedisKeys.index(index), words("\(write.life)")))
        }
      }
      commands.add(
        eval(
          RedisScripts.write, RedisKeys.record(write.key),
          words("\(write.now.seconds)", write.expected.map { "\($0)" } ?? "") + [write.value]
            + words("\(write.expiry.seconds)", "\(write.life)") + [RedisKeys.list(write.indexes)] + words(stamp ?? "")))
    }
    guard let fields = answers.last?.elements, let word = fields.first?.bytes else { throw await distrusted() }
    if word.elementsEqual("conflict".utf8) { return .conflict }
    if word.elementsEqual("deleted".utf8) { return .deleted }
    if word.elementsEqual("index".utf8) { return .needsIndex }
    guard fields.count == 4, let version = fields[1].number, let indexes = fields[2].bytes, let stamp = fields[3].bytes else {
      throw await distrusted()
    }
    return .written(version: version, indexes: indexes, stamp: stamp)
  }

  /// Removes the index entries that nobody needs any more: those of before, or those of a write that was refused.
  private func finish(_ attempt: Attempt, _ write: Write, stamp: String?) async throws(SessionStoreError) -> WriteOutcome {
    switch attempt {
    case .written(let version, let indexes, let old):
      if let stamp {
        if !old.isEmpty, !old.elementsEqual(stamp.utf8) { await unindex(write.key, RedisKeys.indexes(in: indexes), stamp: old) }
      } else {
        await reindex(write, stamp: old)
      }
      return .written(version: version)
    case .conflict, .needsIndex:
      if let stamp { await unindex(write.key, write.indexes.map { RedisKeys.index($0) }, stamp: Array(stamp.utf8)) }
      return .conflict
    case .deleted:
      if let stamp { await unindex(write.key, write.indexes.map { RedisKeys.index($0) }, stamp: Array(stamp.utf8)) }
      return .deleted
    }
  }

  package func delete(_ key: RecordKey, expecting expected: UInt64?, tombstone: Duration) async throws(SessionStoreError) -> Bool {
    let now = clock()
    let answers = try await call(.write) { commands in
      commands.add(deletion(key, expecting: expected, tombstone: tombstone, now: now, isWanted: false))
    }
    guard let deleted = answers.first.flatMap({ Deleted($0) }) else { throw await distrusted() }
    if deleted.isDone { await unindex(key, RedisKeys.indexes(in: deleted.indexes), stamp: deleted.stamp) }
    return deleted.isDone
  }

  /// What the script for deletions answers.
  private struct Deleted {
    var isDone = false
    var indexes: [UInt8] = []
    var stamp: [UInt8] = []
    /// Version, expiry and value.
    var record: ArraySlice<RESP3Value> = []

    init?(_ answer: RESP3Value) {
      guard let fields = answer.elements, let done = fields.first?.integer else { return nil }
      guard done == 1 else { return }
      guard fields.count == 6, let indexes = fields[1].bytes, let stamp = fields[2].bytes else { return nil }
      (isDone, self.indexes, self.stamp, record) = (true, indexes, stamp, fields[3...])
    }
  }

  package func take(_ keys: [RecordKey], tombstone: Duration) async -> TakenRecords {
    var taken = TakenRecords()
    // Pages, so that no call holds up those of others for long.
    for start in stride(from: 0, to: keys.count, by: Self.takenAtOnce) where taken.failure == nil {
      let page = keys[start..<min(start + Self.takenAtOnce, keys.count)]
      do throws(SessionStoreError) { try await take(page, tombstone, &taken) } catch { taken.failure = error }
    }
    return taken
  }

  private static let takenAtOnce = 64

  private func take(_ keys: ArraySlice<RecordKey>, _ tombstone: Duration, _ taken: inout TakenRecords) async throws(SessionStoreError) {
    let now = clock()
    let answers = try await call(.write) { commands in
      for key in keys { commands.add(deletion(key, expecting: nil, tombstone: tombstone, now: now, isWanted: true)) }
    }
    var entries: [[UInt8]: [[UInt8]]] = [:]
    for (key, answer) in zip(keys, answers) {
      guard let deleted = Deleted(answer) else { throw await distrusted() }
      guard deleted.isDone, let version = deleted.record.first, let value = deleted.record.last else { continue }
      taken.count += 1
      if let record = Self.record(version: version, expiry: deleted.record[deleted.record.startIndex + 1], value: value, now: now) {
        taken.records.append((key, record))
      }
      for index in RedisKeys.indexes(in: deleted.indexes) { entries[index, default: []].append(RedisKeys.member(key, deleted.stamp)) }
    }
    guard !entries.isEmpty else { return }
    _ = try? await call(.write) { commands in for (index, members) in entries { commands.add(words("ZREM") + [index] + members) } }
  }

  private func deletion(
    _ key: RecordKey, expecting expected: UInt64?, tombstone: Duration, now: WallInstant, isWanted: Bool
  ) -> [[UInt8]] {
    let life = tombstone.components.seconds * 1000 + Self.graceMilliseconds
    let end = tombstone > .zero ? now.advanced(by: tombstone).seconds : 0
    return eval(
      RedisScripts.delete, RedisKeys.record(key),
      words("\(now.seconds)", expected.map { "\($0)" } ?? "", "\(end)", "\(life)", isWanted ? "1" : ""))
  }

  /// Best effort: an entry that stays leads to no record, and is removed when somebody meets it.
  private func unindex(_ key: RecordKey, _ indexes: [[UInt8]], stamp: [UInt8]) async {
    guard !indexes.isEmpty, !stamp.isEmpty else { return }
    _ = try? await call(.write) { commands in
      for index in indexes { commands.add(words("ZREM") + [index, RedisKeys.member(key, stamp)]) }
    }
  }

  /// Best effort: enters a record anew where its entry may be gone. A server that evicts takes indexes too, and who signs out would not find
  /// the session by them.
  private func reindex(_ write: Write, stamp: [UInt8]) async {
    guard !write.indexes.isEmpty, !stamp.isEmpty else { return }
    _ = try? await call(.write) { commands in
      for index in write.indexes {
        let arguments = [RedisKeys.member(write.key, stamp), stamp] + words("\(write.life)")
        commands.add(eval(RedisScripts.index, RedisKeys.index(index), arguments))
      }
    }
  }

  package var copiesLast: Duration { CopyLease.length + CopyLease.margin }

  // MARK: indexes

  package func find(_ index: IndexKey, limit: Int) async throws(SessionStoreError) -> [RecordKey] {
    let page = 512
    let (name, own) = (RedisKeys.index(index), RedisKeys.list([index]))
    var found: [RecordKey] = []
    var stale: [[UInt8]] = []
    // By stamps, not by places: others may remove entries meanwhile, and what stands behind those moves up.
    var start: [UInt8] = Array("-inf".utf8)
    while found.count < limit {
      let range = words("ZRANGE") + [name, start] + words("+inf", "BYSCORE", "LIMIT", "0", "\(page)")
      let answers = try await call(.read) { $0.add(range) }
      guard let entries = answers.first?.elements else { throw await distrusted() }
      guard let last = entries.last?.bytes else { break }
      let stamp = RedisKeys.stamp(ofMember: last)
      // A whole page of one stamp: on behind it.
      start = stamp == start ? [UInt8(ascii: "(")] + stamp : stamp
      // A record whose write was repeated may stand there twice.
      var seen = Set(found)
      let members = entries.compactMap(\.bytes).compactMap { member in RedisKeys.key(ofMember: member).map { (member: member, key: $0) } }
        .filter { seen.insert($0.key).inserted }
      let records = try await call(.read, passing: Self.foreign) { commands in
        for (_, key) in members { commands.add(words("HMGET") + [RedisKeys.record(key)] + words("x", "i")) }
      }
      let now = clock()
      for ((member, key), record) in zip(members, records) where found.count < limit {
        guard let fields = record.elements, fields.count == 2 else {
          if record.errorCode == Self.foreign { continue }
          throw await distrusted()
        }
        let isLive = fields[0].number.map { $0 > UInt64(clamping: now.seconds) } ?? false
        // Entries of records that are over, or have other indexes now, lead nowhere.
        if isLive, let indexes = fields[1].bytes, RedisKeys.contains(indexes, own) {
          found.append(key)
        } else if let made = RedisKeys.second(ofMember: member), made < now.seconds - Self.staleAfter.components.seconds {
          stale.append(member)
        }
      }
      if entries.count < page { break }
    }
    // Behind the last page: what goes moves the places of the others.
    if !stale.isEmpty { _ = try? await call(.write) { commands in commands.add(words("ZREM") + [name] + stale) } }
    return found
  }

  // MARK: calls

  /// An answer of a form that no command of ours has: those behind it may be others' too, so the connection is given up.
  private func distrusted() async -> SessionStoreError {
    await actor.withLoop { [number] loop in (loop.attachments[number] as? RedisLink)?.distrust() }
    return .unavailable("Redis gave an answer of another form")
  }

  /// Milliseconds and twelve random bits: tells one write's index entries from another's, and how old they are. Fits into a double.
  private func stamp() -> String {
    let draw = random.bytes(2).reduce(0) { $0 << 8 | Int64($1) } & 0xfff
    return "\(clock().seconds &* 1000 &* 4096 &+ Int64(time.monotonicNow().nanoseconds / 1_000_000 % 1000) &* 4096 &+ draw)"
  }

  /// - Parameter passed: an error that is an answer to the caller.
  private func call(
    _ kind: RedisCall.Kind, kind record: RecordKind? = nil, passing passed: String? = nil, _ build: (inout RedisCommands) -> Void
  ) async throws(SessionStoreError) -> [RESP3Value] {
    var commands = RedisCommands()
    build(&commands)
    guard commands.count > 0 else { return [] }
    let result = await actor.ask(number, commands, kind, settings.deadline)
    metrics.ended(result)
    switch result {
    case .success(let answers):
      guard let code = answers.lazy.compactMap(\.errorCode).first(where: { $0 != passed }) else { return answers }
      if code == "OOM", let record { throw .full(record) }
      throw .unavailable("Redis refused a command: \(code)")
    case .failure(.notConnected(let reason)): throw .unavailable("Redis: \(reason)")
    case .failure(.unanswered): throw .unavailable("Redis did not answer in time")
    case .failure(.overloaded): throw .unavailable("too many calls wait for Redis")
    }
  }

  /// Whether the server answers, for readiness.
  package func ping() async throws(SessionStoreError) { _ = try await call(.read) { $0.add(words("PING")) } }
}

extension LoopActor {
  /// Sends the commands together and waits for their answers.
  func ask(
    _ number: Int, _ commands: RedisCommands, _ kind: RedisCall.Kind, _ limit: Duration
  ) async -> Result<[RESP3Value], RedisFailure> {
    guard let link = loop.attachments[number] as? RedisLink else { return .failure(.notConnected("the store is closed")) }
    return await withCheckedContinuation { continuation in
      link.call(RedisCall(commands, kind, until: loop.now.advanced(by: limit)) { continuation.resume(returning: $0) })
    }
  }
}

/// Text as the words of a command.
func words(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }

/// A script with one key.
func eval(_ script: [UInt8], _ key: [UInt8], _ arguments: [[UInt8]]) -> [[UInt8]] {
  words("EVAL") + [script] + words("1") + [key] + arguments
}

/// Tells the stores of a process apart.
private let storeNumbers = Atomic<Int>(0)
