import Cryptography
import Sessions

/// How records and indexes are called in Redis: `intercom:session:{…}`. What stands in braces decides in a cluster where a key lives, so all keys
/// of one record live together.
enum RedisKeys {
  static let prefix = "intercom:"
  /// What tells sessions from all else: copies of them alone are watched.
  static let sessionPrefix = "\(prefix)session:"

  private static let sessionStart = Array("\(sessionPrefix){".utf8)

  static func record(_ key: RecordKey) -> [UInt8] { name(word(key.kind), key.bytes) }
  static func index(_ index: IndexKey) -> [UInt8] { name(word(index.kind), index.bytes) }

  /// The session whose record has this name; nil for other names.
  static func session(named name: [UInt8]) -> SessionKey? {
    guard name.starts(with: sessionStart), name.last == UInt8(ascii: "}") else { return nil }
    let word = Array(name[sessionStart.count...].dropLast())
    guard let bytes = Base64URL.decode(word), let key = RecordKey(kind: .session, bytes: bytes) else {
      return nil
    }
    return SessionKey(record: key)
  }

  /// An index's entry: the kind and the bytes of a record's key, and the stamp of the write that entered it. So a write that is refused takes
  /// back its own entry alone.
  static func member(_ key: RecordKey, _ stamp: some Collection<UInt8>) -> [UInt8] { [key.kind.rawValue] + key.bytes + stamp }

  static func key(ofMember member: [UInt8]) -> RecordKey? {
    guard let kind = member.first.flatMap({ RecordKind(rawValue: $0) }), member.count > entry else { return nil }
    return RecordKey(kind: kind, bytes: member[1..<entry])
  }

  /// What entered it.
  static func stamp(ofMember member: [UInt8]) -> [UInt8] { Array(member.dropFirst(entry)) }

  /// The second in which an entry was made; nil for a foreign one.
  static func second(ofMember member: [UInt8]) -> Int64? {
    decimal(member.dropFirst(entry)).flatMap { Int64(exactly: $0 / 4_096_000) }
  }

  /// A record's own list of its indexes: kind and 32 bytes each, in order.
  static func list(_ indexes: [IndexKey]) -> [UInt8] {
    indexes.map { [$0.kind.rawValue] + $0.bytes }.sorted { $0.lexicographicallyPrecedes($1) }.flatMap { $0 }
  }

  private static let entry = 33

  /// The names of the indexes in such a list.
  static func indexes(in list: [UInt8]) -> [[UInt8]] {
    stride(from: 0, to: list.count - list.count % entry, by: entry).compactMap { start in
      IndexKey.Kind(rawValue: list[start]).map { name(word($0), Array(list[(start + 1)..<(start + entry)])) }
    }
  }

  /// Whether a list has this one entry.
  static func contains(_ list: [UInt8], _ one: [UInt8]) -> Bool {
    stride(from: 0, to: list.count - list.count % entry, by: entry).contains { list[$0..<($0 + entry)].elementsEqual(one) }
  }

  private static func name(_ word: String, _ bytes: [UInt8]) -> [UInt8] {
    Array("\(prefix)\(word):{".utf8) + Base64URL.encodedBytes(bytes) + [UInt8(ascii: "}")]
  }

  private static func word(_ kind: RecordKind) -> String {
    switch kind {
    case .session: "session"
    case .pendingLogin: "login"
    case .seenTokenID: "jti"
    case .lease: "lease"
    }
  }

  private static func word(_ kind: IndexKey.Kind) -> String {
    switch kind {
    case .sid: "sid"
    case .subject: "subject"
    case .browser: "browser"
    }
  }
}
