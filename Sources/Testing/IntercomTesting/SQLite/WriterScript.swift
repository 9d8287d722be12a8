import IntercomCore
import Sessions

/// What the program `store-writer` writes, so that a test can tell after its death what must be in the store.
///
/// Each of its tasks has one key and takes steps 1, 2, 3, …: step 1 creates the record, 2 to 7 replace it, 8 deletes it, 9 creates it again. The
/// value names the step. A step is printed when the store has acknowledged it, so after a `kill -9` the store must hold the last printed step
/// or the one after it.
package enum WriterScript {
  package static func key(_ round: Int, _ task: Int) -> RecordKey {
    RecordKey(kind: .session, naming: [Identifier("\(round)"), Identifier("\(task)")])
  }

  package static func index(_ round: Int, _ task: Int) -> IndexKey {
    IndexKey(sid: Identifier("\(round) \(task)"), issuer: "https://id.example")
  }

  /// The step's value, some 3 KB that no other step has; nil when the step deletes.
  package static func value(_ round: Int, _ task: Int, step: Int) -> [UInt8]? {
    guard step > 0, step % 8 != 0 else { return nil }
    var random = SplitMix64(state: UInt64(bitPattern: Int64(round * 1_000_003 + task * 10_007 + step)))
    let count = 2_500 + step % 1_000
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  /// A line of the program: the acknowledged step of a task, and its version (0 for a deletion).
  package struct Line: Sendable, Equatable {
    package var task: Int
    package var step: Int
    package var version: UInt64

    package init(task: Int, step: Int, version: UInt64) {
      self.task = task
      self.step = step
      self.version = version
    }

    package var text: String { "\(task) \(step) \(version)\n" }

    package init?(_ line: String) {
      let words = line.split(separator: " ")
      guard words.count == 3, let task = Int(words[0]), let step = Int(words[1]), let version = UInt64(words[2]) else { return nil }
      self.init(task: task, step: step, version: version)
    }
  }
}

/// The program `store-writer`, as built.
package enum StoreWriterProgram {
  package static let binary = PackageRoot.build + "/debug/store-writer"
}
