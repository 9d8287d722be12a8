/// Counts the domains of the hosts that an automaton takes, up to more than anybody owns.
///
/// A domain may be reached through many states at once, for what stands before it differs. So sets of states are walked, one byte of all domains
/// at a time; beginnings of domains that lead to the same set are counted together. Only what leads to an end is kept, so that each beginning
/// stands for one domain at least, and the walk is over as soon as there are too many beginnings: circles need no search.
struct OriginDomains {
  /// A domain: the last two labels of a host (or its only one), or a whole address.
  struct Domain {
    let bytes: [UInt8]
    let isAddress: Bool
    /// No other label can stand before it.
    var isWhole: Bool { isAddress || !bytes.contains(UInt8(ascii: ".")) }
  }

  /// Of a label that may be the last.
  private enum Word: Hashable {
    case empty
    case digits
    /// So many bytes of that private domain.
    case spelling(Int, Int)
    case other

    func following(_ byte: UInt8) -> Word {
      switch self {
      case .empty:
        if byte &- 48 < 10 { return .digits }
        return OriginDomains.privateWords.firstIndex { $0.first == byte }.map { .spelling($0, 1) } ?? .other
      case .digits: return byte &- 48 < 10 ? .digits : .other
      case .spelling(let word, let count):
        let text = OriginDomains.privateWords[word]
        return count < text.count && text[count] == byte ? .spelling(word, count + 1) : .other
      case .other: return .other
      }
    }

    var isPrivate: Bool {
      guard case .spelling(let word, let count) = self else { return false }
      return OriginDomains.privateWords.contains { $0.elementsEqual(OriginDomains.privateWords[word].prefix(count)) }
    }
  }

  /// How much of a domain was read.
  private enum Place: Hashable {
    /// The last label but one.
    case second(hasByte: Bool)
    case last(Word)
    /// Of an address, whose every label counts.
    case address(Word)

    func following(_ byte: UInt8) -> Place? {
      let isDot = byte == UInt8(ascii: ".")
      switch self {
      case .second(let hasByte): return isDot ? (hasByte ? .last(.empty) : nil) : .second(hasByte: true)
      case .last(let word): return isDot ? nil : .last(word.following(byte))
      case .address(.empty) where isDot: return nil
      case .address(let word):
        if isDot { return .address(.empty) }
        return .address(word != .other && byte &- 48 < 10 ? .digits : .other)
      }
    }

    /// Whether a domain that strangers may have can end here.
    var isEnd: Bool {
      switch self {
      case .second: false
      // Browsers take a host for an address when its last label is a number (WHATWG URL, "ends in a number").
      case .last(let word): word != .empty && word != .digits && !word.isPrivate
      case .address(let word): word == .digits
      }
    }
  }

  /// All places, and by place and byte where it leads, -1 for nowhere.
  private struct Places {
    let all: [Place]
    let next: [[Int]]
    let bytes = OriginHosts.bytes + [UInt8(ascii: ".")]

