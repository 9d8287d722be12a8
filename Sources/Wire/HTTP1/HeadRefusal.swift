import HTTPMessage
import IntercomCore

/// How large a head may be. Beyond: 414 or 431 for a request, 502 for an upstream's answer, and the connection closes.
package struct HeadLimits: Sendable, Hashable {
  /// Bytes of the request target.
  package var target: Int
  /// Bytes of one field line without its CRLF.
  package var field: Int
  /// Bytes of the whole head, its empty line included.
  package var head: Int
  /// Field lines.
  package var fieldCount: Int

  package init(target: Int = 8 << 10, field: Int = 16 << 10, head: Int = 32 << 10, fieldCount: Int = 128) {
    self.target = max(1, target)
    self.field = max(1, field)
    self.head = min(max(1, head), 1 << 30)
    self.fieldCount = max(1, fieldCount)
  }

  package static let request = HeadLimits()
  package static let response = HeadLimits(field: 64 << 10, head: 64 << 10)
}

/// Why a head is refused. After any of these the bytes that follow have no known meaning: answer, then close the connection.
package enum HeadRefusal: UInt8, Error, Sendable, Hashable, CaseIterable {
  // The first line
  case badRequestLine, badMethod, badVersion, unsupportedVersion, badStatusLine
  case targetTooLong, badTarget, badAbsoluteTarget, fragment, badEscape, nulInPath, backslash, dotSegment
  // A field line
  case fieldTooLarge, tooManyFields, headTooLarge
  case emptyFieldName, badFieldName, spaceBeforeColon, obsFold, badLineEnding, badFieldValue
  // What the fields say
  case missingHost, duplicateHost, badHost, hostMismatch
  case badContentLength, duplicateContentLength, contentTooLarge
  case lengthWithTransferEncoding, unknownTransferCoding, chunkedNotFinal, duplicateTransferEncoding
  case transferEncodingInHTTP10, missingLengthInHTTP10
  case badConnection, unknownExpectation, duplicateField, tooManyCookieFields

  /// What a client that sent such a head is told; an upstream that did is a 502.
  package var status: Status {
    switch self {
    case .targetTooLong: 414
    case .fieldTooLarge, .tooManyFields, .headTooLarge, .tooManyCookieFields: 431
    case .contentTooLarge: 413
    case .unknownExpectation: 417
    // The only bad method that gets here is longer than any that is known (RFC 9112 §3).
    case .unknownTransferCoding, .badMethod: 501
    case .unsupportedVersion: 505
    default: 400
    }
  }

  /// A short stable word for logs, metrics and `Problem.code`.
  package var code: String {
    switch self {
    case .badRequestLine: "bad_request_line"
    case .badMethod: "bad_method"
    case .badVersion: "bad_version"
    case .unsupportedVersion: "unsupported_version"
    case .badStatusLine: "bad_status_line"
    case .targetTooLong: "target_too_long"
    case .badTarget: "bad_target"
    case .badAbsoluteTarget: "bad_absolute_target"
    case .fragment: "fragment_in_target"
    case .badEscape: "bad_escape"
    case .nulInPath: "nul_in_path"
    case .backslash: "backslash_in_path"
    case .dotSegment: "dot_segment"
    case .fieldTooLarge: "field_too_large"
    case .tooManyFields: "too_many_fields"
    case .headTooLarge: "head_too_large"
    case .emptyFieldName: "empty_field_name"
    case .badFieldName: "bad_field_name"
    case .spaceBeforeColon: "space_before_colon"
    case .obsFold: "obs_fold"
    case .badLineEnding: "bad_line_ending"
    case .badFieldValue: "bad_field_value"
    case .missingHost: "missing_host"
    case .duplicateHost: "duplicate_host"
    case .badHost: "bad_host"
    case .hostMismatch: "host_mismatch"
    case .badContentLength: "bad_content_length"
    case .duplicateContentLength: "duplicate_content_length"
    case .contentTooLarge: "content_too_large"
    case .lengthWithTransferEncoding: "length_with_transfer_encoding"
    case .unknownTransferCoding: "unknown_transfer_coding"
    case .chunkedNotFinal: "chunked_not_final"
    case .duplicateTransferEncoding: "duplicate_transfer_encoding"
    case .transferEncodingInHTTP10: "transfer_encoding_in_http10"
    case .missingLengthInHTTP10: "missing_length_in_http10"
    case .badConnection: "bad_connection"
    case .unknownExpectation: "unknown_expectation"
    case .duplicateField: "duplicate_field"
    case .tooManyCookieFields: "too_many_cookie_fields"
    }
  }

  /// The answer to a client.
  package var problem: Problem {
    Problem(status, code, "The request's head is not acceptable (\(code.replacing("_", with: " "))). Correct it and send it again.")
  }

  /// The reason when a field of `singular` comes twice.
  static func duplicate(_ id: FieldID) -> HeadRefusal {
    switch id {
    case .host: .duplicateHost
    case .contentLength: .duplicateContentLength
    case .transferEncoding: .duplicateTransferEncoding
    default: .duplicateField
    }
  }
}

/// What a parser says to the bytes it was given.
package enum HeadResult: Sendable, Hashable {
  /// More bytes are needed; call again with the same bytes and more behind them.
  case incomplete
  case complete
  case refused(HeadRefusal)
}
