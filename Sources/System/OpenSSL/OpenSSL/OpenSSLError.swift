import COpenSSL

/// A call of OpenSSL failed. `reason` is the library's own text, which names functions and conditions and never key material or data.
package struct OpenSSLError: Error, Sendable, CustomStringConvertible {
  /// What was tried.
  package let operation: String
  /// The oldest entry of this thread's error queue, or "" when there is none.
  package let reason: String

  /// Takes the oldest error of the queue and empties it: what stays in the queue is reported by the next failing call of somebody else.
  init(_ operation: String) {
    let code = ERR_get_error()
    ERR_clear_error()
    self.operation = operation
    guard code != 0 else {
      reason = ""
      return
    }
    var text = [CChar](repeating: 0, count: 256)
    ERR_error_string_n(code, &text, text.count)
    reason = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// What the oldest error of the queue says in words alone, for those who know what was tried; "" when there is none. Empties the queue.
  static func takeReason() -> String {
    let code = ERR_get_error()
    ERR_clear_error()
    if intercom_error_is_no_tls(code) == 1 { return "the other side does not speak TLS" }
    return ERR_reason_error_string(code).map { String(cString: $0) } ?? ""
  }

  package var description: String { reason.isEmpty ? operation : "\(operation): \(reason)" }
}
