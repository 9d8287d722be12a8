import IntercomCore
import Synchronization

/// A label and every value it can have. Values come from fixed sets (route names, status classes), never from a request, so the number of
/// series is known at the start.
package struct MetricLabel: Sendable {
  package let name: String
  private let fixed: [String]
  private let names: MetricNames?

  package init(_ name: String, _ values: [String]) {
    self.name = name
    fixed = values.isEmpty ? [""] : values
    names = nil
  }

  /// A label to whose values more come. It must be the first of its family.
  package init(_ name: String, _ names: MetricNames) {
    self.name = name
    fixed = []
    self.names = names
  }

  /// Those that there are now.
  package var values: [String] { names?.all ?? fixed }
  /// How many there can be.
  var room: Int { names?.room ?? fixed.count }
}

/// Values of a label to which more come while the process runs, such as the routes that a reload brings. Those that are gone keep their series: a
/// counter must not begin anew. There is room for a bounded number; what comes beyond it shares the last.
package final class MetricNames: Sendable {
  private let names: Mutex<[String]>
  let room: Int

  package init(_ first: [String] = [], more: Int = 256) {
    names = Mutex(first)
    room = first.count + max(more, 1)
  }

  var all: [String] { names.withLock { $0 } }

  /// The position of this value, which is there from now on.
  package func place(of name: String) -> Int {
    names.withLock { names in
      if let found = names.firstIndex(where: { $0.utf8.elementsEqual(name.utf8) }) { return found }
      if names.count < room { names.append(names.count < room - 1 ? name : "other") }
      return names.count - 1
    }
  }
}

/// All series of one name, one per combination of label values.
package struct MetricFamily<Series: Sendable>: Sendable {
  private let sizes: [Int]
  private let make: @Sendable (Int) -> Series
  /// The cells of all its series.
  package let cells: Range<Int>

  init(labels: [MetricLabel], cells: Range<Int>, make: @escaping @Sendable (Int) -> Series) {
    sizes = labels.map(\.room)
    self.cells = cells
    self.make = make
  }

  /// The series of these label values, given as positions in the labels' `values`; a position out of range counts as the last.
  package subscript(_ positions: Int...) -> Series {
    var index = 0
    for (label, size) in sizes.enumerated() {
      let position = label < positions.count ? min(max(positions[label], 0), size - 1) : 0
      index = index * size + position
    }
    return make(index)
  }
}

