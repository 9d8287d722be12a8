import IntercomCore
import Sessions

/// What every session store must do, as checks that a test target runs on each implementation.
package enum SessionStoreConformance {
  /// A store under test, empty, with a way to let its time pass.
  package struct Subject: Sendable {
    package let store: any SessionStore
    package let time: any TimeSource
    /// Lets the store's clock and `time` advance.
    package let advance: @Sendable (Duration) async throws -> Void
    /// How long the random walks are, as a part of the usual length: one where each step goes over the network.
    package let walks: Double

    package init(
      store: any SessionStore, time: any TimeSource, walks: Double = 1, advance: @escaping @Sendable (Duration) async throws -> Void
    ) {
      self.store = store
      self.time = time
      self.walks = walks
      self.advance = advance
    }

    func expiry(_ seconds: Int64 = 600) -> WallInstant { time.wallNow().advanced(by: .seconds(seconds)) }

    func put(
      _ key: RecordKey, _ value: [UInt8] = [1], _ indexes: [IndexKey] = [], expecting: UInt64? = nil, seconds: Int64 = 600
    ) async throws -> UInt64 {
      let outcome = try await store.write(key, value, indexes: indexes, expiry: expiry(seconds), expecting: expecting)
      guard case .written(let version) = outcome else { throw Violation("the write of \(value.count) bytes gave \(outcome)") }
      return version
    }

    func outcome(
      _ key: RecordKey, _ value: [UInt8] = [1], _ indexes: [IndexKey] = [], expecting: UInt64?
    ) async throws -> WriteOutcome {
      try await store.write(key, value, indexes: indexes, expiry: expiry(), expecting: expecting)
    }
  }

  /// A rule that the store broke.
  package struct Violation: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
  }

  /// One rule, named by a sentence.
  package struct Check: Sendable, CustomStringConvertible {
    package let description: String
    package let run: @Sendable (Subject) async throws -> Void
    init(_ description: String, _ run: @escaping @Sendable (Subject) async throws -> Void) {
      self.description = description
      self.run = run
    }
  }

  /// All rules.
  package static var checks: [Check] { swapChecks + deletionChecks + indexChecks + expiryChecks + leaseChecks + sealedChecks + walkChecks }

  static func require(_ condition: Bool, _ otherwise: @autoclosure () -> String) throws {
    guard condition else { throw Violation(otherwise()) }
  }

  /// Runs `body` in `count` tasks at once and gives the results.
  static func parallel<Value: Sendable>(
    _ count: Int = 100, _ body: @escaping @Sendable (Int) async throws -> Value
  ) async throws -> [Value] {
    try await withThrowingTaskGroup(of: Value.self) { group in
      for index in 0..<count { group.addTask { try await body(index) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
  }

  private static let swapChecks: [Check] = [
    Check("a record is read back byte for byte") { subject in
      let key = RecordKey(kind: .session, naming: ["a"])
      let value = (0..<300_000).map { UInt8(truncatingIfNeeded: $0) }
      let version = try await subject.put(key, value)
      let read = try await subject.store.read(key)
      try require(read?.value == value && read?.version == version, "the record came back changed")
      let empty = RecordKey(kind: .seenTokenID, naming: ["empty"])
      _ = try await subject.put(empty, [])
      let readEmpty = try await subject.store.read(empty)
      try require(readEmpty?.value == [], "an empty value is not a missing one")
    },
    Check("a record of one kind is not one of another kind") { subject in
      for kind in RecordKind.allCases { _ = try await subject.put(RecordKey(kind: kind, naming: ["same"]), [kind.rawValue]) }
      for kind in RecordKind.allCases {
        let read = try await subject.store.read(RecordKey(kind: kind, naming: ["same"]))
        try require(read?.value == [kind.rawValue], "\(kind) lost its record")
      }
    },
    Check("a write needs the version that it expects") { subject in
      let key = RecordKey(kind: .session, naming: ["a"])
      let unknown = try await subject.outcome(key, expecting: 1)
      try require(unknown == .conflict, "a write over nothing expected a version and gave \(unknown)")
      let first = try await subject.put(key)
      let again = try await subject.outcome(key, [9], expecting: nil)
      try require(again == .conflict, "a second creation gave \(again)")
      let second = try await subject.put(key, [2], expecting: first)
      let late = try await subject.outcome(key, [3], expecting: first)
      let read = try await subject.store.read(key)
      try require(late == .conflict && second > first && read?.value == [2], "a late write gave \(late)")
    },
    Check("of 100 writers that expect the same version one wins") { subject in
      let key = RecordKey(kind: .session, naming: ["a"])
      let first = try await subject.put(key)
      for expected in [first, nil] as [UInt64?] {
        let target = expected == nil ? RecordKey(kind: .session, naming: ["b"]) : key
        let outcomes = try await parallel { try await subject.outcome(target, [UInt8($0)], expecting: expected) }
        let won = outcomes.count { if case .written = $0 { true } else { false } }
        try require(won == 1 && outcomes.count { $0 == .conflict } == 99, "\(won) writers won")
      }
    },
    Check("100 tasks that read, add one and swap lose no addition") { subject in
      let key = RecordKey(kind: .session, naming: ["counter"])
      _ = try await subject.put(key, [0])
      _ = try await parallel { _ in
        while true {
          guard let current = try await subject.store.read(key) else { throw Violation("the record went away") }
          let outcome = try await subject.outcome(key, [(current.value.first ?? 0) &+ 1], expecting: current.version)
          if case .written = outcome { return }
        }
      }
      let read = try await subject.store.read(key)
      try require(read?.value == [100], "counted \(read?.value ?? [])")
    },
    Check("a value that is too large is refused and changes nothing") { subject in
      let key = RecordKey(kind: .session, naming: ["large"])
      let version = try await subject.put(key, [1])
      do {
        _ = try await subject.outcome(key, [UInt8](repeating: 0, count: maximumRecordBytes + 1), expecting: version)
        throw Violation("it was accepted")
      } catch SessionStoreError.tooLarge {}
      let read = try await subject.store.read(key)
      try require(read?.version == version, "the record changed")
    },
  ]

  private static let deletionChecks: [Check] = [
    Check("a deletion needs the version that it expects, or takes any") { subject in
      let key = RecordKey(kind: .session, naming: ["a"])
      let version = try await subject.put(key)
      let wrong = try await subject.store.delete(key, expecting: version &+ 1, tombstone: .zero)
      let right = try await subject.store.delete(key, expecting: version, tombstone: .zero)
      let again = try await subject.store.delete(key, expecting: nil, tombstone: .zero)
      let read = try await subject.store.read(key)
      try require(!wrong && right && !again && read == nil, "deleted: wrong \(wrong), right \(right), again \(again)")
    },
    Check("of 100 deletions one says that it did it") { subject in
      let key = RecordKey(kind: .pendingLogin, naming: ["a"])
      let version = try await subject.put(key)
      let done = try await parallel { _ in try await subject.store.delete(key, expecting: version, tombstone: .zero) }
      try require(done.count { $0 } == 1, "\(done.count { $0 }) did")
    },
    Check("a late writer cannot bring a deleted record back (fault 27)") { subject in
      let key = RecordKey(kind: .session, naming: ["a"])
      let version = try await subject.put(key)
      _ = try await subject.store.delete(key, expecting: nil, tombstone: .seconds(60))
      let late = try await subject.outcome(key, [2], expecting: version)
      let fresh = try await subject.outcome(key, [3], expecting: nil)
      let read = try await subject.store.read(key)
      try require(late == .deleted && fresh == .deleted && read == nil, "late \(late), fresh \(fresh)")
      try await subject.advance(.seconds(61))
      let after = try await subject.outcome(key, [4], expecting: nil)
      guard case .written(let newest) = after else { throw Violation("after the tombstone's time a write gave \(after)") }
      try require(newest > version, "a version was used twice")
    },
    Check("a tombstone guards a key that had no record") { subject in
      let key = RecordKey(kind: .session, naming: ["never"])
      let existed = try await subject.store.delete(key, expecting: nil, tombstone: .seconds(60))
      let outcome = try await subject.outcome(key, expecting: nil)
      try require(!existed && outcome == .deleted, "\(existed), \(outcome)")
    },
    Check("a deletion that expected another version leaves no tombstone") { subject in
      let key = RecordKey(kind: .session, naming: ["a"])
      let version = try await subject.put(key)
      _ = try await subject.store.delete(key, expecting: version &+ 7, tombstone: .seconds(60))
      _ = try await subject.put(key, [2], expecting: version)
    },
    Check("many records are taken at once, with what was in them, and nobody can write them again") { subject in
      let keys = (0..<200).map { RecordKey(kind: .session, naming: [Identifier("\($0)")]) }
      let index = IndexKey(subject: "u", issuer: "i")
      for (number, key) in keys.enumerated() where number % 4 > 0 { _ = try await subject.put(key, [UInt8(number)], [index]) }
      let taken = await subject.store.take(keys, tombstone: .seconds(60))
      try require(taken.failure == nil && taken.count == 150 && taken.records.count == 150, "\(taken.count) of 150")
      for (key, record) in taken.records {
        try require(keys.firstIndex(of: key).map { [UInt8($0)] } == record.value, "a record under the key of another")
      }
      for key in [keys[0], keys[1], keys[199]] {
        let late = try await subject.outcome(key, expecting: nil)
        try require(late == .deleted, "written behind its end: \(late)")
      }
      let found = try await subject.store.find(index, limit: 10)
      let again = await subject.store.take(keys, tombstone: .seconds(60))
      try require(found.isEmpty && again.count == 0 && again.records.isEmpty && again.failure == nil, "something was left")
    },
    Check("versions grow across deletion, expiry and keys") { subject in
      let key = RecordKey(kind: .lease, naming: ["a"])
      let first = try await subject.put(key, seconds: 30)
      _ = try await subject.store.delete(key, expecting: nil, tombstone: .zero)
      let second = try await subject.put(key, seconds: 30)
      try await subject.advance(.seconds(31))
      let third = try await subject.put(key, seconds: 30)
      let others = try await [
        subject.put(RecordKey(kind: .session, naming: ["b"]), seconds: 30),
        subject.put(RecordKey(kind: .seenTokenID, naming: ["c"]), seconds: 30),
      ]
      try require(
        first < second && second < third && third < others[0] && others[0] < others[1], "\(first), \(second), \(third), \(others)")
    },
  ]

  private static let indexChecks: [Check] = [
    Check("records are found by each index, and by no other") { subject in
      let bySid = IndexKey(sid: "s", issuer: "https://id")
      let bySubject = IndexKey(subject: "u", issuer: "https://id")
      let first = RecordKey(kind: .session, naming: ["1"])
      let second = RecordKey(kind: .session, naming: ["2"])
      let version = try await subject.put(first, [1], [bySid, bySubject])
      _ = try await subject.put(second, [2], [bySubject])
      var found = try await subject.store.find(bySid, limit: 10)
      try require(found == [first], "by sid \(found.count)")
      found = try await subject.store.find(bySubject, limit: 10)
      try require(Set(found) == [first, second], "by subject \(found.count)")
      for other in [
        IndexKey(sid: "u", issuer: "https://id"), IndexKey(subject: "s", issuer: "https://id"),
        IndexKey(sid: "s", issuer: "https://other"), IndexKey(sid: "https://id", issuer: "s"), IndexKey(sid: "", issuer: "https://ids"),
      ] {
        found = try await subject.store.find(other, limit: 10)
        try require(found.isEmpty, "found by a foreign index")
      }
      _ = try await subject.put(first, [3], [bySubject], expecting: version)
      found = try await subject.store.find(bySid, limit: 10)
      try require(found.isEmpty, "an index that a write left out stays")
      _ = try await subject.store.delete(second, expecting: nil, tombstone: .seconds(60))
      found = try await subject.store.find(bySubject, limit: 10)
      try require(found == [first], "a deleted record is found")
    },
    Check("two spellings of é are two users (S37)") { subject in
      let composed = IndexKey(subject: Identifier("jos\u{e9}"), issuer: "i")
      let decomposed = IndexKey(subject: Identifier("jose\u{301}"), issuer: "i")
      _ = try await subject.put(RecordKey(kind: .session, naming: ["1"]), [1], [composed])
      let found = try await subject.store.find(decomposed, limit: 10)
      try require(found.isEmpty, "one user is found as the other")
    },
    Check("1,000 records of one user are found page by page") { subject in
      let index = IndexKey(subject: "u", issuer: "i")
      for number in 0..<1_000 { _ = try await subject.put(RecordKey(kind: .session, naming: [Identifier("\(number)")]), [1], [index]) }
      var total = 0
      while true {
        let keys = try await subject.store.find(index, limit: 300)
        try require(keys.count <= 300, "a page has \(keys.count)")
        if keys.isEmpty { break }
        for key in keys where try await subject.store.delete(key, expecting: nil, tombstone: .seconds(60)) { total += 1 }
      }
      try require(total == 1_000, "deleted \(total)")
    },
  ]

  private static let expiryChecks: [Check] = [
    Check("a record ends at its expiry, and its index with it") { subject in
      let index = IndexKey(sid: "s", issuer: "i")
      let key = RecordKey(kind: .session, naming: ["a"])
      let version = try await subject.put(key, [1], [index], seconds: 30)
      try await subject.advance(.seconds(28))
      let before = try await subject.store.read(key)
      try await subject.advance(.seconds(3))
      let after = try await subject.store.read(key)
      let found = try await subject.store.find(index, limit: 10)
      try require(before != nil && after == nil && found.isEmpty, "before \(before != nil), after \(after != nil), found \(found.count)")
      let late = try await subject.outcome(key, expecting: version)
      try require(late == .conflict, "a write expected the expired record and gave \(late)")
      _ = try await subject.put(key)
    },
    Check("a write moves the expiry") { subject in
      let key = RecordKey(kind: .session, naming: ["a"])
      let version = try await subject.put(key, seconds: 30)
      _ = try await subject.put(key, [2], expecting: version, seconds: 300)
      try await subject.advance(.seconds(100))
      let read = try await subject.store.read(key)
      try require(read?.value == [2], "the record went at its old expiry")
    },
    Check("a seen token id is refused until its expiry, by 100 at once") { subject in
      let key = RecordKey(kind: .seenTokenID, naming: ["issuer", "jti"])
      let outcomes = try await parallel { _ in try await subject.outcome(key, [], expecting: nil) }
      try require(outcomes.count { $0 == .conflict } == 99, "\(outcomes.count { $0 == .conflict }) were refused")
    },
  ]
}
