/// The deterministic automaton of an expression: one look into a table for each byte, whatever the expression and the text are.
///
/// An engine that tries alternatives one after the other takes exponential time for expressions such as `(a+)+b`, and Origin is a stranger's
/// text. Here all of the work that an expression can cause is done once, and bounded.
struct OriginAutomaton: Sendable {
  /// Where a text that cannot become one of the expression's ends up.
  static let dead = 0
  static let start = 1
  private static let mostPositions = 512
  static let mostStates = 1024
  /// Of making it: sets of positions that are put together.
  static let mostSteps = 1 << 20

  /// Bytes that no state tells apart have the same class.
  private let classes: [UInt8]
  private let classCount: Int
  /// By state and class.
  private let table: [UInt16]
  private let accepting: [Bool]
  /// So many of `mostSteps` were needed.
  let steps: Int

  var states: Int { accepting.count }

  @inline(__always) func step(_ state: Int, _ byte: UInt8) -> Int {
    Int(table[state &* classCount &+ Int(classes[Int(byte)])])
  }
  func isAccepting(_ state: Int) -> Bool { accepting[state] }

  /// The class of a byte.
  func kind(of byte: UInt8) -> UInt8 { classes[Int(byte)] }

  /// Where these bytes lead.
  func run(_ bytes: some Sequence<UInt8>, from state: Int) -> Int { bytes.reduce(state) { step($0, $1) } }

  init(_ expression: OriginExpression) throws(OriginPatternFault) {
    let positions = try Positions(expression)
    (classes, classCount) = Self.classes(of: positions.sets)
    // By class: the positions that read its bytes.
    let readers = Self.samples(classes, classCount).map { sample in
      PositionSet(positions.sets.indices.filter { positions.sets[$0].contains(sample) })
    }
    // A state is the set of positions whose byte may come next; the last number stands for the end.
    let end = positions.sets.count
    var states = [PositionSet(), positions.first(end)]
    var numbers = [states[0]: Self.dead, states[1]: Self.start]
    var table: [UInt16] = []
    var (index, steps) = (0, 0)
    while index < states.count {
      let state = states[index]
      index += 1
      for reader in readers {
        var next = PositionSet()
        for position in state.intersection(reader).members {
          steps += 1
          next.formUnion(positions.follow[position])
        }
        if let number = numbers[next] {
          table.append(UInt16(number))
          continue
        }
        guard states.count < Self.mostStates, steps <= Self.mostSteps else { throw Self.tooLarge }
        numbers[next] = states.count
        table.append(UInt16(states.count))
        states.append(next)
      }
    }
    self.table = table
    self.steps = steps
    accepting = states.map { $0.contains(end) }
  }

  private static let tooLarge = OriginPatternFault(
    "needs more than \(mostStates) states", "write it more simply, or list the origins")

  /// Class 0 is of the bytes that occur nowhere.
  private static func classes(of sets: [ASCIISet]) -> ([UInt8], Int) {
    let different = Array(Set(sets))
    var kinds: [[Bool]: UInt8] = [different.map { _ in false }: 0]
    var classes = [UInt8](repeating: 0, count: 256)
    for byte in UInt8(0)..<128 {
      let kind = different.map { $0.contains(byte) }
      let number = kinds[kind] ?? UInt8(kinds.count)
      kinds[kind] = number
      classes[Int(byte)] = number
    }
    return (classes, kinds.count)
  }

  /// One byte of each class.
  private static func samples(_ classes: [UInt8], _ count: Int) -> [UInt8] {
    (0..<count).map { number in UInt8(clamping: classes.lastIndex { Int($0) == number } ?? 255) }
  }

  /// A set of numbers up to `mostPositions`.
  private struct PositionSet: Hashable {
    private var words = [UInt64](repeating: 0, count: mostPositions / 64 + 1)

    init(_ members: some Sequence<Int> = []) { for member in members { insert(member) } }

