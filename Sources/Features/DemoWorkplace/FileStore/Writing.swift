import HTTPMessage
import HTTPServer
import IntercomCore

extension FileStore {
  /// PUT: the body grows out of sight and takes the file's place when it is complete
  /// ([RFC 9110 §9.3.4](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.4)).
  func put(_ visit: Visit, _ body: RequestBody) async throws -> Response {
    guard !visit.has("content-range") else {
      return Response(Problem(400, "partial_put", "A file can only be written as a whole."))
    }
    let folder = visit.folder
    let path = visit.path
    let condition = visit.precondition
    let upload = try await blocking { () throws(FileStoreError) in
      try folder.checkUpload(to: path, if: condition)
      return try folder.beginUpload()
    }
    do {
      var total = 0
      while let piece = try await body.next(max: Self.pieceSize) {
        total += piece.count
        guard total <= Self.maximumUpload else { throw BodyError.tooLarge }
        try await blocking { () throws(FileStoreError) in try upload.write(piece) }
      }
      let (created, entry) = try await blocking { () throws(FileStoreError) in
        try folder.commit(upload, to: path, if: condition)
      }
      return Response(created ? 201 : 204, ["ETag": entry.entityTag], [])
    } catch {
      try await blocking { () throws(FileStoreError) in folder.abandon(upload) }
      throw error
    }
  }

  /// MKCOL ([RFC 4918 §9.3](https://www.rfc-editor.org/rfc/rfc4918#section-9.3)).
  func makeCollection(_ visit: Visit, _ body: RequestBody) async throws -> Response {
    guard try await body.next(max: 1) == nil else {
      return Response(Problem(415, "body_not_supported", "A folder is made without a body."))
    }
    let folder = visit.folder
    let path = visit.path
    try await blocking { () throws(FileStoreError) in try folder.makeFolder(path) }
    return Response(201)
  }

  /// DELETE of a file, or of a folder with all below it ([RFC 4918 §9.6](https://www.rfc-editor.org/rfc/rfc4918#section-9.6)).
  func delete(_ visit: Visit) async throws -> Response {
    let folder = visit.folder
    let path = visit.path
    let condition = visit.precondition
    guard path.name != nil else { throw FileStoreError.forbidden }
    try await blocking { () throws(FileStoreError) in try folder.remove(path, if: condition) }
    return Response(204)
  }

  /// COPY and MOVE ([RFC 4918 §9.8](https://www.rfc-editor.org/rfc/rfc4918#section-9.8), §9.9).
  func relocate(_ visit: Visit) async throws -> Response {
    guard let raw = visit.field("destination") else {
      return Response(Problem(400, "destination_required", "Destination must be given once."))
    }
    guard let target = Destination.path(of: raw, authority: visit.request.authority) else {
      return Response(Problem(502, "foreign_destination", "Destination is not on this server."))
    }
    guard let destination = StorePath(raw: target) else {
      return Response(Problem(403, "bad_destination", "No file can have the path in Destination."))
    }
    let overwrite: Bool
    switch visit.field("overwrite").map({ Identifier($0) }) {
    case nil, "T": overwrite = true
    case "F": overwrite = false
    default: return Response(Problem(400, "bad_overwrite", "Overwrite is T or F."))
    }
    let depth = visit.field("depth").map { Identifier($0) }
    guard depth == nil || depth == "infinity" || (depth == "0" && visit.request.method == .copy) else {
      return Response(Problem(400, "bad_depth", "Depth is infinity, or 0 for COPY."))
    }
    let folder = visit.folder
    let source = visit.path
    let condition = visit.precondition
    let isCopy = visit.request.method == .copy
    let created = try await blocking { () throws(FileStoreError) in
      guard condition(try folder.entry(source)) else { throw .preconditionFailed }
      guard isCopy else { return try folder.move(source, to: destination, overwrite: overwrite) }
      return try folder.copy(source, to: destination, overwrite: overwrite, deep: depth != "0")
    }
    return Response(created ? 201 : 204)
  }
}

/// The `Destination` field ([RFC 4918 §10.3](https://www.rfc-editor.org/rfc/rfc4918#section-10.3)).
package enum Destination {
  /// The path's bytes when the value is an absolute path or an http(s) URL of the authority that the request was sent to; nil otherwise.
  package static func path(of value: String, authority: Identifier) -> [UInt8]? {
    let bytes = Array(value.utf8)
    guard !bytes.contains(UInt8(ascii: "?")), !bytes.contains(UInt8(ascii: "#")) else { return nil }
    if bytes.first == UInt8(ascii: "/") { return bytes.starts(with: "//".utf8) ? nil : bytes }
    for scheme in ["http://", "https://"] where bytes.starts(with: scheme.utf8) {
      let rest = bytes.dropFirst(scheme.utf8.count)
      let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
      let host = rest[..<slash].map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
      guard host == authority.bytes.map({ $0 &- 65 < 26 ? $0 | 0x20 : $0 }) else { return nil }
      return slash == rest.endIndex ? [UInt8(ascii: "/")] : Array(rest[slash...])
    }
    return nil
  }
}
