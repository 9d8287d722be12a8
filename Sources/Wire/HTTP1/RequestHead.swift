import HTTPMessage

/// A request's head as it was read: the canonical request and its field lines. Made once per connection or loop and used again.
public struct RequestHead: Sendable {
  public internal(set) var request = CanonicalRequest()
  public internal(set) var fields = FieldTable()

  package init() {}

  mutating func reset() {
    request = CanonicalRequest()
    fields.removeAll()
  }
}

/// How an answer's body is delimited (RFC 9112 §6.3).
public enum ResponseFraming: Sendable, Hashable {
  case none
  case length(Int)
  case chunked
  /// Until the upstream closes: a clean end cannot be told from a broken one, and the connection is never used again.
  case untilClose
}

/// The head of an upstream's answer as it was read.
public struct ResponseHead: Sendable {
  /// 100 … 599
  public internal(set) var status = 0
  public internal(set) var reason: ByteRange = .empty
  public internal(set) var fields = FieldTable()
  public internal(set) var framing: ResponseFraming = .none
  var lengths = ResponseLengths()
  /// The upstream lets the connection live and its end of the body is certain.
  public internal(set) var keepAlive = true
  /// 1xx other than 101: another head follows on the same connection.
  public internal(set) var isInterim = false
  /// 101 that nobody asked for: the upstream is broken (fault 44).
  public internal(set) var isUnaskedSwitch = false
  /// Bytes of the head including its empty line.
  public internal(set) var headLength = 0

  package init() {}

  package var isHTTP10: Bool { lengths.isHTTP10 }
  /// The length that the head states, also where no body follows (HEAD, 304).
  package var statedLength: Int? { lengths.stated }

  /// Field by field: a new value would allocate a new table.
  mutating func reset() {
    status = 0
    reason = .empty
    fields.removeAll()
    framing = .none
    lengths = ResponseLengths()
    keepAlive = true
    isInterim = false
    isUnaskedSwitch = false
    headLength = 0
  }
}

/// What an answer's head says about its length, and whether its version knows `chunked`.
struct ResponseLengths: Sendable {
  var isHTTP10 = false
  var stated: Int?
}
