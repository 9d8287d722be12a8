import EventLoop
import IntercomCore
import IntercomTesting
import Linux
import Synchronization
import Testing
import Workers

@Suite("Workers and names")
struct WorkersTests {
  @Test("work runs on the workers' threads and gives its value back")
  func run() async throws {
    let workers = try Workers(name: "t", threads: 2)
    let outside = Threads.current
    let inside = try await workers.run { Threads.current }
    #expect(inside != outside)
    let preferred = await withTaskExecutorPreference(workers) { await elsewhere() }
    #expect(preferred != outside)
    workers.stop()
  }

  @Test("more calls than may wait are refused, and the refused one does not run")
  func overload() async throws {
    let workers = try Workers(name: "t", threads: 1, queueLimit: 1)
    let gate = Monitor(false)
    let started = Atomic<Bool>(false)
    async let first: Void = workers.run { @Sendable in
      started.store(true, ordering: .releasing)
      gate.wait { $0 ? () : nil }
    }
    #expect(await eventually { started.load(ordering: .acquiring) })
    let outcomes = Monitor<[Bool]>([])
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          do {
            try await workers.run {}
            outcomes.withLock { $0.append(true) }
          } catch { outcomes.withLock { $0.append(false) } }
        }
      }
      #expect(await eventually { outcomes.withLock { $0.count } == 3 })
      #expect(outcomes.withLock { $0 } == [false, false, false])
      gate.withLock { $0 = true }
      gate.broadcast()
    }
    #expect(outcomes.withLock { $0 }.last == true)
    try await first
    workers.stop()
  }

  @Test("a task that is resumed after the stop still ends")
  func late() async throws {
    let workers = try Workers(name: "t", threads: 1)
    let task = Task(executorPreference: workers) {
      try? await SystemTime().sleep(for: .milliseconds(30))
      return true
    }
    workers.stop()
    #expect(await task.value)
  }

  @Test(
    "localhost, its subdomains and literals need no resolver",
    arguments: [
      ("localhost", 2), ("LOCALHOST.", 2), ("files.intercom.localhost", 2), ("127.0.0.1", 1), ("::1", 1), ("[::1]", 1),
      ("localhost.example", 0),
      ("notlocalhost", 0), ("", 0), ("[localhost]", 0),
    ])
  func immediate(host: String, count: Int) { #expect((NameResolver.immediate(host)?.count ?? 0) == count) }

  @Test("an answer is remembered for its lifetime and asked for again after it; a failure is not remembered")
  func cache() async throws {
    let workers = try Workers(name: "t", threads: 1)
    let asked = Atomic<Int>(0)
    let resolver = NameResolver(workers: workers, lifetime: .milliseconds(60)) { host in
      let turn = asked.add(1, ordering: .relaxed).newValue
      return turn == 1 ? .failure(.notFound("no")) : .success([.v4(0x0a00_0001)])
    }
    await #expect(throws: NameResolutionError.notFound("no")) { try await resolver.resolve("db.example") }
    #expect(try await resolver.resolve("db.example") == [.v4(0x0a00_0001)])
    #expect(try await resolver.resolve("db.example") == [.v4(0x0a00_0001)])
    #expect(asked.load(ordering: .relaxed) == 2)
    #expect(await eventually { resolver.known("db.example") == nil })
    _ = try await resolver.resolve("db.example")
    #expect(asked.load(ordering: .relaxed) == 3)
    workers.stop()
  }

  @Test("many requests for one name ask the resolver once; while it hangs the last addresses are there at once")
  func oneLookUp() async throws {
    let workers = try Workers(name: "t", threads: 2)
    let time = ShiftedTime()
    let gate = Monitor((asked: 0, open: false))
    let resolver = NameResolver(workers: workers, time: time, lifetime: .seconds(10)) { _ in
      let turn = gate.withLock { state in
        state.asked += 1
        return state.asked
      }
      if turn > 1 { _ = gate.wait { $0.open ? true : nil } }
      return .success([.v4(UInt32(turn))])
    }
    #expect(try await resolver.resolve("db.example") == [.v4(1)])
    time.advance(by: .seconds(11))
    #expect(resolver.known("db.example") == nil && resolver.lastGood("db.example") == [.v4(1)])
    let waiting = (0..<20).map { _ in Task { try await resolver.resolve("db.example") } }
    #expect(await eventually { gate.withLock { $0.asked } == 2 })
    time.advance(by: .seconds(1))
    #expect(try await resolver.resolve("db.example") == [.v4(1)])
    gate.withLock { $0.open = true }
    gate.broadcast()
    for task in waiting { #expect([[IPAddress.v4(1)], [.v4(2)]].contains(try await task.value)) }
    #expect(gate.withLock { $0.asked } == 2 && resolver.known("db.example") == [.v4(2)])
    workers.stop()
  }

  @Test("the last addresses outlive a resolver that fails, but not its word that there are none")
  func lastGood() async throws {
    let workers = try Workers(name: "t", threads: 1)
    let time = ShiftedTime()
    let answer = Monitor(Result<[IPAddress], NameResolutionError>.success([.v4(1)]))
    let resolver = NameResolver(workers: workers, time: time, lifetime: .seconds(10)) { _ in answer.withLock { $0 } }
    _ = try await resolver.resolve("db.example")
    answer.withLock { $0 = .failure(.failed("no name server")) }
    for _ in 0..<3 {
      time.advance(by: .seconds(3600))
      #expect(try await resolver.resolve("db.example") == [.v4(1)])
    }
    answer.withLock { $0 = .failure(.notFound("gone")) }
    time.advance(by: .seconds(11))
    await #expect(throws: NameResolutionError.notFound("gone")) { try await resolver.resolve("db.example") }
    #expect(resolver.lastGood("db.example") == nil)
    await #expect(throws: NameResolutionError.failed("no")) {
      answer.withLock { $0 = .failure(.failed("no")) }
      return try await resolver.resolve("db.example")
    }
    workers.stop()
  }

  @Test(
    "addresses are read and shown",
    arguments: [
      ("10.1.2.3", "10.1.2.3"), ("::1", "::1"), ("2001:db8:0:0::7", "2001:db8::7"), ("::ffff:127.0.0.1", "127.0.0.1"),
    ])
  func addresses(text: String, shown: String) { #expect(IPAddress(text)?.description == shown) }

  @Test("what is no literal is no address", arguments: ["", "1.2.3", "1.2.3.4.5", "01.2.3.4x", "::g"])
  func noAddresses(text: String) { #expect(IPAddress(text) == nil) }

  @Test("a NUL that would end the name for the system's library makes it no literal")
  func nul() {
    #expect(IPAddress("127.0.0.1\0.evil") == nil && NameResolver.immediate("127.0.0.1\0.evil") == nil)
    #expect(throws: NameLookupError.self) { try resolveHostName("localhost\0.evil") }
  }

  @Test("loopback is recognised in all its forms")
  func loopback() {
    #expect(IPAddress("127.9.9.9")?.isLoopback == true && IPAddress("::1")?.isLoopback == true)
    #expect(IPAddress("::ffff:127.0.0.1")?.isLoopback == true && IPAddress("128.0.0.1")?.isLoopback == false)
  }
}

@concurrent private func elsewhere() async -> UInt { Threads.current }
