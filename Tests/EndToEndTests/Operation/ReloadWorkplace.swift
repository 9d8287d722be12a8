import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL

/// `intercom serve` with sessions, a plain and a TLS listener, and backends that are reached plainly and by TLS; its file and its certificates
/// change while it runs.
struct ReloadWorkplace {
  let lasting: LastingIntercom
  let intercom: IntercomProcess
  let other: RecordingServer
  let secure: UInt16
  /// Two authorities, whose certificates the listener has in turn.
  let authorities: [TestAuthority]
  let tlsPort: Int
  private let folder: TestFolder

  /// What a configuration is made of.
  struct Variant {
    var hasExtraRoute = false
    /// Whether the route `plain` goes to the other backend.
    var isMoved = false
    var more = ""
  }

  static func run(_ story: (ReloadWorkplace) async throws -> Void) async throws {
    try await LastingIntercom.run { lasting in
      let folder = try TestFolder()
      let authorities = [try await TestAuthority(), try await TestAuthority()]
      let backend = try TLSContext(
        server: [try await authorities[0].identity("backend", names: "DNS:localhost")], protocols: [.http11])
      var table = EndpointTable()
      table.add(.get, "/tls/x") { request, _ in
        Response(200, Fields(), Array((request.fields.single("authorization") == nil ? "nobody" : "secure").utf8))
      }
      let other = try RecordingServer()
      try await other.start()
      try await TestServer.run(table, tls: backend) { server in
        let tlsPort = try FreePort.next()
        try await place(authorities[0], in: folder)
        let text = text(lasting, other, server.port, authorities[0], folder, Variant())
        let intercom = try await lasting.serve(text, listeners: ", {address: \"127.0.0.1:\(tlsPort)\", tls: true}")
        let place = ReloadWorkplace(
          lasting: lasting, intercom: intercom, other: other, secure: server.port, authorities: authorities, tlsPort: tlsPort,
          folder: folder)
        try await intercom.tell { try await story(place) }
        await intercom.child.terminate()
      }
      await other.stop()
    }
  }

  /// Puts a certificate of this authority where the configuration names it, as its renewal does.
  private static func place(_ authority: TestAuthority, in folder: TestFolder) async throws {
    let issued = try await authority.issue("main", names: "DNS:localhost", days: 90)
    for (from, to) in [(issued.chain, "main.pem"), (issued.key, "main.key")] {
      try Data(contentsOf: URL(filePath: from)).write(to: URL(filePath: folder.file(to)), options: .atomic)
    }
  }

  func place(_ authority: TestAuthority) async throws { try await Self.place(authority, in: folder) }

  func text(_ variant: Variant) -> String { Self.text(lasting, other, secure, authorities[0], folder, variant) }

  private static func text(
    _ lasting: LastingIntercom, _ other: RecordingServer, _ secure: UInt16, _ authority: TestAuthority, _ folder: TestFolder,
    _ variant: Variant
  ) -> String {
    var text = lasting.configuration(
      more: "tls: {certificates: {main: {chain: \(folder.file("main.pem")), key: \(folder.file("main.key"))}}}\n\(variant.more)")
    if variant.isMoved {
      text = text.replacing(
        "{path: /plain, upstream: \"http://127.0.0.1:\(lasting.upstream.port)\"",
        with: "{path: /plain, upstream: \"http://127.0.0.1:\(other.port)\"")
    }
    var routes = "  tls: {path: /tls, upstream: \"https://localhost:\(secure)\", credential: {exchange: {audience: files}}, "
    routes += "upstreamTLS: {caFile: \(authority.path)}}\n"
    // In front of the others: their positions change.
    if variant.hasExtraRoute {
      routes += "  extra: {path: /extra, upstream: \"http://127.0.0.1:\(other.port)\", credential: none, public: true}\n"
    }
    return text.replacing("routes:\n", with: "routes:\n" + routes)
  }

  /// Sends SIGHUP and waits until it has been dealt with. True: the file is in force.
  func reload() async throws -> Bool {
    func counts() async throws -> [Int?] {
      [try await intercom.metric("intercom_config_reloads_total"), try await intercom.metric("intercom_config_reloads_refused_total")]
    }
    let before = try await counts()
    intercom.child.send(Signal.hangUp)
    try await waitUntilTrue("the end of a reload", within: .seconds(30)) { ((try? await counts()) ?? before) != before }
    return try await counts()[1] == before[1]
  }

  /// Whether a new connection is shown a certificate of this authority.
  func shows(_ authority: TestAuthority) async throws -> Bool {
    let (port, certificates) = (UInt16(tlsPort), try authority.certificates())
    return try await onThread { try TLSPeer(port: port, host: "localhost", certificates) != nil }
  }

  func status(_ cookie: String, _ target: String) async throws -> Int { try await lasting.status(cookie, target) }
}
