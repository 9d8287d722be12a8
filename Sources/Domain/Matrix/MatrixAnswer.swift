import HTTPMessage
import IntercomCore
import StrictJSON

/// A homeserver's refusal ([Client-Server API, Standard error response](https://spec.matrix.org/v1.11/client-server-api/#standard-error-response)).
struct MatrixRefusal: Sendable {
  let status: Int
  /// Empty when it gave none.
  let code: Identifier

  /// As it may stand in a log: only what specifications write.
  var description: String {
    let isPlain = code.bytes.count <= 48 && code.bytes.allSatisfy { $0 &- 65 < 26 || $0 == UInt8(ascii: "_") }
    return "\(status) \(code.isEmpty ? "without an error code" : isPlain ? code.description : "with an error code of its own")"
  }
}

/// Reads what a homeserver answers.
enum MatrixAnswer {
  case object(JSONObject)
  case refused(MatrixRefusal)

  /// A token answer has some hundred bytes.
  static let maximumBytes = 65_536
  private static let maximumTokenBytes = 8_192
  /// A year: what lives longer is read as a year.
  private static let longestLife: Int64 = 31_536_000

  /// Throws `unavailable` for 5xx, 408 and 429, and `answerInvalid` for a success that is not sound JSON and for redirects.
  init(_ response: OutboundResponse, _ what: String) throws(MatrixError) {
    let status = response.status.code
    switch status {
    case 200:
      guard Self.isJSON(response.fields) else { throw MatrixError(.answerInvalid, "\(what): the answer is not application/json") }
      do { self = .object(try StrictJSON.object(response.body, limit: StrictJSON.Limit(bytes: Self.maximumBytes))) } catch {
        throw MatrixError(.answerInvalid, "\(what): the answer is not sound JSON: \(error)")
      }
    case 408, 429, 500...599:
      throw MatrixError(.unavailable, "\(what): the homeserver answered \(status)", retryAfter: Self.retryAfter(response))
    case 400..<500:
      let object = Self.errorObject(response)
      self = .refused(MatrixRefusal(status: status, code: object?["errcode"]?.identifier ?? ""))
    default: throw MatrixError(.answerInvalid, "\(what): the homeserver answered \(status)")
    }
  }

  private static func isJSON(_ fields: Fields) -> Bool { fields.mediaType == "application/json" }

  private static func errorObject(_ response: OutboundResponse) -> JSONObject? {
    isJSON(response.fields) ? try? StrictJSON.object(response.body, limit: StrictJSON.Limit(bytes: maximumBytes)) : nil
  }

  /// `Retry-After` in seconds, or `retry_after_ms` of older homeservers.
  private static func retryAfter(_ response: OutboundResponse) -> Duration? {
    if let seconds = response.fields.single("retry-after").flatMap({ Int64($0) }), seconds >= 0 {
      return .seconds(min(seconds, longestLife))
    }
    guard let milliseconds = errorObject(response)?["retry_after_ms"]?.int64, milliseconds >= 0 else { return nil }
    return .milliseconds(min(milliseconds, longestLife * 1_000))
  }

  /// A token: visible ASCII, since it goes into a header field.
  static func token(_ name: Identifier, _ object: JSONObject, _ what: String) throws(MatrixError) -> Secret<String>? {
    guard let value = object[name], !value.isNull else { return nil }
    guard let text = value.string, !text.isEmpty, text.utf8.count <= maximumTokenBytes, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else { throw MatrixError(.answerInvalid, "\(what): \(name) is not a token") }
    return Secret(text)
  }

  /// A life in whole seconds, at least one; nil when the answer names none.
  static func life(_ name: Identifier, perSecond unit: Int64, _ object: JSONObject, _ what: String) throws(MatrixError) -> Duration? {
    guard let value = object[name], !value.isNull else { return nil }
    guard let number = value.int64, number > 0 else { throw MatrixError(.answerInvalid, "\(what): \(name) is not a time") }
    return .seconds(min(max(1, number / unit), longestLife))
  }
}
