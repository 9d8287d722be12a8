import IntercomCore
import Synchronization

/// One counter series: a number that only grows.
package struct Counter: Sendable, Hashable { let cell: Int }

/// One gauge series: a number that goes up and down; the loops' values are added at the scrape.
package struct Gauge: Sendable, Hashable { let cell: Int }

/// One series of durations that shows the longest since the last scrape.
package struct Longest: Sendable, Hashable { let cell: Int }

/// One histogram series of durations.
package struct Histogram: Sendable {
  let cell: Int
  /// Upper bounds in nanoseconds, ascending; the cells are one per bound, one for what is above, one for the sum in nanoseconds.
  let bounds: [Int64]
}

/// The numbers of one loop. Its own thread alone updates them, by a plain load and store that cost what an ordinary variable costs; a scrape
/// on another thread reads them relaxed, so it sees each number whole, at most a moment old.
package final class LoopMetrics: Sendable {
  private let chunks: [Chunk]
  private let isShared: Bool
  /// The event loop whose numbers these are; nil for anybody else's.
  let loop: Int?

  private final class Chunk: Sendable {
    static let size = 64
    let cells = InlineArray<64, Atomic<Int>> { _ in Atomic(0) }
  }

  /// - Parameter isShared: several threads update it, by atomic additions (some 5 ns each).
  init(cells: Int, isShared: Bool, loop: Int? = nil) {
    self.loop = loop
    chunks = (0..<(max(cells, 1) + Chunk.size - 1) / Chunk.size).map { _ in Chunk() }
    self.isShared = isShared
  }

  package func add(_ counter: Counter, _ amount: Int = 1) { add(amount, at: counter.cell) }
  package func add(_ gauge: Gauge, _ amount: Int) { add(amount, at: gauge.cell) }
  package func set(_ gauge: Gauge, to value: Int) {
    guard let chunk = chunk(of: gauge.cell) else { return }
    chunk.cells[gauge.cell % Chunk.size].store(value, ordering: .relaxed)
  }

  /// Keeps a duration when it is the longest since the last scrape. A scrape at the same moment may miss it.
  package func observe(_ longest: Longest, _ duration: Duration) {
    guard let chunk = chunk(of: longest.cell) else { return }
    let (nanoseconds, index) = (Int(clamping: duration.wholeNanoseconds), longest.cell % Chunk.size)
    if nanoseconds > chunk.cells[index].load(ordering: .relaxed) { chunk.cells[index].store(nanoseconds, ordering: .relaxed) }
  }

  /// Counts a duration in its bucket; negative ones count as zero.
  package func observe(_ histogram: Histogram, _ duration: Duration) { observe(histogram, nanoseconds: duration.wholeNanoseconds) }

  /// The same for whoever has the number already: `Duration` counts in 128 bits.
  package func observe(_ histogram: Histogram, nanoseconds: Int64) {
    let nanoseconds = max(0, nanoseconds)
    var bucket = 0
    while bucket < histogram.bounds.count, nanoseconds > histogram.bounds[bucket] { bucket &+= 1 }
    add(1, at: histogram.cell &+ bucket)
    add(Int(clamping: nanoseconds), at: histogram.cell &+ histogram.bounds.count &+ 1)
  }

  func value(at cell: Int) -> Int {
    guard let chunk = chunk(of: cell) else { return 0 }
    return chunk.cells[cell % Chunk.size].load(ordering: .relaxed)
  }

  /// The number, which begins at zero again.
  func take(_ cell: Int) -> Int {
    guard let chunk = chunk(of: cell) else { return 0 }
    return chunk.cells[cell % Chunk.size].exchange(0, ordering: .relaxed)
  }

  private func add(_ amount: Int, at cell: Int) {
    guard let chunk = chunk(of: cell) else { return }
    let index = cell % Chunk.size
    if isShared {
      chunk.cells[index].wrappingAdd(amount, ordering: .relaxed)
    } else {
      chunk.cells[index].store(chunk.cells[index].load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
  }

  /// Nil for a series that was registered after this loop began: it counts nothing instead of trapping.
  private func chunk(of cell: Int) -> Chunk? {
    let index = cell / Chunk.size
    return cell >= 0 && index < chunks.count ? chunks[index] : nil
  }
}
