import HTTPMessage
import HTTPServer
import IntercomCore
import StrictJSON
import Synchronization

/// Writes down every secret that passes between Intercom, its provider and its backends while a test runs: the provider that the test
/// plays, and the transport of its logout tokens, tell it.
package final class SecretLedger: Sendable {
  private let entries = Mutex<[String: [UInt8]]>([:])

  package init() {}

  /// A secret under a name; the same name again is another secret.
  package func note(_ name: String, _ value: some Sequence<UInt8>) {
    let bytes = Array(value)
    guard bytes.count >= CanarySearch.shortest else { return }
    entries.withLock { entries in
      guard !entries.values.contains(bytes) else { return }
      entries["\(name) \(entries.count)"] = bytes
    }
  }

  package func note(_ name: String, _ value: String) { note(name, value.utf8) }

  /// Names, their numbers left out, of everything noted.
  package var kinds: Set<String> { entries.withLock { Set($0.keys.map { $0.split(separator: " ").dropLast().joined(separator: " ") }) } }

  /// Looks for everything noted so far but the kinds that are left out.
  package func search(leavingOut kinds: Set<String> = []) throws -> CanarySearch {
    var search = CanarySearch()
    for (name, value) in entries.withLock({ $0 }) {
      guard !kinds.contains(name.split(separator: " ").dropLast().joined(separator: " ")) else { continue }
      try search.add(name, value)
    }
    return search
  }

  /// The values of these kinds as text.
  package func values(_ kinds: Set<String>) -> [String] {
    entries.withLock { entries in
      entries.filter { kinds.contains($0.key.split(separator: " ").dropLast().joined(separator: " ")) }
        .map { String(decoding: $0.value, as: UTF8.self) }
    }
  }

  /// The provider's endpoint with its answers written down: tokens, codes, state and nonce.
  package func listening(to endpoint: @escaping Endpoint) -> Endpoint {
    { [self] request, body in
      let response = try await endpoint(request, body)
      if case .bytes(let bytes) = response.body, let answer = try? StrictJSON.object(bytes) {
        for name in ["access_token", "refresh_token", "id_token"] {
          if let token = answer[Identifier(name)]?.string { note(answer["issued_token_type"] == nil ? name : "exchanged_token", token) }
        }
      }
      if let location = response.fields.single("location") { noteQuery(location, ["code", "state"]) }
      if let query = request.query { noteQuery("?" + String(decoding: query, as: UTF8.self), ["state", "nonce"]) }
      return response
    }
  }

  /// What a request to the token endpoint held.
  package func hear(_ request: SeenRequest) {
    guard request.method == .post, let fields = try? FormFields(parsing: request.body) else { return }
    for name in ["code", "code_verifier", "refresh_token", "subject_token", "token", "logout_token"] {
      if case .once(let value) = fields.occurrence(name) { note(name, value) }
    }
  }

  private func noteQuery(_ url: String, _ names: [String]) {
    guard let mark = url.firstIndex(of: "?"), let fields = try? FormFields(parsing: Array(url[mark...].utf8.dropFirst())) else { return }
    for name in names { if case .once(let value) = fields.occurrence(name) { note(name, value) } }
  }
}

/// Carries calls on and writes down the logout tokens in them.
package struct ListeningTransport: HTTPTransport {
  private let ledger: SecretLedger
  private let carrier: any HTTPTransport

  package init(_ carrier: any HTTPTransport, _ ledger: SecretLedger) {
    self.carrier = carrier
    self.ledger = ledger
  }

  package func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse {
    if let fields = try? FormFields(parsing: request.body), case .once(let token) = fields.occurrence("logout_token") {
      ledger.note("logout_token", token)
    }
    return try await carrier.send(request, deadline: deadline)
  }
}
