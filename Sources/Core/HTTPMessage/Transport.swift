import IntercomCore

/// A call of Intercom itself: to the provider, a registry, a policy engine. Never a user's request (that is `ReverseProxy`).
package struct OutboundRequest: Sendable, PrintsNothing {
  package var method: Method
  /// http or https; anything else is `badURL`. `localhost` and `*.localhost` are resolved to loopback (RFC 6761 §6.3).
  package var url: String
  package var fields: Fields
  package var body: [UInt8]
  /// An answer whose body is longer (after no decoding: encodings are not asked for) is `tooLarge`.
  package var maximumResponseBytes: Int
  /// May the transport send it again by itself when a kept connection closes before any byte of an answer (RFC 9110 §9.2.2)? By default what
  /// changes nothing: GET, HEAD and OPTIONS. What is not repeatable goes out on a new connection.
  package var isRepeatable: Bool

  package init(_ method: Method, _ url: String, fields: Fields = Fields(), body: [UInt8] = [], maximumResponseBytes: Int = 1 << 20) {
    self.method = method
    self.url = url
    self.fields = fields
    self.body = body
    self.maximumResponseBytes = maximumResponseBytes
    isRepeatable = method == .get || method == .head || method == .options
  }
}

/// The whole answer to an `OutboundRequest`. Redirects are answers like any other: they are never followed.
package struct OutboundResponse: Sendable, PrintsNothing {
  package var status: Status
  package var fields: Fields
  package var body: [UInt8]

  package init(status: Status, fields: Fields = Fields(), body: [UInt8] = []) {
    self.status = status
    self.fields = fields
    self.body = body
  }
}

/// Why a call out gave no answer.
package enum TransportError: Error, Sendable, Equatable {
  /// The URL is not one that may be called.
  case badURL
  /// A method, field name or field value may not be sent (RFC 9110 §5.5); nothing was sent.
  case badField
  /// Name resolution or connection failed; nothing was sent.
  case unreachable(String)
  /// The certificate or the handshake is wrong.
  case tls(String)
  /// The deadline passed.
  case timedOut
  /// The answer is larger than the request allows.
  case tooLarge
  /// The connection broke or the answer is not HTTP.
  case broken(String)
  case cancelled
}

/// How Intercom calls out. `CurlTransport` is the real one; tests give their own.
package protocol HTTPTransport: Sendable {
  func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse
}
