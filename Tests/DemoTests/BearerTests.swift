import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

private let now: Int64 = 1_800_000_000
private let issuer = "http://id.intercom.localhost:8008"

@Suite struct BearerTests {
  let key: SigningKey
  let keys: JSONWebKeySet
  let bearer: BearerAuthentication

  init() throws {
    key = try SigningKey.generate(.es256, keyID: "k1")
    let keys = try JSONWebKeySet.parse(CompactKeys.document(key))
    self.keys = keys
    bearer = BearerAuthentication(issuer: Identifier(issuer), audience: "files", time: FixedTime(seconds: now)) { keys }
  }

  static func claims(_ changes: JSONObject = [:]) -> JSONObject {
    let base: JSONObject = [
      "iss": .string(issuer), "aud": "files", "exp": .int64(now + 60), "preferred_username": "alice", "sub": "u-1",
    ]
    let kept = base.members.filter { changes[$0.key] == nil }
    return JSONObject(kept + changes.members.filter { !$0.value.isNull }) ?? [:]
  }

  func refusal(_ token: String) -> BearerAuthentication.Refusal? {
    do throws(BearerAuthentication.Refusal) {
      _ = try bearer.verify(Array(token.utf8), keys)
      return nil
    } catch { return error }
  }

  @Test(
    "a token is taken for its audience, alone or among others, whichever of the usual types it has",
    arguments: [
      (["aud": "files"], "JWT"), (["aud": ["x", "files"]], "at+jwt"), (["nbf": .int64(now)], "application/at+JWT"),
      (["exp": .int64(now - 4)], "JWT"),
    ] as [(JSONObject, String)])
  func good(changes: JSONObject, type: String) throws {
    let token = try key.sign(Self.claims(changes), type: type)
    #expect(try bearer.verify(Array(token.utf8), keys) == "alice")
  }

  @Test(
    "a token that is for somebody else, over, or not yet good is refused with the reason",
    arguments: [
      (["iss": "http://id.intercom.localhost:8008/"], .issuer), (["iss": .null], .issuer), (["iss": .int64(1)], .issuer),
      (["exp": .int64(now - 5)], .expired), (["exp": .null], .expired), (["exp": "9999999999"], .expired),
      (["nbf": .int64(now + 6)], .notYetValid), (["nbf": "soon"], .notYetValid), (["aud": "intercom"], .audience),
      (["aud": .null], .audience),
      (["aud": []], .audience), (["aud": ["file", "filess", "FILES"]], .audience), (["aud": [["files"]]], .audience),
      (["preferred_username": .null], .user), (["preferred_username": "../bob"], .user), (["preferred_username": "alicé"], .user),
      (["preferred_username": ""], .user), (["preferred_username": ["alice"]], .user),
    ] as [(JSONObject, BearerAuthentication.Refusal)])
  func bad(changes: JSONObject, reason: BearerAuthentication.Refusal) throws {
    #expect(refusal(try key.sign(Self.claims(changes))) == reason)
  }

  @Test("a logout token of the same provider is no access token")
  func logoutToken() throws { #expect(refusal(try key.sign(Self.claims(), type: "logout+jwt")) == .type) }

  @Test("a token signed by another key with the same name, altered, or unsigned is refused")
  func signatures() throws {
    let other = try SigningKey.generate(.es256, keyID: "k1")
    #expect(refusal(try other.sign(Self.claims())) == .signature)
    let token = try key.sign(Self.claims())
    let parts = token.split(separator: ".").map(String.init)
    let bob = try key.sign(Self.claims(["preferred_username": "bob"])).split(separator: ".").map(String.init)
    #expect(refusal([parts[0], bob[1], parts[2]].joined(separator: ".")) == .signature)
    let unsigned = Array(#"{"alg":"none"}"#.utf8)
    #expect(refusal(CompactJWS.join(CompactJWS.signingInput(header: ["alg": "none"], payload: unsigned), signature: [])) == .signature)
    #expect(refusal("") == .notAToken)
    #expect(refusal("a.b") == .notAToken)
    #expect(refusal(String(repeating: "a", count: 20_000)) == .notAToken)
  }

  @Test("the store challenges without a token, names the reason for a bad one, and never repeats it")
  func challenges() async throws {
    let folder = try DemoFolder.make()
    defer { folder.remove() }
    try folder.seed("alice")
    let store = FileStore(users: try folder.users(), workers: nil) { [bearer] in await bearer.authenticate($0) }
    func send(_ values: [String]) async throws -> Answer {
      var request = Request(method: .get, rawPath: Array("/Notes.txt".utf8))
      for value in values { request.fields.append("Authorization", value) }
      return try await Answer(store.endpoint(request, RequestBody(bytes: [])))
    }
    let good = try key.sign(Self.claims())
    let fine = try await send(["bEARER  \(good)"])
    #expect(fine.status == 200 && fine.text.contains("Notes of Alice"))
    let none = try await send([])
    #expect(none.status == 401 && none.field("www-authenticate") == #"Bearer realm="files""#)
    let foreign = try key.sign(Self.claims(["aud": "mail"]))
    for (values, reason) in [
      (["Bearer \(foreign)"], "audience"), (["Basic YWxpY2U6YWxpY2U="], "notAToken"), (["Bearer \(good)", "Bearer \(good)"], "notAToken"),
      (["Bearer \(good) x"], "notAToken"), (["Bearer"], "notAToken"), (["Bearer "], "notAToken"),
    ] {
      let answer = try await send(values)
      #expect(answer.status == 401)
      #expect(
        answer.field("www-authenticate") == #"Bearer realm="files", error="invalid_token", error_description="\#(reason)""#)
      #expect(!answer.text.contains(foreign) && !answer.text.contains(good))
    }
  }

  @Test("provider down: when the keys cannot be had the store says 503 and lets nobody in")
  func keysUnavailable() async throws {
    struct Down: Error {}
    let folder = try DemoFolder.make()
    defer { folder.remove() }
    try folder.seed("alice")
    let down = BearerAuthentication(issuer: "x", audience: "files", time: FixedTime(seconds: now)) { throw Down() }
    let store = FileStore(users: try folder.users(), workers: nil) { await down.authenticate($0) }
    let token = try key.sign(Self.claims())
    let request = Request(method: .get, rawPath: Array("/Notes.txt".utf8), fields: Fields(["Authorization": "Bearer \(token)"]))
    #expect(try await Answer(store.endpoint(request, RequestBody(bytes: []))).status == 503)
  }
}

private struct FixedTime: TimeSource {
  let seconds: Int64
  func monotonicNow() -> MonotonicInstant { MonotonicInstant(nanoseconds: 0) }
  func wallNow() -> WallInstant { WallInstant(seconds: seconds) }
  func sleep(for duration: Duration) async throws {}
}

private enum CompactKeys {
  static func document(_ key: SigningKey) -> [UInt8] {
    let set: JSONObject = ["keys": .array([.object(key.publicJWK)])]
    return set.serialized
  }
}
