import IntercomCore
import IntercomTesting
import Linux
import SessionStoreSQLite
import Sessions
import Telemetry

// store-writer FILE ROUND TASKS: writes into the session database as `WriterScript` says until it is killed, and prints each step that the
// store has acknowledged. For the tests of what survives.

/// Writes the line by one call: a reader of the output sees it whole or not at all.
func say(_ text: String) { _ = writeLine(Array(text.utf8), to: 1) }

func takeSteps(_ store: SQLiteSessionStore, _ round: Int, _ task: Int) async throws {
  let key = WriterScript.key(round, task)
  var version: UInt64?
  var step = 0
  while true {
    step += 1
    if let value = WriterScript.value(round, task, step: step) {
      let outcome = try await store.write(
        key, value, indexes: [WriterScript.index(round, task)], expiry: WallInstant(seconds: .max), expecting: version)
      guard case .written(let new) = outcome else { return say("task \(task): \(outcome)\n") }
      version = new
      say(WriterScript.Line(task: task, step: step, version: new).text)
    } else {
      guard try await store.delete(key, expecting: version, tombstone: .zero) else { return say("task \(task): not deleted\n") }
      version = nil
      say(WriterScript.Line(task: task, step: step, version: 0).text)
    }
  }
}

let arguments = CommandLine.arguments
guard arguments.count == 4, let round = Int(arguments[2]), let tasks = Int(arguments[3]) else {
  say("usage: store-writer FILE ROUND TASKS\n")
  throw WaitFailure("wrong arguments", within: .zero)
}
let store = try await SQLiteSessionStore.open(path: arguments[1], time: SystemTime(), log: StructuredLog())
say("open\n")
try await withThrowingTaskGroup(of: Void.self) { group in
  for task in 0..<tasks { group.addTask { try await takeSteps(store, round, task) } }
  try await group.waitForAll()
}
// With no tasks it only holds the file.
while true { try await SystemTime().sleep(for: .seconds(60)) }
