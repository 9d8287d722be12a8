/// Why JSON was refused. Holds places and expectations, never content: tokens and claims pass through here.
package enum StrictJSONError: Error, Sendable, Equatable {
  /// More bytes than the limit.
  case tooLarge
  /// Bytes that are not UTF-8 (a byte-order mark and UTF-16 are among them), at this offset.
  case notUTF8(offset: Int)
  /// The text does not begin with what was asked for (`{` or `[`).
  case wrongTopLevel
  /// Two members of one object have the same key, compared as bytes after unescaping; the object ends at this offset.
  case duplicateKey(offset: Int)
  case tooDeep(offset: Int)
  /// Not JSON: a trailing comma, bytes after the end, a control character in a string, a lone surrogate …
  case malformed(offset: Int)
  /// A number that no double can hold.
  case numberOutOfRange(offset: Int)
  /// The JSON is sound but not of the type that was asked for, at this path of keys and indices.
  case mismatch(path: String, expected: String)
}

/// JSON that decides: tokens, key sets, metadata, token answers, logout tokens, stored records.
///
/// Other decoders take the first of two equal keys, or the last, accept UTF-16 or a trailing comma, and so two readers see two documents.
/// Here such text is refused before anything is read from it.
package enum StrictJSON {
  /// What a document must be.
  package enum TopLevel: Sendable {
    case object
    case array
    case any
  }

  /// How much a document may demand.
  package struct Limit: Sendable {
    /// Bytes of the whole text.
    package var bytes: Int
    /// Objects and arrays within each other, the outermost being 1. At most 256: deeper ones would endanger small stacks.
    package var depth: Int

    package init(bytes: Int, depth: Int = 32) {
      self.bytes = bytes
      self.depth = min(max(depth, 1), 256)
    }

    /// 64 KiB: metadata, token answers, claims.
    package static let standard = Limit(bytes: 65_536)
  }

  /// The value, when every byte of the text is in order. White space around it is legal
  /// ([RFC 8259 §2](https://www.rfc-editor.org/rfc/rfc8259#section-2)).
  package static func parse(
    _ bytes: [UInt8], limit: Limit = .standard, topLevel: TopLevel = .any
  ) throws(StrictJSONError) -> JSONValue {
    guard bytes.count <= limit.bytes else { throw .tooLarge }
    var parser = JSONParser(bytes, maximumDepth: limit.depth)
    return try parser.document(topLevel)
  }

  /// The object, when the text is one and every byte of it is in order.
  package static func object(_ bytes: [UInt8], limit: Limit = .standard) throws(StrictJSONError) -> JSONObject {
    guard case .object(let object) = try parse(bytes, limit: limit, topLevel: .object) else { throw .wrongTopLevel }
    return object
  }

  /// A `Decodable` type from text that passed the same screening. Keys are looked up by their bytes. `Data` and `Date` are decoded as the
  /// standard library's default does, without base64 or date formats.
  package static func decode<T: Decodable>(
    _ type: T.Type, from bytes: [UInt8], limit: Limit = .standard, topLevel: TopLevel = .object
  ) throws(StrictJSONError) -> T {
    try decode(type, from: try parse(bytes, limit: limit, topLevel: topLevel))
  }

  /// A `Decodable` type from a value that was parsed before.
  package static func decode<T: Decodable>(_ type: T.Type, from value: JSONValue) throws(StrictJSONError) -> T {
    do {
      return try JSONValueDecoder(value, path: []).decodeRoot(type)
    } catch let error as DecodingError {
      throw StrictJSONError(error)
    } catch {
      throw .mismatch(path: "", expected: "\(type)")
    }
  }
}

extension StrictJSONError {
  fileprivate init(_ error: DecodingError) {
    let (context, expected): (DecodingError.Context, String) =
      switch error {
      case .typeMismatch(let type, let context): (context, "\(type)")
      case .valueNotFound(let type, let context): (context, "\(type)")
      case .keyNotFound(let key, let context): (context, "member \(key.stringValue)")
      case .dataCorrupted(let context): (context, context.debugDescription)
      @unknown default: (DecodingError.Context(codingPath: [], debugDescription: ""), "another value")
      }
    let path = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? key.stringValue }
    self = .mismatch(path: path.joined(separator: "."), expected: expected)
  }
}
