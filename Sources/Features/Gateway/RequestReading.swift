import HTTPMessage
import HTTPServer
import IntercomCore

extension Request {
  /// All cookies of exactly this name, in order.
  func cookies(_ name: [UInt8]) -> [[UInt8]] {
    CookieHeader(fields).values(String(decoding: name, as: UTF8.self)).map { $0.reveal() }
  }

  /// The decoded value of a query parameter that stands there once; empty for everything else.
  func queryValue(_ name: String) -> [UInt8] {
    guard let query, let fields = try? FormFields(parsing: query), let value = fields.single(name) else { return [] }
    return Array(value.utf8)
  }
}
