import HTTPMessage
import HTTPServer
import IntercomCore
import Linux
import Synchronization

/// A file store that speaks WebDAV class 1 ([RFC 4918](https://www.rfc-editor.org/rfc/rfc4918)): one folder on disk per user.
///
/// It trusts nobody in front of it: every request has to bring a bearer token that it verifies itself. All disk work runs on the executor
/// that it was given.
package struct FileStore: Sendable {
  /// Who may see which files: the user named by the token, or why there is none.
  package typealias Authenticate = @Sendable (Request) async -> Authentication

  package enum Authentication: Sendable {
    case user(String)
    /// Answered with 401 and this challenge ([RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3)).
    case refused(challenge: String, Problem)
    /// The keys cannot be fetched: 503, nothing is known about the token.
    case unavailable
  }

  /// A larger upload is 413.
  package static let maximumUpload = 1 << 30
  /// A larger XML body is 413.
  static let maximumXML = 65_536
  /// The unit of disk reads.
  static let pieceSize = 131_072

  static let methods: [Method] = [.options, .get, .head, .put, .delete, .propfind, .proppatch, .mkcol, .copy, .move]
  static let allowed = methods.map(\.name).joined(separator: ", ")

  let users: UserFolders
  private let authenticate: Authenticate
  private let workers: (any TaskExecutor)?

  /// `workers` nil (tests) leaves the work where the request runs.
  package init(users: UserFolders, workers: (any TaskExecutor)?, authenticate: @escaping Authenticate) {
    self.users = users
    self.workers = workers
    self.authenticate = authenticate
  }

  /// The store's endpoint, for every method and path of its host.
  package var endpoint: Endpoint {
    { request, body in
      var response = try await answer(request, body)
      // Users' files must never run as pages of whatever origin they are shown under.
      response.fields.set("X-Content-Type-Options", "nosniff")
      response.fields.set("Content-Security-Policy", "sandbox; default-src 'none'")
      response.fields.set("Vary", "Authorization")
      return response
    }
  }

  private func answer(_ request: Request, _ body: RequestBody) async throws -> Response {
    let user: String
    switch await withTaskExecutorPreference(workers, operation: { await authenticate(request) }) {
    case .user(let name): user = name
    case .refused(let challenge, let problem):
      var response = Response(problem)
      response.fields.append("WWW-Authenticate", challenge)
      return response
    case .unavailable:
      return Response(Problem(503, "keys_unavailable", "The file store cannot fetch the provider's keys. Try again in a moment."))
    }
    guard let folder = try await blocking({ () throws(FileStoreError) in users.folder(of: user) }) else {
      return Response(Problem(403, "no_files", "This user has no files here."))
    }
    if request.method == .options { return options() }
    guard Self.methods.contains(request.method) else { return notAllowed() }
    guard let path = StorePath(raw: request.rawPath) else {
      return Response(Problem(400, "bad_path", "No file can have this path."))
    }
    let visit = Visit(request: request, path: path, folder: folder, user: user)
    do { return try await dispatch(visit, body) } catch let error as FileStoreError {
      return Self.response(to: error)
    } catch is XMLError {
      return Response(Problem(400, "bad_xml", "The body is not the XML that this method takes."))
    } catch BodyError.tooLarge {
      return Response(Problem(413, "too_large", "The body is larger than this store takes."))
    }
  }

  private func dispatch(_ visit: Visit, _ body: RequestBody) async throws -> Response {
    switch visit.request.method {
    case .get, .head: try await read(visit)
    case .propfind: try await propfind(visit, body)
    case .proppatch: try await proppatch(visit, body)
    case .put: try await put(visit, body)
    case .mkcol: try await makeCollection(visit, body)
    case .delete: try await delete(visit)
    case .copy, .move: try await relocate(visit)
    default: notAllowed()
    }
  }

  private func options() -> Response { Response(200, ["DAV": "1", "Allow": Self.allowed, "Accept-Ranges": "bytes"], []) }

  func notAllowed(_ detail: String = "The file store does not have this method here.") -> Response {
    var response = Response(Problem(405, "method_not_allowed", detail))
    response.fields.append("Allow", Self.allowed)
    return response
  }

  /// Runs blocking work off the loop.
  func blocking<R: Sendable>(_ work: @escaping @Sendable () throws(FileStoreError) -> R) async throws -> R {
    try await withTaskExecutorPreference(workers) { try work() }
  }

  private static func response(to error: FileStoreError) -> Response {
    switch error {
    case .notFound: Response(Problem(404, "not_found", "There is no such file or folder."))
    case .parentMissing: Response(Problem(409, "no_parent", "The folder that would hold it does not exist."))
    case .exists, .wrongKind:
      Response(
        405, ["Allow": allowed, "Content-Type": Problem.contentType, "Cache-Control": "no-store"],
        Problem(405, "wrong_kind", "There is a file or folder here for which this is not possible.").json)
    case .preconditionFailed: Response(Problem(412, "precondition_failed", "It is not, or no longer, as the request expects."))
    case .forbidden: Response(Problem(403, "forbidden", "This is never possible here."))
    case .full: Response(Problem(507, "disk_full", "The disk is full."))
    case .tooMany: Response(Problem(507, "too_many", "There are more files than one request can handle."))
    case .failed: Response(Problem(500, "disk_error", "The disk did not do it."))
    }
  }
}

