/// What an expression takes of all origins that there can be: whether any, whether those of strangers, and an example of each.
///
/// The automaton walks together with a small one that knows what origins look like, and both decide exactly, without trying out names.
struct OriginSurvey {
  /// The shortest origin that the expression takes; nil for none.
  let example: String?
  /// One that anybody could have: the expression leaves the registered domain open.
  let stranger: String?

  /// Labels below which nobody can register a domain (RFC 2606, RFC 6761, RFC 6762; `internal` by ICANN).
  static let privateDomains = ["localhost", "test", "internal", "local"]

  init(_ automaton: OriginAutomaton, allowsHTTP: Bool) {
    let walk = Walk(automaton, allowsHTTP: allowsHTTP)
    example = walk.example
    stranger = walk.stranger
  }

  /// How far into an origin a walk has come.
  private enum Place: Hashable {
    /// So many bytes of `https://` or `http://`.
    case scheme(Int, isSecure: Bool)
    /// A label that is neither of the last two; whether it has a byte.
    case early(Bool)
    /// The last label but one.
    case second(Bool)
    /// The last label, as far as it spells a private domain (which and how many bytes), or nil when it does not.
    case last(Spelling?, isEmpty: Bool)
    case port(digits: Int, ofPrivate: Bool)
  }

  private struct Spelling: Hashable {
    let word: Int
    let count: Int
  }

  private struct Node: Hashable {
    let state: Int
    let place: Place
  }

  private struct Walk {
    private let automaton: OriginAutomaton
    private let schemes: [Bool]
    private var order: [Node] = []
    /// By number of the node: what follows it, and with which byte.
    private var edges: [[(byte: UInt8, to: Int)]] = []
    private var origin: [(from: Int, byte: UInt8)?] = []
    /// The byte and node that lead to an end on a shortest way; count 0 is an end.
    private var toEnd: [(count: Int, byte: UInt8, to: Int)?] = []
    /// By node: an end that is no private domain can be reached.
    private var reachesPublic: [Bool] = []
    private var roots = 0

