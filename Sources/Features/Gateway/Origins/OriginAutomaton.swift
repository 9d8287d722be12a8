/// The deterministic automaton of an expression: one look into a table for each byte, whatever the expression and the text are.
///
/// An engine that tries alternatives one after the other takes exponential time for expressions such as `(a+)+b`, and Origin is a stranger's
/// text. Here all of the work that an expression can cause is done once, and bounded.
struct OriginAutomaton: Sendable {
  /// Where a text that cannot become one of the expression's ends up.
  static let dead = 0
  static let start = 1
  private static let mostPositions = 512
  private static let mostStates = 1024

  /// Bytes that no state tells apart have the same class.
  private let classes: [UInt8]
  private let classCount: Int
  /// By state and class.
  private let table: [UInt16]
  private let accepting: [Bool]

  var states: Int { accepting.count }

  @inline(__always) func step(_ state: Int, _ byte: UInt8) -> Int {
    Int(table[state &* classCount &+ Int(classes[Int(byte)])])
  }
  func isAccepting(_ state: Int) -> Bool { accepting[state] }

  init(_ expression: OriginExpression) throws(OriginPatternFault) {
    let positions = try Positions(expression)
    (classes, classCount) = Self.classes(of: positions.sets)
    let samples = Self.samples(classes, classCount)
    // A state is the set of positions whose byte may come next; the last number stands for the end.
    let end = positions.sets.count
    var states: [[Int]] = [[], positions.first(end)]
    var numbers: [[Int]: Int] = [[]: Self.dead, states[1]: Self.start]
    var table: [UInt16] = []
    var index = 0
    while index < states.count {
      let state = states[index]
      index += 1
      for sample in samples {
        var next: Set<Int> = []
        for position in state where position < end && positions.sets[position].contains(sample) {
          next.formUnion(positions.follow[position])
        }
        let key = next.sorted()
        if let number = numbers[key] {
          table.append(UInt16(number))
          continue
        }
        guard states.count < Self.mostStates else { throw Self.tooLarge }
        numbers[key] = states.count
        table.append(UInt16(states.count))
        states.append(key)
      }
    }
    self.table = table
    accepting = states.map { $0.last == end }
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

  /// The places of an expression where a byte is read, and which may follow which (Glushkov's construction).
  private struct Positions {
    private(set) var sets: [ASCIISet] = []
    private(set) var follow: [Set<Int>] = []
    private let whole: Part

    private struct Part {
      var first: Set<Int> = []
      var last: Set<Int> = []
      var takesNothing = true
    }

    init(_ expression: OriginExpression) throws(OriginPatternFault) {
      var builder = Builder()
      whole = try builder.part(expression)
      (sets, follow) = (builder.sets, builder.follow)
      for position in whole.last { follow[position].insert(sets.count) }
    }

    func first(_ end: Int) -> [Int] { whole.first.sorted() + (whole.takesNothing ? [end] : []) }

    private struct Builder {
      var sets: [ASCIISet] = []
      var follow: [Set<Int>] = []
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
          follow.append([])
          return Part(first: [sets.count - 1], last: [sets.count - 1], takesNothing: false)
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
          for position in loop.last { follow[position].formUnion(loop.first) }
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

      private mutating func join(_ left: Part, _ right: Part) -> Part {
        for position in left.last { follow[position].formUnion(right.first) }
        return Part(
          first: left.takesNothing ? left.first.union(right.first) : left.first,
          last: right.takesNothing ? left.last.union(right.last) : right.last, takesNothing: left.takesNothing && right.takesNothing)
      }
    }
  }
}
