import IntercomCore

/// Writes the fields of a record: integers of 8 bytes, byte strings with their length, one after the other.
package struct RecordWriter: PrintsNothing {
  package private(set) var out: [UInt8] = []

  package init() {}

  package mutating func byte(_ value: UInt8) { out.append(value) }
  package mutating func integer(_ value: Int64) {
    for shift in stride(from: 56, through: 0, by: -8) { out.append(UInt8(truncatingIfNeeded: value >> Int64(shift))) }
  }
  package mutating func bytes(_ value: [UInt8]) {
    integer(Int64(value.count))
    out += value
  }
  package mutating func text(_ value: String) { bytes(Array(value.utf8)) }
  package mutating func optional<Value>(_ value: Value?, _ write: (inout Self, Value) -> Void) {
    byte(value == nil ? 0 : 1)
    if let value { write(&self, value) }
  }
}

/// A record that is not one: the caller drops it.
package struct DamagedRecord: Error {}

/// Reads what `RecordWriter` wrote. Values were authenticated before, so damage means another schema; still nothing is trusted.
package struct RecordReader: PrintsNothing {
  private var rest: ArraySlice<UInt8>

  package init(_ bytes: [UInt8]) { rest = bytes[...] }

  package mutating func byte() throws(DamagedRecord) -> UInt8 {
    guard let first = rest.popFirst() else { throw DamagedRecord() }
    return first
  }
  package mutating func integer() throws(DamagedRecord) -> Int64 {
    guard rest.count >= 8 else { throw DamagedRecord() }
    let value = rest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    rest = rest.dropFirst(8)
    return Int64(bitPattern: value)
  }
  package mutating func bytes() throws(DamagedRecord) -> [UInt8] {
    let count = try integer()
    guard count >= 0, count <= rest.count else { throw DamagedRecord() }
    let value = Array(rest.prefix(Int(count)))
    rest = rest.dropFirst(Int(count))
    return value
  }
  package mutating func text() throws(DamagedRecord) -> String {
    guard let text = String(validating: try bytes(), as: UTF8.self) else { throw DamagedRecord() }
    return text
  }
  /// A byte that is 0 or 1.
  package mutating func flag() throws(DamagedRecord) -> Bool {
    switch try byte() {
    case 0: return false
    case 1: return true
    default: throw DamagedRecord()
    }
  }
  package mutating func optional<Value>(_ read: (inout Self) throws(DamagedRecord) -> Value) throws(DamagedRecord) -> Value? {
    try flag() ? try read(&self) : nil
  }
  /// Nothing may be left.
  package func end() throws(DamagedRecord) {
    guard rest.isEmpty else { throw DamagedRecord() }
  }
}