/// One authenticated request to one user's folder.
struct Visit: Sendable {
  var request: Request
  var path: StorePath
  var folder: UserFolder
  var user: String

  func field(_ name: FieldName) -> String? { request.fields.single(name) }
  func has(_ name: FieldName) -> Bool { !request.fields.values(name).isEmpty }

  /// `If-Match` and `If-None-Match` ([RFC 9110 §13.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1)) as a test of what is there.
  var precondition: @Sendable (StoreEntry?) -> Bool {
    let match = EntityTagList(request.fields.values("if-match"))
    let noneMatch = EntityTagList(request.fields.values("if-none-match"))
    return { entry in
      if let match, !match.matches(entry) { return false }
      if let noneMatch, noneMatch.matches(entry) { return false }
      return true
    }
  }
}

/// The value of `If-Match` or `If-None-Match`.
struct EntityTagList: Sendable {
  private let tags: [[UInt8]]
  private let isAny: Bool

  /// Nil when the field is absent.
  init?(_ values: [[UInt8]]) {
    guard !values.isEmpty else { return nil }
    let items = values.flatMap { $0.split(separator: UInt8(ascii: ",")) }.map { item in
      Array(item.drop(while: { $0 == 0x20 || $0 == 0x09 }).reversed().drop(while: { $0 == 0x20 || $0 == 0x09 }).reversed())
    }
    isAny = items == [[UInt8(ascii: "*")]]
    // A weak tag never equals one of this store's, which are all strong, under If-Match; for reading that costs one transfer at most.
    tags = items
  }

  func matches(_ entry: StoreEntry?) -> Bool {
    guard let entry else { return false }
    return contains(entry.entityTag)
  }

  /// The list names this tag, or any.
  func contains(_ tag: String) -> Bool { isAny || tags.contains(Array(tag.utf8)) }
}

/// Each user's folder, opened at first use.
package final class UserFolders: Sendable {
  private let users: OpenFile
  private let scratch: OpenFile
  private let opened = Mutex<[Identifier: UserFolder]>([:])

  /// `users` holds one folder per user; `scratch` lies on the same disk.
  package init(users: OpenFile, scratch: OpenFile) {
    self.users = users
    self.scratch = scratch
  }

  /// Nil when the name is not one that a folder may have, or there is no such folder. Blocks.
  package func folder(of user: String) -> UserFolder? {
    guard Self.isUserName(user) else { return nil }
    return opened.withLock { known in
      if let folder = known[Identifier(user)] { return folder }
      guard let root = try? users.folder(Array(user.utf8)) else { return nil }
      let folder = UserFolder(root: root, scratch: scratch, label: user)
      known[Identifier(user)] = folder
      return folder
    }
  }

  /// 1 to 64 of `a-z 0-9 . _ -`, the first a letter or digit: such a name cannot be read as anything but one folder's.
  package static func isUserName(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard let first = bytes.first, bytes.count <= 64 else { return false }
    func isAlphanumeric(_ byte: UInt8) -> Bool {
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    return isAlphanumeric(first) && bytes.allSatisfy { isAlphanumeric($0) || ".-_".utf8.contains($0) }
  }
}