    /// Letters first, so that examples look like names.
    private static let labels = Array("abcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    private static let words = OriginSurvey.privateDomains.map { Array($0.utf8) }

    init(_ automaton: OriginAutomaton, allowsHTTP: Bool) {
      self.automaton = automaton
      schemes = allowsHTTP ? [true, false] : [true]
      explore()
      findEnds()
    }

    private mutating func explore() {
      var numbers: [Node: Int] = [:]
      func number(_ node: Node, _ from: (Int, UInt8)?) -> Int {
        if let known = numbers[node] { return known }
        numbers[node] = order.count
        order.append(node)
        edges.append([])
        origin.append(from)
        return order.count - 1
      }
      for isSecure in schemes { _ = number(Node(state: OriginAutomaton.start, place: .scheme(0, isSecure: isSecure)), nil) }
      roots = order.count
      var index = 0
      while index < order.count {
        let node = order[index]
        for (byte, place) in Self.steps(node.place) {
          let state = automaton.step(node.state, byte)
          guard state != OriginAutomaton.dead else { continue }
          let next = number(Node(state: state, place: place), (index, byte))
          edges[index].append((byte, next))
        }
        index += 1
      }
    }

    /// Where each byte leads from a place: several places, for nobody knows yet how many labels will follow.
    private static func steps(_ place: Place) -> [(UInt8, Place)] {
      switch place {
      case .scheme(let count, let isSecure):
        let text = Array((isSecure ? "https://" : "http://").utf8)
        guard count == text.count else { return [(text[count], .scheme(count + 1, isSecure: isSecure))] }
        return labels.flatMap { [($0, .early(true)), ($0, .second(true)), ($0, lastPlace(nil, $0))] }
      case .early(let hasByte):
        let dots: [(UInt8, Place)] = hasByte ? [(UInt8(ascii: "."), .early(false)), (UInt8(ascii: "."), .second(false))] : []
        return labels.map { ($0, .early(true)) } + dots
      case .second(let hasByte):
        return labels.map { ($0, .second(true)) } + (hasByte ? [(UInt8(ascii: "."), .last(nil, isEmpty: true))] : [])
      case .last(let spelling, let isEmpty):
        let more = labels.map { ($0, isEmpty ? lastPlace(nil, $0) : lastPlace(spelling, $0, isBegun: true)) }
        return more + (isEmpty ? [] : [(UInt8(ascii: ":"), .port(digits: 0, ofPrivate: isPrivate(spelling)))])
      case .port(let digits, let ofPrivate):
        guard digits < 5 else { return [] }
        return (UInt8(ascii: "0")...UInt8(ascii: "9")).map { ($0, .port(digits: digits + 1, ofPrivate: ofPrivate)) }
      }
    }

    private static func lastPlace(_ spelling: Spelling?, _ byte: UInt8, isBegun: Bool = false) -> Place {
      if let spelling {
        let word = words[spelling.word]
        let fits = spelling.count < word.count && word[spelling.count] == byte
        return .last(fits ? Spelling(word: spelling.word, count: spelling.count + 1) : nil, isEmpty: false)
      }
      let begun = isBegun ? nil : words.indices.first { words[$0].first == byte }
      return .last(begun.map { Spelling(word: $0, count: 1) }, isEmpty: false)
    }

    private static func isPrivate(_ spelling: Spelling?) -> Bool {
      guard let spelling else { return false }
      return words.contains { $0.elementsEqual(words[spelling.word].prefix(spelling.count)) }
    }

    private mutating func findEnds() {
      var back: [[(from: Int, byte: UInt8)]] = order.map { _ in [] }
      for (index, list) in edges.enumerated() { for edge in list { back[edge.to].append((index, edge.byte)) } }
      let ends = order.indices.filter { automaton.isAccepting(order[$0].state) && Self.mayEnd(order[$0].place) }
      toEnd = order.map { _ in nil }
      for end in ends { toEnd[end] = (0, 0, end) }
      Self.spread(ends, back) { from, byte, index in
        guard toEnd[from] == nil else { return false }
        toEnd[from] = ((toEnd[index]?.count ?? 0) + 1, byte, index)
        return true
      }
      reachesPublic = order.map { _ in false }
      let publicEnds = ends.filter { Self.isPublic(order[$0].place) }
      for end in publicEnds { reachesPublic[end] = true }
      Self.spread(publicEnds, back) { from, _, _ in
        guard !reachesPublic[from] else { return false }
        reachesPublic[from] = true
        return true
      }
    }

    /// Goes backwards from these nodes, the nearest first, to whatever `take` says is new.
    private static func spread(_ ends: [Int], _ back: [[(from: Int, byte: UInt8)]], _ take: (Int, UInt8, Int) -> Bool) {
      var queue = ends
      var at = 0
      while at < queue.count {
        let index = queue[at]
        at += 1
        for (from, byte) in back[index] where take(from, byte, index) { queue.append(from) }
      }
    }

    private static func mayEnd(_ place: Place) -> Bool {
      switch place {
      case .last(_, let isEmpty): !isEmpty
      case .port(let digits, _): digits > 0
      default: false
      }
    }

    private static func isPublic(_ place: Place) -> Bool {
      switch place {
      case .last(let spelling, _): !isPrivate(spelling)
      case .port(_, let ofPrivate): !ofPrivate
      default: false
      }
    }

    // MARK: Answers

    var example: String? {
      let best = (0..<roots).compactMap { root in toEnd[root].map { (root, $0.count) } }.min { $0.1 < $1.1 }
      return best.map { String(decoding: way(to: $0.0) + rest(from: $0.0), as: UTF8.self) }
    }

    /// An origin of a domain that is not fixed: the walk can go in circles within one of the last two labels.
    var stranger: String? {
      for index in order.indices where isOpen(index) {
        guard let circle = circle(from: index) else { continue }
        return String(decoding: way(to: index) + circle + rest(from: index), as: UTF8.self)
      }
      return nil
    }

    /// Within the last two labels, and on the way to an end that is no private domain.
    private func isOpen(_ index: Int) -> Bool {
      switch order[index].place {
      case .second, .last: reachesPublic[index]
      default: false
      }
    }

    /// Bytes that lead back to this node without leaving its label.
    private func circle(from start: Int) -> [UInt8]? {
      var ways: [Int: [UInt8]] = [:]
      var queue = [start]
      var at = 0
      while at < queue.count {
        let index = queue[at]
        at += 1
        let soFar = ways[index] ?? []
        for edge in edges[index] where Self.isSameLabel(order[edge.to].place, order[start].place) {
          if edge.to == start { return soFar + [edge.byte] }
          guard ways[edge.to] == nil, toEnd[edge.to] != nil else { continue }
          ways[edge.to] = soFar + [edge.byte]
          queue.append(edge.to)
        }
      }
      return nil
    }

    private static func isSameLabel(_ one: Place, _ other: Place) -> Bool {
      switch (one, other) {
      case (.second, .second), (.last, .last): true
      default: false
      }
    }

    private func way(to index: Int) -> [UInt8] {
      var bytes: [UInt8] = []
      var at = index
      while let (from, byte) = origin[at] {
        bytes.append(byte)
        at = from
      }
      return bytes.reversed()
    }

    private func rest(from index: Int) -> [UInt8] {
      var bytes: [UInt8] = []
      var at = index
      while let (count, byte, next) = toEnd[at], count > 0 {
        bytes.append(byte)
        at = next
      }
      return bytes
    }
  }
}
