/// The candidate that a person probably meant by `word`, if one is near: the same but for case, `_` and `-`, one that begins with it, or at
/// most a third of its letters away.
package func suggestion(for word: String, among candidates: [String]) -> String? {
  let wanted = letters(word)
  if let same = candidates.first(where: { letters($0) == wanted }) { return same }
  let longer = candidates.filter { letters($0).starts(with: wanted) }
  if wanted.count > 2, longer.count == 1 { return longer.first }
  // Longer words are no typing errors, and the table below grows with the product of both lengths.
  guard (2...64).contains(wanted.count) else { return nil }
  let ranked = candidates.map { (name: $0, distance: distance(wanted, letters($0))) }
  guard let best = ranked.min(by: { $0.distance < $1.distance }), best.distance <= max(1, wanted.count / 3) else { return nil }
  return best.name
}

/// Lower case, without `_` and `-`: `base_url`, `BASE_URL` and `baseURL` are one.
func letters(_ name: String) -> [UInt8] {
  name.utf8.compactMap { byte in
    switch byte {
    case UInt8(ascii: "_"), UInt8(ascii: "-"): nil
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
    default: byte
    }
  }
}

/// Edits (insert, remove, replace, swap of neighbours) that turn one into the other.
private func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var beforeLast = [Int](repeating: 0, count: right.count + 1)
  var last = Array(0...right.count)
  for (i, a) in left.enumerated() {
    var row = [i + 1]
    for (j, b) in right.enumerated() {
      var cost = min(row[j] + 1, last[j + 1] + 1, last[j] + (a == b ? 0 : 1))
      if i > 0, j > 0, a == right[j - 1], left[i - 1] == b { cost = min(cost, beforeLast[j - 1] + 1) }
      row.append(cost)
    }
    (beforeLast, last) = (last, row)
  }
  return last.last ?? left.count
}
