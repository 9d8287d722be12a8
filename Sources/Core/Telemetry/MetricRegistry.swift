import IntercomCore
import Synchronization

/// A label and every value it can have. Values come from fixed sets (route names, status classes), never from a request, so the number of
/// series is known at the start.
package struct MetricLabel: Sendable {
  package let name: String
  package let values: [String]

  package init(_ name: String, _ values: [String]) {
    self.name = name
    self.values = values.isEmpty ? [""] : values
  }
}

/// All series of one name, one per combination of label values.
package struct MetricFamily<Series: Sendable>: Sendable {
  private let sizes: [Int]
  private let make: @Sendable (Int) -> Series

  init(labels: [MetricLabel], make: @escaping @Sendable (Int) -> Series) {
    sizes = labels.map(\.values.count)
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
    var read: (@Sendable () -> Int)?
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
    let first = register(name, help, .counter, labels, cellsPerSeries: 1)
    return MetricFamily(labels: labels) { Counter(cell: first + $0) }
  }

  package func gauge(_ name: String, help: String, labels: [MetricLabel] = []) -> MetricFamily<Gauge> {
    let first = register(name, help, .gauge, labels, cellsPerSeries: 1)
    return MetricFamily(labels: labels) { Gauge(cell: first + $0) }
  }

  /// Durations, rendered in seconds.
  package func histogram(
    _ name: String, help: String, labels: [MetricLabel] = [], bounds: [Duration] = MetricRegistry.requestBounds
  ) -> MetricFamily<Histogram> {
    let bounds = bounds.map(\.wholeNanoseconds).sorted()
    let width = bounds.count + 2
    let first = register(name, help, .histogram, labels, cellsPerSeries: width, bounds: bounds)
    return MetricFamily(labels: labels) { Histogram(cell: first + $0 * width, bounds: bounds) }
  }

  /// A gauge, or a counter when `isCounter`, whose value is asked for at the scrape; `read` must return at once.
  package func value(_ name: String, help: String, isCounter: Bool = false, read: @escaping @Sendable () -> Int) {
    _ = register(name, help, isCounter ? .counter : .gauge, [], cellsPerSeries: 0, read: read)
  }

  /// Numbers for one thread.
  package func makeLoopMetrics() -> LoopMetrics { makeMetrics(isShared: false) }

  /// Numbers that any thread may update, a little dearer.
  package func makeSharedMetrics() -> LoopMetrics { makeMetrics(isShared: true) }

  private func makeMetrics(isShared: Bool) -> LoopMetrics {
    state.withLock { state in
      let metrics = LoopMetrics(cells: state.cells, isShared: isShared)
      state.loops.append(metrics)
      return metrics
    }
  }

  private func register(
    _ name: String, _ help: String, _ kind: Kind, _ labels: [MetricLabel], cellsPerSeries: Int, bounds: [Int64] = [],
    read: (@Sendable () -> Int)? = nil
  ) -> Int {
    let name = name.hasPrefix("intercom_") ? name : "intercom_" + name
    return state.withLock { state in
      let first = state.cells
      state.families.append(
        Family(name: name, help: help, kind: kind, labels: labels, firstCell: first, bounds: bounds, read: read))
      state.cells += labels.reduce(cellsPerSeries) { $0 * $1.values.count }
      return first
    }
  }

  /// Everything as text; series are summed over the loops.
  package func render() -> [UInt8] {
    let (families, loops) = state.withLock { ($0.families, $0.loops) }
    var text = PrometheusText()
    for family in families {
      text.head(family.name, help: family.help, type: family.kind.rawValue)
      if let read = family.read {
        text.sample(family.name, [], String(read()))
        continue
      }
      let width = family.kind == .histogram ? family.bounds.count + 2 : 1
      for (index, labels) in Self.combinations(of: family.labels).enumerated() {
        let cell = family.firstCell + index * width
        let values = (cell..<cell + width).map { cell in loops.reduce(0) { $0 &+ $1.value(at: cell) } }
        if family.kind == .histogram {
          text.histogram(family.name, labels, bounds: family.bounds, values: values)
        } else {
          text.sample(family.name, labels, String(values[0]))
        }
      }
    }
    return text.bytes
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
  private static func seconds(_ nanoseconds: Int) -> String {
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