    mutating func insert(_ member: Int) { words[member / 64] |= 1 << UInt64(member % 64) }
    mutating func formUnion(_ other: PositionSet) { for index in words.indices { words[index] |= other.words[index] } }
    func contains(_ member: Int) -> Bool { words[member / 64] & 1 << UInt64(member % 64) != 0 }
    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    func union(_ other: PositionSet) -> PositionSet {
      var result = self
      result.formUnion(other)
      return result
    }

    func intersection(_ other: PositionSet) -> PositionSet {
      var result = self
      for index in words.indices { result.words[index] &= other.words[index] }
      return result
    }

    /// In ascending order.
    var members: [Int] {
      var all: [Int] = []
      for (index, word) in words.enumerated() where word != 0 {
        var rest = word
        while rest != 0 {
          all.append(index * 64 + rest.trailingZeroBitCount)
          rest &= rest - 1
        }
      }
      return all
    }
  }

  /// The places of an expression where a byte is read, and which may follow which (Glushkov's construction).
  private struct Positions {
    private(set) var sets: [ASCIISet] = []
    private(set) var follow: [PositionSet] = []
    private let whole: Part

    private struct Part {
      var first = PositionSet()
      var last = PositionSet()
      var takesNothing = true
    }

    init(_ expression: OriginExpression) throws(OriginPatternFault) {
      var builder = Builder()
      whole = try builder.part(expression)
      (sets, follow) = (builder.sets, builder.follow)
      for position in whole.last.members { follow[position].insert(sets.count) }
    }

    func first(_ end: Int) -> PositionSet { whole.first.union(PositionSet(whole.takesNothing ? [end] : [])) }

    private struct Builder {
      var sets: [ASCIISet] = []
      var follow: [PositionSet] = []
      /// Parts so far, those without a byte included.
      private var parts = 0

      mutating func part(_ expression: OriginExpression) throws(OriginPatternFault) -> Part {
        parts += 1
        guard sets.count < mostPositions, parts < 16 * mostPositions else {
          throw OriginPatternFault("has more than \(mostPositions) characters when it is written out", "write smaller counts")
        }
        switch expression {
        case .byte(let set):
          sets.append(set)
          follow.append(PositionSet())
          let position = PositionSet([sets.count - 1])
          return Part(first: position, last: position, takesNothing: false)
        case .sequence(let parts):
          var whole = Part()
          for inner in parts { whole = join(whole, try part(inner)) }
          return whole
        case .choice(let branches):
          var whole = Part(takesNothing: false)
          for branch in branches {
            let one = try part(branch)
            whole.first.formUnion(one.first)
            whole.last.formUnion(one.last)
            whole.takesNothing = whole.takesNothing || one.takesNothing
          }
          return whole
        case .repeated(let inner, let least, let most): return try repeated(inner, least, most)
        }
      }

      private mutating func repeated(
        _ inner: OriginExpression, _ least: Int, _ most: Int?
      ) throws(OriginPatternFault) -> Part {
        var whole = Part()
        for _ in 0..<least { whole = join(whole, try part(inner)) }
        guard let most else {
          var loop = try part(inner)
          connect(loop, loop)
          loop.takesNothing = true
          return join(whole, loop)
        }
        for _ in least..<most {
          var one = try part(inner)
          one.takesNothing = true
          whole = join(whole, one)
        }
        return whole
      }

      /// What `right` begins with may follow what `left` ends with.
      private mutating func connect(_ left: Part, _ right: Part) {
        guard !right.first.isEmpty else { return }
        for position in left.last.members { follow[position].formUnion(right.first) }
      }

      private mutating func join(_ left: Part, _ right: Part) -> Part {
        connect(left, right)
        return Part(
          first: left.takesNothing ? left.first.union(right.first) : left.first,
          last: right.takesNothing ? left.last.union(right.last) : right.last, takesNothing: left.takesNothing && right.takesNothing)
      }
    }
  }
}
