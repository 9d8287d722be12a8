import Cryptography
import IntercomCore
import IntercomTesting
import Testing

@testable import Sessions

@Suite("What other modules keep with a session")
struct AttachmentTests {
  let time = ManualTime()
  let manager: SessionManager

  init() throws { manager = SessionManager(store: MemorySessionStore(time: time), keys: try .test(), time: time, random: SystemRandom()) }

  private func login() async throws -> Session { try await manager.create(from: .example(now: manager.now())).session }

  private func attach(_ value: [UInt8], as name: Identifier, to session: inout Session, isKept: Bool = true) {
    let done = session.attach(value, as: name)
    #expect(done == isKept)
  }

  @Test("it is in the record, survives the session's other changes, and goes with it")
  func kept() async throws {
    let session = try await login()
    let attached = try #require(try await manager.attach(to: session, as: "a") { _ in [1, 2] })
    #expect(attached.attachments["a"]?.reveal() == [1, 2])
    time.advance(by: .seconds(120))
    // From an older copy: by compare-and-swap nothing of it is lost.
    let touched = try #require(try await manager.touch(session, use: manager.now()))
    #expect(touched.attachments["a"]?.reveal() == [1, 2] && touched.lastUse > session.lastUse)
    let second = try #require(try await manager.attach(to: session, as: "b") { _ in [] })
    #expect(second.attachments.count == 2 && second.tokens.generation == session.tokens.generation)
    let left = try #require(try await manager.attach(to: session, as: "a") { seen in seen == [1, 2] ? nil : [9] })
    #expect(left.attachments["a"]?.reveal() == [1, 2])
    #expect(try await manager.end(session.key, reason: .loggedOut))
    #expect(try await manager.attach(to: session, as: "a") { _ in [3] } == nil)
  }

  @Test("a session without any is written as older versions write it, and theirs are read")
  func schema() async throws {
    var session = try await login()
    let old = session.encoded
    #expect(old.first == 1)
    #expect(try Session(key: session.key, encoded: old, version: 1).attachments.isEmpty)
    attach([1], as: "a", to: &session)
    #expect(session.encoded.first == 2 && session.encoded.dropFirst().starts(with: old.dropFirst()))
    #expect(try Session(key: session.key, encoded: session.encoded, version: 1).attachments["a"]?.reveal() == [1])
  }

  @Test("no cut and no changed count of a record ends the process (S24)")
  func damaged() async throws {
    var session = try await login()
    for name in ["a", "b"] as [Identifier] { attach(Array(name.bytes), as: name, to: &session) }
    let encoded = session.encoded
    for cut in 0..<encoded.count {
      #expect(throws: DamagedRecord.self) { try Session(key: session.key, encoded: Array(encoded.prefix(cut)), version: 1) }
    }
    session.attachments = [:]
    let plain = session.encoded
    for count in [0, -1, .max, .min, 65] as [Int64] {
      var writer = RecordWriter()
      writer.integer(count)
      #expect(throws: DamagedRecord.self) { try Session(key: session.key, encoded: [2] + plain.dropFirst() + writer.out, version: 1) }
    }
    #expect(throws: DamagedRecord.self) { try Session(key: session.key, encoded: [3] + plain.dropFirst(), version: 1) }
  }

  @Test("their number is bounded")
  func bounded() async throws {
    var session = try await login()
    for number in 0..<64 { attach([], as: Identifier("\(number)"), to: &session) }
    attach([], as: "one more", to: &session, isKept: false)
    attach([1], as: "0", to: &session)
    #expect(try Session(key: session.key, encoded: session.encoded, version: 1).attachments.count == 64)
  }
}
