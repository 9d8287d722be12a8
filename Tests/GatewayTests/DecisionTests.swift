import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Policy
import Sessions
import Testing

@testable import Gateway

/// One rule of `behaviour`: a request, what is known, and the answer.
struct DecisionRow: Sendable, CustomTestStringConvertible {
  var rule: String
  var request: String
  var knowledge: DecisionFixture.Knowledge = .nothing
  var expected: String

  init(_ rule: String, _ request: String, _ knowledge: DecisionFixture.Knowledge = .nothing, gives expected: String) {
    self.rule = rule
    self.request = request
    self.knowledge = knowledge
    self.expected = expected
  }
  var testDescription: String { rule }
}

private let mail = "Origin: https://mail.example.org"
private let webSocket = "Connection: Upgrade\nUpgrade: websocket"
private let live = "Cookie: __Host-intercom=\(DecisionFixture.sessionValue)"

@Suite("The decision")
struct DecisionTests {
  static let rows: [DecisionRow] = [
    // Order
    DecisionRow("an unknown path is 404", "GET /nowhere", gives: "404 no_route"),
    DecisionRow(
      "a foreign origin is refused before the session is looked at", "GET /fs/a\n\(live)\nOrigin: https://evil.example",
      gives: "403 origin_refused"),
    DecisionRow("no session is 401 for a script", "GET /fs/a\n\(mail)", gives: "401 session_required"),
    DecisionRow(
      "a session id that is not well formed is no session", "GET /fs/a\nCookie: __Host-intercom=short\n\(mail)",
      gives: "401 session_required"),
    DecisionRow(
      "a session that the store does not know is 401", "GET /fs/a\n\(live)\n\(mail)", .storeSaysNone, gives: "401 session_required"),
    DecisionRow("a session that is not known yet is asked for", "GET /fs/a\n\(live)\n\(mail)", gives: "need session"),
    DecisionRow("a dead store is 503, never a login", "GET /fs/a\n\(live)\n\(mail)", .storeDown, gives: "503 session_store_unavailable"),
    DecisionRow(
      "a dead store is 503 for a navigation too", "GET /fs/a\n\(live)\nSec-Fetch-Mode: navigate", .storeDown,
      gives: "503 session_store_unavailable"),
    DecisionRow("a session without proof is 403", "GET /fs/a\n\(live)", .liveSession, gives: "403 csrf_proof_missing"),
    DecisionRow("a live session with proof needs its credential", "GET /fs/a\n\(live)\n\(mail)", .liveSession, gives: "need credential"),
    DecisionRow("a warm request is forwarded", "GET /fs/a\n\(live)\n\(mail)", .warm, gives: "forward fs"),
    DecisionRow("a local copy past its idle time is asked for anew", "GET /fs/a\n\(live)\n\(mail)", .idle, gives: "need session"),
    DecisionRow(
      "a credential past its freshness is asked for anew", "GET /fs/a\n\(live)\n\(mail)", .staleCredential, gives: "need credential"),
    DecisionRow("a provider that does not answer is 503", "GET /fs/a\n\(live)\n\(mail)", .providerDown, gives: "503 provider_unavailable"),
    DecisionRow("a refused refresh is 401 for a script", "GET /fs/a\n\(live)\n\(mail)", .sessionEnded, gives: "401 session_required"),
    DecisionRow(
      "a refused refresh sends a navigation to the login", "GET /fs/a\n\(live)\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document",
      .sessionEnded, gives: "own login /fs/a"),
    DecisionRow(
      "a refused exchange is 403, never the user's own token", "GET /fs/a\n\(live)\n\(mail)", .exchangeRefused,
      gives: "403 credential_refused"),
    DecisionRow("more than eight rounds are given up", "GET /fs/a\n\(live)\n\(mail)", .tooManyRounds, gives: "503 too_many_rounds"),
    DecisionRow("a public route needs no session and gets no credential", "GET /public/logo.svg", gives: "forward public"),

    // Navigation or script
    DecisionRow(
      "a navigation without a session goes to the provider", "GET /fs/a?b=1\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document",
      gives: "own login /fs/a?b=1"),
    DecisionRow("a frame navigates too", "GET /fs/a\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", gives: "own login /fs/a"),
    DecisionRow("an old browser's page load is a navigation", "GET /fs/a\nAccept: text/html,*/*;q=0.8", gives: "own login /fs/a"),
    DecisionRow("text/html with an Origin is no navigation", "GET /fs/a\nAccept: text/html\n\(mail)", gives: "401 session_required"),
    DecisionRow("*/* is no navigation", "GET /fs/a\nAccept: */*", gives: "401 session_required"),
    DecisionRow(
      "cors mode is no navigation whatever Accept says", "GET /fs/a\nSec-Fetch-Mode: cors\nAccept: text/html", gives: "401 session_required"
    ),
    DecisionRow("PROPFIND with text/html is no navigation", "PROPFIND /fs/a\nAccept: text/html", gives: "401 session_required"),
    DecisionRow(
      "a target over 2 KiB comes back to /", "GET /fs/\(String(repeating: "a", count: 2100))\nSec-Fetch-Mode: navigate",
      gives: "own login /"),

    // Origin and CORS
    DecisionRow("origin null is refused", "GET /fs/a\nOrigin: null", gives: "403 origin_refused"),
    DecisionRow("an empty origin is refused", "GET /fs/a\nOrigin:", gives: "403 origin_refused"),
    DecisionRow("another port is another origin", "GET /fs/a\nOrigin: https://mail.example.org:8443", gives: "403 origin_refused"),
    DecisionRow("another scheme is another origin", "GET /fs/a\nOrigin: http://mail.example.org", gives: "403 origin_refused"),
    DecisionRow("a suffix host is another origin", "GET /fs/a\nOrigin: https://mail.example.org.evil.example", gives: "403 origin_refused"),
    DecisionRow("a trailing dot is another origin", "GET /fs/a\nOrigin: https://mail.example.org.", gives: "403 origin_refused"),
    DecisionRow("upper case is another origin", "GET /fs/a\nOrigin: https://MAIL.example.org", gives: "403 origin_refused"),
    DecisionRow(
      "a foreign preflight is 403", "OPTIONS /fs/a\nOrigin: https://evil.example\nAccess-Control-Request-Method: PUT",
      gives: "403 origin_refused"),
    DecisionRow(
      "a foreign origin is refused on an unknown path", "GET /nowhere\nOrigin: https://evil.example", gives: "403 origin_refused"),
    DecisionRow(
      "a foreign origin is refused on a public route", "GET /public/logo.svg\nOrigin: https://evil.example", gives: "403 origin_refused"),
    DecisionRow("a foreign origin is refused at /silent", "GET /silent\nOrigin: https://evil.example", gives: "403 origin_refused"),
    DecisionRow("the base URL's own origin is allowed", "GET /fs/a\n\(live)\nOrigin: https://ics.example.org", .warm, gives: "forward fs"),
    DecisionRow(
      "a preflight is answered without a session", "OPTIONS /fs/a\n\(mail)\nAccess-Control-Request-Method: PUT", gives: "204 preflight"),
    DecisionRow("OPTIONS * asks about all routes together", "OPTIONS *", gives: "204 server_options"),
    DecisionRow("a foreign origin is refused at OPTIONS *", "OPTIONS *\nOrigin: https://evil.example", gives: "403 origin_refused"),
    DecisionRow("the callback ignores Origin", "GET /callback?code=x\nOrigin: null", gives: "own callback"),
    DecisionRow(
      "the back channel ignores Origin", "POST /backchannel-logout\nOrigin: https://evil.example", gives: "own backchannel-logout"),

    // CSRF proof
    DecisionRow("an allowed origin is proof", "PUT /fs/a\n\(live)\n\(mail)", .warm, gives: "forward fs"),
    DecisionRow("a valid token is proof", "PUT /fs/a\n\(live)\nX-CSRF-Token: \(DecisionFixture.csrfToken)", .warm, gives: "forward fs"),
    DecisionRow(
      "a wrong token without an origin is none", "PUT /fs/a\n\(live)\nX-CSRF-Token: AAAA", .warm, gives: "403 csrf_proof_missing"),
    DecisionRow("an empty token counts as absent", "PUT /fs/a\n\(live)\n\(mail)\nX-CSRF-Token:", .warm, gives: "forward fs"),
    DecisionRow(
      "same-origin reading is proof", "GET /fs/a\n\(live)\nSec-Fetch-Site: same-origin\nSec-Fetch-Mode: cors", .warm, gives: "forward fs"),
    DecisionRow("a bookmark is proof", "GET /fs/a\n\(live)\nSec-Fetch-Site: none\nSec-Fetch-Mode: navigate", .warm, gives: "forward fs"),
    DecisionRow(
      "same-origin writing without an origin is none", "PUT /fs/a\n\(live)\nSec-Fetch-Site: same-origin", .warm,
      gives: "403 csrf_proof_missing"),
    DecisionRow(
      "a same-site sibling's image is none",
      "GET /fs/a\n\(live)\nSec-Fetch-Site: same-site\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: image", .warm,
      gives: "403 csrf_proof_missing"),
    DecisionRow(
      "a top-level navigation is proof for reading",
      "GET /fs/a\n\(live)\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", .warm, gives: "forward fs"),
    DecisionRow(
      "a frame's navigation is none", "GET /fs/a\n\(live)\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe",
      .warm, gives: "403 csrf_proof_missing"),
    DecisionRow(
      "a top-level form post is none",
      "POST /fs/a\n\(live)\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", .warm,
      gives: "403 csrf_proof_missing"),
    DecisionRow(
      "a token route demands the token from an allowed origin", "GET /nob/x\n\(live)\n\(mail)", .warm, gives: "403 csrf_proof_missing"),
    DecisionRow(
      "a token route refuses an empty token", "GET /nob/x\n\(live)\n\(mail)\nX-CSRF-Token:", .warm, gives: "403 csrf_proof_missing"),
    DecisionRow(
      "a token route refuses another session's token", "GET /nob/x\n\(live)\n\(mail)\nX-CSRF-Token: \(DecisionFixture.foreignCSRFToken)",
      .warm, gives: "403 csrf_proof_missing"),
    DecisionRow(
      "a token route takes the session's token", "GET /nob/x\n\(live)\n\(mail)\nX-CSRF-Token: \(DecisionFixture.csrfToken)", .warm,
      gives: "forward nob"),

    // Methods
    DecisionRow("a method that the route does not list is 405", "PUT /wiki/a\n\(mail)", gives: "405 method_refused"),
    DecisionRow(
      "what is kept ready for a session lets no method pass that its route does not list", "PUT /wiki/a\n\(live)\n\(mail)", .warm,
      gives: "405 method_refused"),
    DecisionRow(
      "what is kept ready for a session lets no encoded slash pass where the route takes none", "GET /wiki/a%2Fb\n\(live)\n\(mail)", .warm,
      gives: "400 encoded_slash"),
    DecisionRow("TRACE is always 405", "TRACE /fs/a", gives: "405 method_refused"),
    DecisionRow("an unknown method is 405", "BREW /fs/a", gives: "405 method_refused"),
    DecisionRow("OPTIONS without a requested method is forwarded", "OPTIONS /fs/a\n\(live)\n\(mail)", .warm, gives: "forward fs"),
    DecisionRow("POST to /silent is 405", "POST /silent", gives: "405 method_refused"),

    // Cookies
    DecisionRow(
      "without the host prefix a cookie is no session on https", "GET /fs/a\nCookie: intercom=\(DecisionFixture.sessionValue)\n\(mail)",
      .warm, gives: "401 session_required"),
    DecisionRow(
      "the host-prefixed cookie wins over a tossed one",
      "GET /fs/a\nCookie: intercom=tossed; __Host-intercom=\(DecisionFixture.sessionValue)\n\(mail)", .warm, gives: "forward fs"),

    // Paths
    DecisionRow("a prefix takes whole segments only", "GET /fsx\n\(live)\n\(mail)", .warm, gives: "404 no_route"),
    DecisionRow("the prefix itself is taken", "GET /fs\n\(live)\n\(mail)", .warm, gives: "forward fs"),
    DecisionRow("a prefix written with escapes is refused", "GET /%66s/a\n\(live)\n\(mail)", .warm, gives: "400 escaped_route"),
    DecisionRow("an own path written with escapes is refused", "GET /%73ilent", gives: "400 escaped_route"),
    DecisionRow("an encoded slash passes where the route says so", "GET /fs/a%2Fb\n\(live)\n\(mail)", .warm, gives: "forward fs"),
    DecisionRow("an encoded slash is refused elsewhere", "GET /nob/a%2Fb\n\(live)\n\(mail)", .warm, gives: "400 encoded_slash"),
    DecisionRow(
      "an upgrade is refused", "GET /fs/a\n\(live)\n\(mail)\nConnection: upgrade\nUpgrade: websocket", .warm, gives: "501 upgrade_refused"),
    DecisionRow("an upgrade that the route names passes", "GET /live/a\n\(live)\n\(mail)\n\(webSocket)", .warm, gives: "forward live"),
    DecisionRow(
      "names of protocols are compared whatever their case, one of several is enough",
      "GET /live/a\n\(live)\n\(mail)\nConnection: upgrade\nUpgrade: x, RAW/1", .warm, gives: "forward live"),
    DecisionRow(
      "another version of a protocol is another protocol", "GET /live/a\n\(live)\n\(mail)\nConnection: upgrade\nUpgrade: raw/2", .warm,
      gives: "501 upgrade_refused"),
    DecisionRow(
      "Upgrade in two lines is not understood", "GET /live/a\n\(live)\n\(mail)\n\(webSocket)\nUpgrade: websocket", .warm,
      gives: "501 upgrade_refused"),
    DecisionRow(
      "a WebSocket without an Origin uses no session, whatever Sec-Fetch-Site says",
      "GET /live/a\n\(live)\nSec-Fetch-Site: same-origin\nSec-Fetch-Mode: websocket\n\(webSocket)", .warm,
      gives: "403 upgrade_origin_missing"),
    DecisionRow(
      "nor does one that looks like a navigation", "GET /live/a\n\(live)\nSec-Fetch-Mode: navigate\n\(webSocket)", .warm,
      gives: "403 upgrade_origin_missing"),
    DecisionRow(
      "a WebSocket of a foreign page is refused, with a session and without",
      "GET /live/a\n\(live)\nOrigin: https://evil.example\n\(webSocket)", .warm, gives: "403 origin_refused"),
    DecisionRow(
      "a WebSocket of a foreign page is refused on public routes too", "GET /public/a\nOrigin: https://evil.example\n\(webSocket)",
      gives: "403 origin_refused"),
    DecisionRow("a public route's WebSocket needs no Origin", "GET /public/a\n\(webSocket)", gives: "forward public"),
    DecisionRow(
      "the session's token is proof for clients that can send it",
      "GET /live/a\n\(live)\nX-CSRF-Token: \(DecisionFixture.csrfToken)\n\(webSocket)", .warm, gives: "forward live"),
    DecisionRow("a WebSocket without a session is 401", "GET /live/a\n\(mail)\n\(webSocket)", gives: "401 session_required"),
    DecisionRow(
      "a WebSocket with a body is refused", "GET /live/a\n\(live)\n\(mail)\n\(webSocket)\nContent-Length: 3", .warm,
      gives: "400 bad_upgrade"),
    DecisionRow("an upgrade by POST is refused", "POST /live/a\n\(live)\n\(mail)\n\(webSocket)", .warm, gives: "400 bad_upgrade"),
    DecisionRow(
      "h2c is ignored", "GET /fs/a\n\(live)\n\(mail)\nConnection: upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AA", .warm,
      gives: "forward fs"),
    DecisionRow(
      "Upgrade that Connection does not name is somebody else's", "GET /fs/a\n\(live)\n\(mail)\nUpgrade: websocket", .warm,
      gives: "forward fs"),
    DecisionRow("own paths are exact", "GET /silent/x", gives: "404 no_route"),
  ]

  @Test("follows each rule of behaviour", arguments: rows)
  func rule(_ row: DecisionRow) async throws {
    let verdict = try await DecisionFixture().decide(row.request, row.knowledge)
    #expect(verdict == row.expected)
  }
}
