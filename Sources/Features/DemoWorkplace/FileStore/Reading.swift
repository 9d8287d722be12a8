import HTTPMessage
import HTTPServer
import IntercomCore
import Linux

extension FileStore {
  /// GET and HEAD of a file ([RFC 9110 §9.3.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.1)).
  func read(_ visit: Visit) async throws -> Response {
    let folder = visit.folder
    let path = visit.path
    guard path.name != nil else { return notAllowed("This is a folder: list it with PROPFIND.") }
    let (file, entry) = try await blocking { () throws(FileStoreError) in try folder.open(path) }
    var fields = Fields([
      "ETag": entry.entityTag, "Last-Modified": entry.lastModified, "Accept-Ranges": "bytes",
      "Cache-Control": "private, no-cache",
    ])
    if let match = EntityTagList(visit.request.fields.values("if-match")), !match.matches(entry) {
      throw FileStoreError.preconditionFailed
    }
    if isUnchanged(visit, entry) { return Response(304, fields) }
    fields.append("Content-Type", MediaType.of(path.name ?? []))
    fields.append(
      "Content-Disposition", "attachment; filename*=UTF-8''\(String(decoding: PercentCoding.encode(path.name ?? []), as: UTF8.self))")
    let size = entry.status.size
    switch requestedRange(visit, entry) {
    case .whole: return stream(file, 0..<size, 200, fields)
    case .part(let range):
      fields.append("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)")
      return stream(file, range, 206, fields)
    case .unsatisfiable:
      return Response(
        416, ["Content-Range": "bytes */\(size)", "Content-Type": Problem.contentType], Problem(416, "range", "Past the end.").json)
    }
  }

  /// `If-None-Match` decides where present, else `If-Modified-Since` when it repeats our own `Last-Modified`.
  private func isUnchanged(_ visit: Visit, _ entry: StoreEntry) -> Bool {
    if let list = EntityTagList(visit.request.fields.values("if-none-match")) { return list.matches(entry) }
    return visit.field("if-modified-since").map { Identifier($0) } == Identifier(entry.lastModified)
  }

  private func requestedRange(_ visit: Visit, _ entry: StoreEntry) -> RequestedRange {
    guard visit.request.method == .get, let value = visit.field("range") else { return .whole }
    // If-Range: a part of another version would be glued to the client's (RFC 9110 §13.1.5).
    if visit.has("if-range"), visit.field("if-range").map({ Identifier($0) }) != Identifier(entry.entityTag) { return .whole }
    return RequestedRange(value, size: entry.status.size)
  }

  private func stream(_ file: OpenFile, _ range: Range<Int>, _ status: Status, _ fields: Fields) -> Response {
    let body = Response.Body.stream(length: range.count) { writer in
      var offset = range.lowerBound
      while offset < range.upperBound {
        let from = offset
        let piece = try await blocking { () throws(FileStoreError) in
          try onDisk { () throws(FileError) in try file.read(at: from, count: min(Self.pieceSize, range.upperBound - from)) }
        }
        // The file was cut meanwhile: the promised length cannot be kept, and breaking off tells the client so.
        guard !piece.isEmpty else { throw FileStoreError.notFound }
        try await writer.write(piece)
        offset += piece.count
      }
    }
    return Response(status, fields, stream: body)
  }

  /// PROPFIND of depth 0 or 1 ([RFC 4918 §9.1](https://www.rfc-editor.org/rfc/rfc4918#section-9.1)).
  func propfind(_ visit: Visit, _ body: RequestBody) async throws -> Response {
    let query = try PropertyQuery.read(try await body.collect(upTo: Self.maximumXML))
    let depth = visit.field("depth").map { Identifier($0) }
    guard depth == "0" || depth == "1" else {
      return Response(
        403, ["Content-Type": MultiStatus.contentType],
        Array(#"<?xml version="1.0" encoding="utf-8"?><D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>"#.utf8))
    }
    let folder = visit.folder
    let path = visit.path
    let user = visit.user
    let body = try await blocking { () throws(FileStoreError) in
      let entry = try folder.entry(path)
      var answer = MultiStatus()
      answer.append(entry, query: query, owner: user)
      if depth == "1", entry.isFolder {
        for child in try folder.children(path) { answer.append(child, query: query, owner: user) }
      }
      return answer.finished()
    }
    return Response(207, ["Content-Type": MultiStatus.contentType, "Cache-Control": "no-store"], body)
  }

  /// PROPPATCH: every property is computed, so each one named is refused ([RFC 4918 §9.2](https://www.rfc-editor.org/rfc/rfc4918#section-9.2)).
  func proppatch(_ visit: Visit, _ body: RequestBody) async throws -> Response {
    let names = try PropertyQuery.readUpdate(try await body.collect(upTo: Self.maximumXML))
    let folder = visit.folder
    let path = visit.path
    let entry = try await blocking { () throws(FileStoreError) in try folder.entry(path) }
    var answer = MultiStatus()
    answer.appendRefusal(entry, of: names)
    return Response(207, ["Content-Type": MultiStatus.contentType, "Cache-Control": "no-store"], answer.finished())
  }
}

/// What a `Range` field asks for ([RFC 9110 §14](https://www.rfc-editor.org/rfc/rfc9110#section-14)). Several ranges at once, other units
/// and what cannot be read count as none: the whole file is always a correct answer.
package enum RequestedRange: Sendable, Equatable {
  case whole
  case part(Range<Int>)
  case unsatisfiable

  package init(_ value: String, size: Int) {
    self = .whole
    let bytes = Array(value.utf8)
    guard bytes.starts(with: "bytes=".utf8) else { return }
    let parts = bytes.dropFirst(6).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard parts.count == 2 else { return }
    switch (Self.number(parts[0]), Self.number(parts[1])) {
    case (.some(let first), .some(let last)):
      guard first <= last else { return }
      self = first < size ? .part(first..<min(last, size - 1) + 1) : .unsatisfiable
    case (.some(let first), nil):
      guard parts[1].isEmpty else { return }
      self = first < size ? .part(first..<size) : .unsatisfiable
    case (nil, .some(let count)):
      guard parts[0].isEmpty else { return }
      self = count > 0 && size > 0 ? .part(max(0, size - count)..<size) : .unsatisfiable
    case (nil, nil): return
    }
  }

  /// Digits only; more than fit into an Int are saturated, since every file is smaller.
  private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
    guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
    return Int(String(decoding: digits, as: UTF8.self)) ?? Int.max
  }
}