/// Knows every series, gives each loop its numbers and renders the sums in
/// [Prometheus' text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/).
///
/// Register everything first, then make the loops' metrics: a loop counts what was registered before it.
package final class MetricRegistry: Sendable {
  private enum Kind: String { case counter, gauge, histogram }
  private struct Family {
    var name: String
    var help: String
    var kind: Kind
    var labels: [MetricLabel]
    var firstCell: Int
    var bounds: [Int64] = []
    /// Cells of one series.
    var width: Int { kind == .histogram ? bounds.count + 2 : 1 }
    var source = Source.cells
  }
  /// Where a family's values come from.
  private enum Source: Sendable {
    /// Its own cells, summed over the loops.
    case cells
    /// Its own cells, a series for each loop.
    case cellsOfEachLoop
    /// The same, and each scrape begins anew: durations.
    case longestOfEachLoop
    /// The sum of another family's cells, a series for each loop.
    case sumOfEachLoop(Range<Int>)
    case read(@Sendable () -> Int)
    case readEach(@Sendable () -> [(label: String, value: Int)])
  }
  private struct State {
    var families: [Family] = []
    var cells = 0
    var loops: [LoopMetrics] = []
  }
  private let state = Mutex(State())

  package static let contentType = "text/plain; version=0.0.4; charset=utf-8"
  /// Seconds to answer a request: from a warm hit to a provider's time-out.
  package static let requestBounds: [Duration] = [
    .microseconds(100), .microseconds(500), .milliseconds(1), .milliseconds(5), .milliseconds(10), .milliseconds(50), .milliseconds(100),
    .milliseconds(500), .seconds(1), .seconds(5), .seconds(10), .seconds(60),
  ]

  package init() {}

  /// Names end in `_total` and begin with `intercom_`, as Prometheus asks; `name` is completed with the prefix when it lacks it.
  package func counter(_ name: String, help: String, labels: [MetricLabel] = []) -> MetricFamily<Counter> {
    let cells = register(name, help, .counter, labels, cellsPerSeries: 1)
    return MetricFamily(labels: labels, cells: cells) { Counter(cell: cells.lowerBound + $0) }
  }

  package func gauge(_ name: String, help: String, labels: [MetricLabel] = []) -> MetricFamily<Gauge> {
    let cells = register(name, help, .gauge, labels, cellsPerSeries: 1)
    return MetricFamily(labels: labels, cells: cells) { Gauge(cell: cells.lowerBound + $0) }
  }

  /// Durations, rendered in seconds.
  package func histogram(
    _ name: String, help: String, labels: [MetricLabel] = [], bounds: [Duration] = MetricRegistry.requestBounds
  ) -> MetricFamily<Histogram> {
    let bounds = bounds.map(\.wholeNanoseconds).sorted()
    let width = bounds.count + 2
    let cells = register(name, help, .histogram, labels, cellsPerSeries: width, bounds: bounds)
    return MetricFamily(labels: labels, cells: cells) { Histogram(cell: cells.lowerBound + $0 * width, bounds: bounds) }
  }

  /// A gauge, or a counter when `isCounter`, whose value is asked for at the scrape; `read` must return at once.
  package func value(_ name: String, help: String, isCounter: Bool = false, read: @escaping @Sendable () -> Int) {
    _ = register(name, help, isCounter ? .counter : .gauge, [], cellsPerSeries: 0, source: .read(read))
  }

  /// Gauges, told apart by `label`, that are asked for at the scrape; `read` must return at once and give each value of the label once. For
  /// values that an operator changes while Intercom runs: their number is bounded by the configuration.
  package func values(_ name: String, help: String, label: String, read: @escaping @Sendable () -> [(label: String, value: Int)]) {
    _ = register(name, help, .gauge, [MetricLabel(label, [])], cellsPerSeries: 0, source: .readEach(read))
  }

  // MARK: a series for each event loop, labelled `loop`

  package func loopGauge(_ name: String, help: String) -> Gauge {
    Gauge(cell: register(name, help, .gauge, [], cellsPerSeries: 1, source: .cellsOfEachLoop).lowerBound)
  }

  /// Durations, rendered in seconds.
  package func loopHistogram(_ name: String, help: String, bounds: [Duration]) -> Histogram {
    let bounds = bounds.map(\.wholeNanoseconds).sorted()
    let cells = register(name, help, .histogram, [], cellsPerSeries: bounds.count + 2, bounds: bounds, source: .cellsOfEachLoop)
    return Histogram(cell: cells.lowerBound, bounds: bounds)
  }

  /// The longest duration since the last scrape, rendered in seconds. Each scrape begins anew, whoever asks.
  package func loopLongest(_ name: String, help: String) -> Longest {
    Longest(cell: register(name, help, .gauge, [], cellsPerSeries: 1, source: .longestOfEachLoop).lowerBound)
  }

  /// What each loop has counted in all series of `family` together; costs the loops nothing.
  package func loopSum(_ name: String, help: String, of family: MetricFamily<Counter>) {
    _ = register(name, help, .counter, [], cellsPerSeries: 0, source: .sumOfEachLoop(family.cells))
  }

  package func loopSum(_ name: String, help: String, of family: MetricFamily<Gauge>) {
    _ = register(name, help, .gauge, [], cellsPerSeries: 0, source: .sumOfEachLoop(family.cells))
  }

  // MARK: numbers

  /// Numbers for one thread.
  ///
  /// - Parameter loop: the position of the event loop that counts; without it they are in no series of a loop.
  package func makeLoopMetrics(of loop: Int? = nil) -> LoopMetrics { makeMetrics(isShared: false, loop: loop) }

  /// Numbers that any thread may update, a little dearer.
  package func makeSharedMetrics() -> LoopMetrics { makeMetrics(isShared: true) }

  private func makeMetrics(isShared: Bool, loop: Int? = nil) -> LoopMetrics {
    state.withLock { state in
      let metrics = LoopMetrics(cells: state.cells, isShared: isShared, loop: loop)
      state.loops.append(metrics)
      return metrics
    }
  }

  private func register(
    _ name: String, _ help: String, _ kind: Kind, _ labels: [MetricLabel], cellsPerSeries: Int, bounds: [Int64] = [],
    source: Source = .cells
  ) -> Range<Int> {
    let name = name.hasPrefix("intercom_") ? name : "intercom_" + name
    return state.withLock { state in
      let first = state.cells
      state.families.append(
        Family(name: name, help: help, kind: kind, labels: labels, firstCell: first, bounds: bounds, source: source))
      state.cells += labels.reduce(cellsPerSeries) { $0 * $1.room }
      return first..<state.cells
    }
  }

  /// Everything as text; series without the label `loop` are summed over the loops.
  package func render() -> [UInt8] {
    let (families, loops) = state.withLock { ($0.families, $0.loops) }
    var text = PrometheusText()
    for family in families {
      text.head(family.name, help: family.help, type: family.kind.rawValue)
      switch family.source {
      case .read(let read): text.sample(family.name, [], String(read()))
      case .readEach(let read):
        for (label, value) in read() { text.sample(family.name, [(family.labels[0].name, label)], String(value)) }
      case .cells:
        for (index, labels) in Self.combinations(of: family.labels).enumerated() {
          Self.render(family, labels, family.firstCell + index * family.width, of: loops, &text)
        }
      case .cellsOfEachLoop: Self.eachLoop(loops) { Self.render(family, $0, family.firstCell, of: [$1], &text) }
      case .longestOfEachLoop:
        Self.eachLoop(loops) { text.sample(family.name, $0, PrometheusText.seconds($1.take(family.firstCell))) }
      case .sumOfEachLoop(let cells):
        Self.eachLoop(loops) { label, loop in text.sample(family.name, label, String(cells.reduce(0) { $0 &+ loop.value(at: $1) })) }
      }
    }
    return text.bytes
  }

  private static func eachLoop(_ loops: [LoopMetrics], _ body: ([(String, String)], LoopMetrics) -> Void) {
    for loop in loops { if let index = loop.loop { body([("loop", String(index))], loop) } }
  }

  private static func render(
    _ family: Family, _ labels: [(String, String)], _ first: Int, of loops: [LoopMetrics], _ text: inout PrometheusText
  ) {
    let values = (first..<first + family.width).map { cell in loops.reduce(0) { $0 &+ $1.value(at: cell) } }
    if family.kind == .histogram {
      text.histogram(family.name, labels, bounds: family.bounds, values: values)
    } else {
      text.sample(family.name, labels, String(values[0]))
    }
  }

  private static func combinations(of labels: [MetricLabel]) -> [[(String, String)]] {
    labels.reduce([[]]) { partial, label in partial.flatMap { head in label.values.map { head + [(label.name, $0)] } } }
  }
}

