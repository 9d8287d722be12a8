import IntercomCore
import Linux
import SQLite
import Sessions
import Synchronization

/// The threads of a store, what waits for them, and the watch over deadlines and expiry.
final class StoreEngine: Sendable {
  let writes: JobQueue<WriteWork>
  let reads: JobQueue<ReadWork>
  let writing: StoreHealth
  let reading: StoreHealth
  let clock: SteadyClock
  private let file: StoreFile
  private let options: SQLiteSessionStore.Options
  private let time: any TimeSource
  private let readersEnded: Countdown
  private let writerEnded = Countdown(1)
  private let waiting = Mutex([any Overdue]())
  private let facts = Mutex(SQLiteSessionStore.Statistics())
  private let isClosed = Atomic(false)
  private let maintenance = Mutex<Task<Void, Never>?>(nil)

  /// Deadlines are looked at this often, so an answer comes at most so much later.
  private static let tick = Duration.milliseconds(200)
  private static let patience = Duration.seconds(10)
  private static let sweepInterval = Duration.seconds(1)
  /// Writes of one transaction: more would make the first of them wait long.
  private static let groupLimit = 512
  private static let groupBytes = 8 << 20

  init(_ file: StoreFile, _ options: SQLiteSessionStore.Options, time: any TimeSource, writing: StoreHealth, reading: StoreHealth) {
    self.file = file
    self.options = options
    self.time = time
    self.writing = writing
    self.reading = reading
    clock = SteadyClock(time)
    writes = JobQueue(limit: options.queueLimit, byteLimit: options.queueBytes)
    reads = JobQueue(limit: options.queueLimit, byteLimit: options.queueBytes)
    readersEnded = Countdown(max(1, options.readers))
  }

  /// Opens the file on the writer's thread, then starts the readers.
  func start() async throws(SQLiteStoreOpenError) {
    if case .failure(let error) = await spawn("sqlite-writer", { self.runWriter($0) }) {
      // Now, not when the thread lets go of the engine: the caller may try again at once.
      file.lock.release()
      throw error
    }
    for number in 0..<max(1, options.readers) {
      let opened = await spawn("sqlite-read-\(number)") { self.runReader($0) }
      if case .failure(let error) = opened {
        for _ in number..<max(1, options.readers) { readersEnded.arrive() }
        await stop()
        throw error
      }
    }
    // Not held by the store: it ends when the engine is stopped.
    let task = Task { [time] in
      var swept = time.monotonicNow()
      while (try? await time.sleep(for: Self.tick)) != nil {
        let now = time.monotonicNow()
        self.refuseOverdue(now)
        guard swept.duration(to: now) >= Self.sweepInterval else { continue }
        swept = now
        self.writes.requestSweep()
      }
    }
    maintenance.withLock { $0 = task }
  }

  private typealias Opened = Result<Void, SQLiteStoreOpenError>
  /// Starts a thread and waits until it has opened its connection, or could not.
  private func spawn(_ name: String, _ body: @escaping @Sendable (CheckedContinuation<Opened, Never>) -> Void) async -> Opened {
    await withCheckedContinuation { continuation in
      do { try Threads.spawn(name: name) { body(continuation) } } catch {
        continuation.resume(returning: .failure(SQLiteStoreOpenError(path: file.path, cause: .thread)))
      }
    }
  }

  /// Does what waits, takes nothing more, and returns when the threads have closed the file; a disk that hangs holds nobody for longer than
  /// `patience`, and then the lock ends with the process.
  func stop() async {
    let alarm = Task { [time, readersEnded, writerEnded] in
      guard (try? await time.sleep(for: Self.patience)) != nil else { return }
      readersEnded.giveUp()
      writerEnded.giveUp()
    }
    defer { alarm.cancel() }
    reads.close()
    await readersEnded.wait()
    // The last connection to close moves the log into the file: it must be the one that may write.
    writes.close()
    await writerEnded.wait()
    if isClosed.load(ordering: .acquiring) { file.lock.release() }
    maintenance.withLock { $0 }?.cancel()
    refuseOverdue(MonotonicInstant(nanoseconds: .max))
  }

  /// Lets everything end without waiting for it.
  func abandon() {
    reads.close()
    writes.close()
    maintenance.withLock { $0 }?.cancel()
  }

  var statistics: SQLiteSessionStore.Statistics { facts.withLock { $0 } }

  /// Puts the work into the queue and waits for its answer or its deadline.
  func call<Work: Sendable, Value: Sendable>(
    _ queue: JobQueue<Work>, _ health: StoreHealth, bytes: Int, _ work: (Answer<Value>) -> Work
  ) async throws(SessionStoreError) -> Value {
    let deadline = time.monotonicNow().advanced(by: options.deadline)
    let result: Result<Value, SessionStoreError> = await withCheckedContinuation { continuation in
      let answer = Answer(continuation, deadline: deadline)
      switch queue.append(Job(work: work(answer), answer: answer, bytes: bytes)) {
      case .queued: waiting.withLock { $0.append(answer) }
      case .overloaded: _ = answer.refuse(health.overdue("too many calls wait for it"))
      case .closed: _ = answer.refuse(.unavailable("the session database: closed"))
      }
    }
    return try result.get()
  }

  private func refuseOverdue(_ now: MonotonicInstant) {
    let overdue = waiting.withLock { waiting -> [any Overdue] in
      waiting.removeAll { $0.isGiven }
      return waiting.filter { $0.deadline <= now }
    }
    guard !overdue.isEmpty else { return }
    let refusal = writing.overdue("no answer within \(options.deadline)")
    for answer in overdue { _ = answer.refuse(refusal) }
  }

  private func runWriter(_ opened: CheckedContinuation<Opened, Never>) {
    defer { writerEnded.arrive() }
    let writer: StoreWriter
    do throws(SQLiteStoreOpenError) { writer = try StoreWriter(file, options, writing, clock) } catch {
      opened.resume(returning: .failure(error))
      return
    }
    note(writer)
    opened.resume(returning: .success(()))
    while true {
      switch writes.take(count: Self.groupLimit, bytes: Self.groupBytes) {
      case .jobs(let jobs):
        writer.run(jobs) { note(writer, jobs: jobs.count) }
      case .sweep:
        if writer.sweep() { writes.requestSweep() }
        note(writer)
      case .end:
        writer.close()
        isClosed.store(true, ordering: .releasing)
        return
      }
    }
  }

  private func runReader(_ opened: CheckedContinuation<Opened, Never>) {
    let reader: StoreReader
    do throws(SQLiteError) { reader = try StoreReader(file, options, reading) } catch {
      opened.resume(returning: .failure(SQLiteStoreOpenError(path: file.path, cause: .database(error))))
      return
    }
    opened.resume(returning: .success(()))
    while true {
      switch reads.take(count: 1) {
      case .jobs(let jobs): for job in jobs { reader.run(job) }
      case .sweep: continue
      case .end:
        // Before anybody is told, and not when the reader goes out of scope: whoever waits will take the file as closed.
        reader.close()
        readersEnded.arrive()
        return
      }
    }
  }

  private func note(_ writer: StoreWriter, jobs: Int = 0) {
    facts.withLock { facts in
      facts.groups = writer.groups
      facts.writes &+= jobs
      facts.counts = writer.counts
    }
  }
}
