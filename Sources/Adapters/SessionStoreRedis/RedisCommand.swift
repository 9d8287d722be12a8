import IntercomCore

/// Commands as bytes: an array of blobs each, so that no value can end one or begin another.
struct RedisCommands: Sendable {
  private(set) var bytes: [UInt8] = []
  private(set) var count = 0

  init() {}
  init(_ words: [[UInt8]]) { add(words) }

  mutating func add(_ words: [[UInt8]]) {
    count += 1
    bytes.append(UInt8(ascii: "*"))
    line(words.count)
    for word in words {
      bytes.append(UInt8(ascii: "$"))
      line(word.count)
      bytes += word
      bytes += [13, 10]
    }
  }

  private mutating func line(_ number: Int) {
    bytes += String(number).utf8
    bytes += [13, 10]
  }
}

/// What one call waits for: the answers of its commands, in their order.
final class RedisCall {
  enum Kind {
    /// Says who asks: belongs to its connection.
    case greeting
    /// Changes nothing: may be sent again on another connection.
    case read
    /// Whether it was done is not known when the connection ends: never sent twice.
    case write
  }

  private(set) var commands: RedisCommands
  let kind: Kind
  let until: MonotonicInstant
  private(set) var missing: Int
  private var answers: [RESP3Value] = []
  private var done: ((Result<[RESP3Value], RedisFailure>) -> Void)?

  init(
    _ commands: RedisCommands, _ kind: Kind, until: MonotonicInstant, done: @escaping (Result<[RESP3Value], RedisFailure>) -> Void
  ) {
    self.commands = commands
    self.kind = kind
    self.until = until
    missing = commands.count
    self.done = done
  }

  /// The commands, to be sent. They are kept only where they may be sent again.
  func send() -> [UInt8] {
    let bytes = commands.bytes
    if kind != .read { commands = RedisCommands() }
    return bytes
  }

  /// Nobody waits any more; answers that are still to come are thrown away.
  var isOver: Bool { done == nil }

  func answered(_ value: RESP3Value) {
    missing -= 1
    guard done != nil else { return }
    answers.append(value)
    guard missing == 0, let done = done.take() else { return }
    done(.success(answers))
  }

  func fail(_ failure: RedisFailure) {
    if let done = done.take() { done(.failure(failure)) }
  }

  /// Forgets the answers of a connection that broke.
  func restart() {
    answers = []
    missing = commands.count
  }

  var size: Int { commands.bytes.count }
}