/// The bytes of the exposition format.
private struct PrometheusText {
  var bytes: [UInt8] = []

  mutating func head(_ name: String, help: String, type: String) {
    append("# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) \(type)\n")
  }

  mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
    let inner = labels.map { "\($0.0)=\"\(Self.escaped($0.1, quotes: true))\"" }.joined(separator: ",")
    append(labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(inner)} \(value)\n")
  }

  mutating func histogram(_ name: String, _ labels: [(String, String)], bounds: [Int64], values: [Int]) {
    var total = 0
    for (bound, value) in zip(bounds, values) {
      total &+= value
      sample(name + "_bucket", labels + [("le", Self.seconds(Int(clamping: bound)))], String(total))
    }
    total &+= values[bounds.count]
    sample(name + "_bucket", labels + [("le", "+Inf")], String(total))
    sample(name + "_sum", labels, Self.seconds(values[bounds.count + 1]))
    sample(name + "_count", labels, String(total))
  }

  /// Nanoseconds as decimal seconds, exactly: 1_500_000 is `0.0015`.
  static func seconds(_ nanoseconds: Int) -> String {
    let fraction = String(nanoseconds % 1_000_000_000)
    var digits = Array(String(repeating: "0", count: max(0, 9 - fraction.utf8.count)) + fraction)
    while let last = digits.last, last == "0" { digits.removeLast() }
    return digits.isEmpty ? "\(nanoseconds / 1_000_000_000)" : "\(nanoseconds / 1_000_000_000).\(String(digits))"
  }

  private static func escaped(_ text: String, quotes: Bool) -> String {
    var out = ""
    for character in text.unicodeScalars {
      switch character {
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\"" where quotes: out += "\\\""
      default: out.unicodeScalars.append(character)
      }
    }
    return out
  }

  private mutating func append(_ text: String) { bytes += Array(text.utf8) }
}
