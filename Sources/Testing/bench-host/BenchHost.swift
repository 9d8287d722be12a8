import IntercomCore
import Linux

/// Wrong words on the command line, or a step that failed.
struct BenchFault: Error, CustomStringConvertible {
  let description: String
}

/// The program: from its words to its end.
enum BenchHost {
  /// Not in `main.swift`: a task that is begun there belongs to the main thread, which is parked.
  static func main() -> Never {
    prepareServerSignals()
    Task {
      do {
        try await run(Array(CommandLine.arguments.dropFirst()))
        endProcess(0)
      } catch {
        _ = writeAll(Array("bench-host: \(error)\n".utf8), to: 2)
        endProcess(1)
      }
    }
    parkThread()
  }

  private static func run(_ words: [String]) async throws {
    switch (words.first, words.count) {
    case ("provider", 5):
      guard let port = UInt16(words[1]) else { throw BenchFault(description: "\(words[1]) is no port") }
      try await BenchProvider.run(port: port, base: words[2], secret: words[3], life: Int64(try count(words[4])))
    case ("serve", 3): try await PrefilledServe.run(configuration: words[1], sessions: try count(words[2]))
    case ("seed", 3), ("seed", 4):
      try await SeededStore.write(configuration: words[1], sessions: try count(words[2]), subject: words.dropFirst(3).first)
    default:
      throw BenchFault(description: "usage: bench-host provider PORT BASE SECRET LIFE | serve CONFIG COUNT | seed CONFIG COUNT [SUBJECT]")
    }
  }

  private static func count(_ word: String) throws -> Int {
    guard let count = Int(word), count >= 0 else { throw BenchFault(description: "\(word) is no number of sessions") }
    return count
  }

  /// One line for whoever started this program.
  static func say(_ line: String) { _ = writeAll(Array((line + "\n").utf8), to: 1) }
}