    init() {
      var all: [Place] = [.second(hasByte: false), .last(.empty), .address(.empty)]
      var numbers = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($0.element, $0.offset) })
      var next: [[Int]] = []
      while next.count < all.count {
        let place = all[next.count]
        next.append(
          bytes.map { byte in
            guard let following = place.following(byte) else { return -1 }
            if let number = numbers[following] { return number }
            numbers[following] = all.count
            all.append(following)
            return all.count - 1
          })
      }
      (self.all, self.next) = (all, next)
    }
  }

  /// Bytes that neither the automaton nor the place tells apart.
  private struct Move {
    let byte: UInt8
    var bytes: Int
    let place: Int
  }

  /// Domains that begin alike, as far as both automata can tell.
  private struct Beginning {
    let place: Int
    /// In ascending order.
    let states: [Int]
    var count: Int
    /// One of them.
    let text: [UInt8]
  }

  private struct Key: Hashable {
    let place: Int
    let states: [Int]
  }

  fileprivate static let privateWords = OriginSurvey.privateDomains.map { Array($0.utf8) }
  private static let places = Places()
  /// No longer origin is ever taken (`OriginPattern.matches`).
  private static let longest = 320

  private let automaton: OriginAutomaton
  private let hosts: OriginHosts
  private let moves: [[Move]]
  /// By state and place: bytes to the nearest end, or -1 where none can be reached.
  private var distance: [Int]
  private(set) var steps = 0

  private var placeCount: Int { moves.count }

  init(_ automaton: OriginAutomaton, _ hosts: OriginHosts) {
    self.automaton = automaton
    self.hosts = hosts
    moves = Self.places.next.map { next in
      var moves: [Move] = []
      for (byte, place) in zip(Self.places.bytes, next) where place >= 0 {
        let same = moves.firstIndex { $0.place == place && automaton.kind(of: $0.byte) == automaton.kind(of: byte) }
        if let same { moves[same].bytes += 1 } else { moves.append(Move(byte: byte, bytes: 1, place: place)) }
      }
      return moves
    }
    distance = [Int](repeating: -1, count: automaton.states * moves.count)
  }

  /// Where domains may begin.
  private var starts: [(place: Int, states: [Int])] {
    [(0, hosts.labelStates(first: false)), (1, hosts.labelStates(first: true)), (2, hosts.labelStates(first: true))]
  }

  private mutating func step() throws(OriginPatternFault) {
    steps += 1
    if steps > OriginSurvey.mostSteps - hosts.steps {
      throw OriginPatternFault("takes too many forms to be looked through", "write it more simply, or list the origins")
    }
  }

  /// One of the domains when there are more than `OriginSurvey.mostDomains`, not the shortest; nil when there are not.
  mutating func oneTooMany() throws(OriginPatternFault) -> Domain? {
    try measure()
    var level = starts.compactMap { beginning($0.place, $0.states, count: 1, []) }
    var (found, examples) = (0, [(place: Int, text: [UInt8])]())
    for _ in 0..<Self.longest where !level.isEmpty {
      for one in level where Self.places.all[one.place].isEnd && one.states.contains(where: { hosts.rests[$0] != nil }) {
        found += one.count
        if examples.count < 2 { examples.append((one.place, one.text)) }
      }
      level = try following(level)
      guard found + level.reduce(0, { $0 + $1.count }) > OriginSurvey.mostDomains else { continue }
      let (place, text) = examples.count > 1 ? examples[1] : level.first.map(complete) ?? examples[0]
      return Domain(bytes: text, isAddress: Self.places.all[place] == .address(.digits))
    }
    return nil
  }

  private func beginning(_ place: Int, _ states: [Int], count: Int, _ text: [UInt8]) -> Beginning? {
    let states = states.filter { distance[$0 * placeCount + place] >= 0 }
    return states.isEmpty ? nil : Beginning(place: place, states: states, count: count, text: text)
  }

  /// The same with one byte more.
  private mutating func following(_ level: [Beginning]) throws(OriginPatternFault) -> [Beginning] {
    var next: [Beginning] = []
    var numbers: [Key: Int] = [:]
    for one in level {
      for move in moves[one.place] {
        var states: Set<Int> = []
        for state in one.states {
          try step()
          states.insert(automaton.step(state, move.byte))
        }
        guard let more = beginning(move.place, states.sorted(), count: one.count * move.bytes, one.text + [move.byte]) else { continue }
        let key = Key(place: more.place, states: more.states)
        if let number = numbers[key] {
          next[number].count += more.count
        } else {
          numbers[key] = next.count
          next.append(more)
        }
      }
    }
    return next
  }

  /// The nearest end of one of its domains.
  private func complete(_ beginning: Beginning) -> (place: Int, text: [UInt8]) {
    var (place, state, text) = (beginning.place, beginning.states[0], beginning.text)
    while distance[state * placeCount + place] > 0 {
      let nearer = moves[place].first { move in
        distance[automaton.step(state, move.byte) * placeCount + move.place] == distance[state * placeCount + place] - 1
      }
      guard let nearer else { break }
      (place, state) = (nearer.place, automaton.step(state, nearer.byte))
      text.append(nearer.byte)
    }
    return (place, text)
  }

  /// Finds how far it is to an end, from everywhere.
  private mutating func measure() throws(OriginPatternFault) {
    var (order, edges): ([Int], [(from: Int, earlier: Int)]) = ([], [])
    var isKnown = [Bool](repeating: false, count: distance.count)
    /// By node: the last of the edges that lead to it; each names the one before.
    var latest = [Int](repeating: -1, count: distance.count)
    for (place, states) in starts {
      for node in states.map({ $0 * placeCount + place }) where !isKnown[node] {
        isKnown[node] = true
        order.append(node)
      }
    }
    var at = 0
    while at < order.count {
      let (state, place) = order[at].quotientAndRemainder(dividingBy: placeCount)
      for move in moves[place] {
        try step()
        let following = automaton.step(state, move.byte)
        guard following != OriginAutomaton.dead else { continue }
        let node = following * placeCount + move.place
        edges.append((order[at], latest[node]))
        latest[node] = edges.count - 1
        guard !isKnown[node] else { continue }
        isKnown[node] = true
        order.append(node)
      }
      at += 1
    }
    var queue = order.filter { Self.places.all[$0 % placeCount].isEnd && hosts.rests[$0 / placeCount] != nil }
    for node in queue { distance[node] = 0 }
    at = 0
    while at < queue.count {
      var edge = latest[queue[at]]
      while edge >= 0 {
        let (from, earlier) = edges[edge]
        if distance[from] < 0 {
          distance[from] = distance[queue[at]] + 1
          queue.append(from)
        }
        edge = earlier
      }
      at += 1
    }
  }
}
