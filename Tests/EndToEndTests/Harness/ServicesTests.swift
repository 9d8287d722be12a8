import IntercomTesting
import StrictJSON
import Testing

@Suite("Harness: the real servers", .serialized)
struct ServicesTests {
  private let client = RawHTTPClient(timeout: .seconds(20))

  /// A token of alice for the client `walk`, which `intercom` may exchange.
  private func subjectToken(_ services: Services) async throws -> String {
    let answer = try await client.post(
      services.issuer + "/protocol/openid-connect/token", form: ["grant_type": "password", "username": "alice", "password": "alice"],
      ["Authorization": "Basic d2Fsazp3YWxrLXNlY3JldA=="])
    return try #require(try StrictJSON.object(answer.body)["access_token"]?.string)
  }

  private func exchange(_ token: String, audience: String, _ services: Services) async throws -> HTTPAnswer {
    try await client.post(
      services.issuer + "/protocol/openid-connect/token",
      form: [
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token", "audience": audience,
      ], ["Authorization": "Basic aW50ZXJjb206aW50ZXJjb20tc2VjcmV0LW9mLXRoZS10ZXN0LXJlYWxtLW9ubHk="])
  }

  @Test("Keycloak names its issuer byte for byte as the tests know it", .needs(.keycloak))
  func discovery() async throws {
    let services = try Services.require(.keycloak)
    let answer = try await client.get(services.issuer + "/.well-known/openid-configuration")
    let metadata = try StrictJSON.object(answer.body)
    #expect(metadata["issuer"]?.identifier == .init(services.issuer))
    #expect(metadata["backchannel_logout_session_supported"]?.bool == true)
  }

  @Test(
    "the file store takes the exchanged token and refuses the user's own, a damaged one and none",
    .needs(.keycloak, .files))
  func exchangedTokenOnly() async throws {
    let services = try Services.require(.keycloak, .files)
    let own = try await subjectToken(services)
    let answer = try await exchange(own, audience: "files", services)
    #expect(answer.status == 200)
    let exchanged = try #require(try StrictJSON.object(answer.body)["access_token"]?.string)
    for (token, status) in [(exchanged, 207), (own, 401), (exchanged.dropLast(8) + "AAAAAAAA", 401), ("", 401)] {
      let listing = try await client.send("PROPFIND", services.filesURL, ["Authorization": "Bearer \(token)", "Depth": "1"])
      #expect(listing.status == status)
    }
    let file = try await client.get(services.filesURL + "agenda.txt", ["Authorization": "Bearer \(exchanged)", "Range": "bytes=0-5"])
    #expect(file.status == 206)
    #expect(file.text == "Agenda")
  }

  @Test("Keycloak exchanges for a registered audience only", .needs(.keycloak))
  func unknownAudience() async throws {
    let services = try Services.require(.keycloak)
    let answer = try await exchange(try await subjectToken(services), audience: "unheard-of", services)
    #expect(answer.status == 400)
  }
}
