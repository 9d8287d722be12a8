/// What an expression takes of all origins that there can be: whether any, whether those of strangers, and an example of each.
///
/// The automaton walks together with small ones that know what origins and domains look like: what is told is exact, without trying out names,
/// and costs a bounded number of steps.
struct OriginSurvey {
  /// The shortest origin that the expression takes; nil for none.
  let example: String?
  /// One that anybody could have: the expression takes more domains than anybody owns.
  let stranger: String?
  /// The stranger's host is an address.
  let isStrangerAddress: Bool
  /// Looks into the automaton's table.
  let steps: Int

  /// Labels below which nobody can register a domain (RFC 2606, RFC 6761, RFC 6762; `internal` by ICANN).
  static let privateDomains = ["localhost", "test", "internal", "local"]
  /// So many domains may be one's own. A domain: the last two labels of a host, its only one, or a whole address.
  static let mostDomains = 100
  static let mostSteps = 1 << 20

  /// Throws when more than `mostSteps` would be needed.
  init(_ automaton: OriginAutomaton, allowsHTTP: Bool) throws(OriginPatternFault) {
    let hosts = OriginHosts(automaton, allowsHTTP: allowsHTTP)
    var domains = OriginDomains(automaton, hosts)
    let found = try domains.oneTooMany()
    example = hosts.example
    stranger = found.map { hosts.origin(of: $0.bytes, isWhole: $0.isWhole) ?? String(decoding: $0.bytes, as: UTF8.self) }
    isStrangerAddress = found?.isAddress ?? false
    steps = hosts.steps + domains.steps
  }
}

/// The hosts that an automaton takes behind a scheme.
struct OriginHosts {
  private struct Node {
    let state: Int
    /// Of the label that is being read.
    let hasByte: Bool
    /// Nil where the scheme ends.
    let before: (node: Int, byte: UInt8)?
    let isSecure: Bool
    let length: Int
  }

  /// What labels are made of. Letters first, so that examples look like names.
  static let bytes = Array("abcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

  private let automaton: OriginAutomaton
  /// By state: the shortest text that may follow a host, nothing or a port; nil for none.
  let rests: [[UInt8]?]
  /// Every state between two bytes of a host once, with the shortest way to it.
  private var nodes: [Node] = []
  private var isKnown: [Bool]
  private(set) var steps = 0

  init(_ automaton: OriginAutomaton, allowsHTTP: Bool) {
    self.automaton = automaton
    rests = Self.rests(automaton)
    isKnown = [Bool](repeating: false, count: automaton.states * 2)
    for isSecure in allowsHTTP ? [true, false] : [true] {
      let state = automaton.run((isSecure ? "https://" : "http://").utf8, from: OriginAutomaton.start)
      add(Node(state: state, hasByte: false, before: nil, isSecure: isSecure, length: isSecure ? 8 : 7))
    }
    var at = 0
    while at < nodes.count {
      let node = nodes[at]
      let dot = node.hasByte ? [UInt8(ascii: ".")] : []
      for byte in Self.bytes + dot {
        steps += 1
        add(
          Node(
            state: automaton.step(node.state, byte), hasByte: byte != UInt8(ascii: "."), before: (at, byte), isSecure: node.isSecure,
            length: node.length + 1))
      }
      at += 1
    }
  }

  private mutating func add(_ node: Node) {
    let number = node.state * 2 + (node.hasByte ? 1 : 0)
    guard node.state != OriginAutomaton.dead, !isKnown[number] else { return }
    isKnown[number] = true
    nodes.append(node)
  }

  /// Where a label may begin: the first alone, or any.
  func labelStates(first: Bool) -> [Int] {
    Set(nodes.filter { !$0.hasByte && (!first || $0.before == nil) }.map(\.state)).sorted()
  }

  private static func rests(_ automaton: OriginAutomaton) -> [[UInt8]?] {
    // With at most so many digits more, as yet none.
    var digits: [[UInt8]?] = (0..<automaton.states).map { automaton.isAccepting($0) ? [] : nil }
    func oneMore(_ state: Int) -> [UInt8]? {
      let all = (UInt8(ascii: "0")...UInt8(ascii: "9")).compactMap { digit in digits[automaton.step(state, digit)].map { [digit] + $0 } }
      return all.min { $0.count < $1.count }
    }
    for _ in 0..<4 { digits = digits.indices.map { digits[$0] ?? oneMore($0) } }
    return digits.indices.map { state in
      if automaton.isAccepting(state) { return [] }
      let port = automaton.step(state, UInt8(ascii: ":"))
      return port == OriginAutomaton.dead ? nil : oneMore(port).map { [UInt8(ascii: ":")] + $0 }
    }
  }

  // MARK: Answers

  /// The shortest origin.
  var example: String? {
    let ends = nodes.indices.compactMap { index in
      nodes[index].hasByte ? rests[nodes[index].state].map { (index, nodes[index].length + $0.count, $0) } : nil
    }
    return ends.min { $0.1 < $1.1 }.map { text(to: $0.0) + String(decoding: $0.2, as: UTF8.self) }
  }

  /// An origin whose host is `domain`, or ends with it; nil when the automaton takes none.
  func origin(of domain: [UInt8], isWhole: Bool) -> String? {
    for index in nodes.indices where !nodes[index].hasByte && (!isWhole || nodes[index].before == nil) {
      if let rest = rests[automaton.run(domain, from: nodes[index].state)] {
        return text(to: index) + String(decoding: domain + rest, as: UTF8.self)
      }
    }
    return nil
  }

  private func text(to index: Int) -> String {
    var bytes: [UInt8] = []
    var at = index
    while let (node, byte) = nodes[at].before {
      bytes.append(byte)
      at = node
    }
    return (nodes[at].isSecure ? "https://" : "http://") + String(decoding: bytes.reversed(), as: UTF8.self)
  }
}
