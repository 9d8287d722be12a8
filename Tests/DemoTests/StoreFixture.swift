import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import Testing

/// A file store on a folder of its own, with alice and bob; the user is taken from the field `X-User`.
struct StoreFixture {
  let folder: DemoFolder
  let store: FileStore

  init() throws {
    folder = try DemoFolder.make()
    try folder.seed("alice")
    try folder.seed("bob")
    store = FileStore(users: try folder.users(), workers: nil) { request in
      guard let user = request.fields.single("x-user") else {
        return .refused(challenge: "Bearer", Problem(401, "token_required", "A token is required."))
      }
      return .user(user)
    }
  }

  static func run(_ body: (StoreFixture) async throws -> Void) async throws {
    let fixture = try StoreFixture()
    defer { fixture.folder.remove() }
    try await body(fixture)
  }

  func send(
    _ method: HTTPMessage.Method, _ path: String, _ fields: [(String, String)] = [], body: String = "", user: String? = "alice"
  ) async throws -> Answer {
    try await send(method, path, fields, stream: RequestBody(bytes: Array(body.utf8)), user: user)
  }

  /// Sends and expects this status.
  func expect(
    _ status: Int, _ method: HTTPMessage.Method, _ path: String, _ fields: [(String, String)] = [], body: String = "",
    user: String? = "alice", at location: SourceLocation = #_sourceLocation
  ) async throws {
    let answer = try await send(method, path, fields, body: body, user: user)
    #expect(answer.status == status, "\(method.name) \(path) \(fields)", sourceLocation: location)
  }

  func send(
    _ method: HTTPMessage.Method, _ path: String, _ fields: [(String, String)] = [], stream: RequestBody, user: String? = "alice"
  ) async throws -> Answer {
    var request = Request(method: method, rawPath: Array(path.utf8), host: "files.test", authority: "files.test:8008")
    if let user { request.fields.append("X-User", user) }
    for (name, value) in fields { request.fields.append(name, value) }
    return try await Answer(store.endpoint(request, stream))
  }
}

/// A response with its body collected.
struct Answer {
  var status: Int
  var fields: Fields
  var body: [UInt8]

  var text: String { String(decoding: body, as: UTF8.self) }
  func field(_ name: FieldName) -> String? { fields.single(name) }

  init(_ response: Response) async throws {
    status = response.status.code
    fields = response.fields
    switch response.body {
    case .bytes(let bytes): body = bytes
    case .stream(let length, let produce):
      let collector = Collector()
      try await produce(collector)
      body = await collector.bytes
      if let length { #expect(length == body.count) }
    }
  }
}

private actor Collector: ResponseWriter {
  private(set) var bytes: [UInt8] = []
  func write(_ piece: [UInt8]) async throws(BodyError) { bytes += piece }
}
