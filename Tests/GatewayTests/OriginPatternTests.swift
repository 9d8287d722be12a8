import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

@testable import Gateway

@Suite("Origins by an expression")
struct OriginPatternTests {
  private func takes(_ pattern: OriginPattern, _ text: String) -> Bool {
    let bytes = Array(("x" + text + "y").utf8)
    return pattern.matches(ByteRange(1, bytes.count - 1), in: bytes.span)
  }

  private func refusal(_ expression: String, allowsHTTP: Bool = false) -> OriginPatternFault? {
    do throws(OriginPatternFault) {
      _ = try OriginPattern(expression, allowsHTTP: allowsHTTP)
      return nil
    } catch { return error }
  }

  static let usual = [
    #"https://.*\.example\.org"#, #"^https:\/\/.*\.example\.org$"#, #"https://[a-z0-9-]+\.example\.org"#,
    #"https://([a-z0-9-]+\.)*example\.org"#, #"https://(mail|files)\.example\.org"#,
    #"^https://mail.example.org$|^https://files.example.org$"#,
    #"https?://.*\.example\.org"#, #".*\.example\.org"#, "https://.*.example.org", #"https://\w+?\.example\.org"#,
  ]

  @Test("an expression that an operator would write takes the apps", arguments: usual)
  func apps(expression: String) throws {
    let pattern = try OriginPattern(expression, allowsHTTP: false)
    #expect(takes(pattern, "https://mail.example.org") && takes(pattern, "https://files.example.org"))
    #expect(takes(pattern, pattern.example), "\(pattern.example)")
  }

  @Test(
    "Lookalikes are none of them: prefixed, suffixed, with user, port, path, line end or other case (S21, fault 53)", arguments: usual)
  func lookalikes(expression: String) throws {
    let pattern = try OriginPattern(expression, allowsHTTP: false)
    let foreign = [
      "https://evil-example.org", "https://evilexample.org", "https://example.org.evil.com", "https://mail.example.org.evil.com",
      "https://mail.example.orgevil", "https://mail.example.org.", "https://mail.example.org/", "https://mail.example.org\n",
      "\nhttps://mail.example.org", "https://mail.example.org\nhttps://evil.com", "https://evil.com\n.example.org",
      "https://evil.com/.example.org", "https://evil.com#.example.org", "https://evil.com?.example.org", "https://evil.com\\.example.org",
      "https://evil@mail.example.org", "https://mail.example.org@evil.com", "https://mail.example.org:8443", "https://mail.example.org:",
      "https://evil.com:1.example.org", "http://mail.example.org", "HTTPS://mail.example.org", "https://MAIL.example.org",
      "https://mail.example.org https://evil.com", "https://mail.example.org,https://evil.com", "https://mail..example.org",
      "https://.example.org", "https://.mail.example.org", "https:///mail.example.org", "https://mail-example-org",
      "https://mailxexample.org",
      "https://mail.examplexorg", "https://mail.example.org\u{0}", "https://m\u{e4}il.example.org", "https://%6dail.example.org", "null",
      "",
      "file://", "https://", "mail.example.org", "//mail.example.org", "xhttps://mail.example.org", "ftp://mail.example.org",
    ]
    for origin in foreign { #expect(!takes(pattern, origin), "\(expression) takes \(origin.debugDescription)") }
  }

  @Test("http is taken where the base URL is http, and a port where the expression has one")
  func schemesAndPorts() throws {
    let expression = #"https?://([a-z0-9-]+\.)*localhost(:\d+)?"#
    let open = try OriginPattern(expression, allowsHTTP: true)
    #expect(takes(open, "http://app.localhost:8080") && takes(open, "https://localhost"))
    #expect(!takes(open, "http://app.localhost:") && !takes(open, "http://app.localhost:123456"))
    let secure = try OriginPattern(expression, allowsHTTP: false)
    #expect(!takes(secure, "http://app.localhost:8080") && takes(secure, "https://app.localhost:8080"))
  }

  @Test(
    "What leaves the registered domain open is refused, with an origin that a stranger could have",
    arguments: [
      ".*", "https://.*", "https?://.*", ".+", "https://[^/]*", #"https://.*\.org"#, "https://.*example\\.org", "https://example\\.org.*",
      #"https://mail\.example\.[a-z]+"#, #"https://.*\.example\.org|https://.*"#, #"(https://.*\.example\.org)?.*"#, "https://[a-z.]+",
      #"https://[a-z0-9.-]*example.org"#, #"https://(.*\.)?example.*\.org"#, "https://\\w+", #"https://mail\.\w*xample\.org"#,
      // The same with counts: as good as no bound.
      "https://.{1,63}", "https://[a-z0-9.-]{3,60}", #"https://[a-z0-9-]{1,63}\.org"#, #"https://mail\.example\.[a-z]{2,20}"#,
      "https://" + String(repeating: "[a-z]?", count: 90) + #"\.org"#, "https://[a-z]{1,2}", #"https://mail\.example\.[a-z][a-z]"#,
      #"https://(x|yy|(z{9}){3})*\.org"#, #"https://(.{1,20}\.)?example.{1,2}org"#, #"https://[a-z]{2,5}\.[a-z]{2}:8443"#,
      #"https://shop\d{2}\d\.org"#, #"https?://(a|b)+\.test\.com|https://c+\.com"#,
    ])
  func strangers(expression: String) throws {
    let fault = try #require(refusal(expression))
    #expect(fault.problem.hasPrefix("takes origins of strangers too, such as https://"), "\(fault)")
    // What it shows is true: it is an origin, and no other name stands in front of it.
    let shown = fault.problem.split(separator: " ").last.map(String.init) ?? ""
    #expect(Origin(serialized: shown) != nil, "\(fault)")
  }

  @Test(
    "Origins with addresses are listed: whole blocks of them belong to strangers, however their beginning is written",
    arguments: [
      #"https://10\.0\.0\.\d+"#, #"https://10\.0\.0\.\d{1,3}(:\d+)?"#, #"https://\d+\.\d+\.0\.1"#, #"https://(\d{1,3}\.){3}1"#,
      #"https://\d+"#,
    ])
  func addresses(expression: String) throws {
    let fault = try #require(refusal(expression))
    #expect(fault.problem.hasPrefix("takes origins of strangers too, such as https://"), "\(fault)")
    #expect(fault.remedy.contains("origins with addresses have to be listed") && fault.remedy.contains("INTERCOM_CFG_ORIGINS"), "\(fault)")
  }

  @Test(
    "Early labels may be open, and the domain may be one of some that are written out",
    arguments: [
      #"https://app\d{1,3}\.example\.org"#, #"https://[a-z]+\.example\.org"#, #"https://.{1,63}\.example\.org"#,
      #"https://([a-z]{1,20}\.){0,3}example\.(org|com|net)"#, #"https://app\d\.org"#, #"https://10\.0\.0\.[1-4]"#,
      #"https://\d{1,3}\.example\.org"#,
      #"https://mail\.example\.org(:\d{1,5})?"#, #"https://[a-z0-9-]{1,63}\.example\.org:\d+"#, #"https://.{1,63}\.internal"#,
    ])
  func bounded(expression: String) { #expect(refusal(expression) == nil) }

  @Test(
    "Private names may be left open: strangers cannot register them",
    arguments: [#"https://.*\.localhost"#, #"https://[a-z]+\.test"#, #"https://.*\.internal(:\d+)?"#, #"https://.*\.local"#])
  func privateNames(expression: String) { #expect(refusal(expression) == nil) }

  @Test(
    "What takes no origin at all is refused, and says how the whole of one is written",
    arguments: [
      ("example.org", #"for it and all below write https://([a-z0-9-]+\.)*example\.org"#),
      (#"example\.org$"#, #"for it and all below write https://([a-z0-9-]+\.)*example\.org"#),
      (#"https://.*\.example\.org/"#, #"write all of it, such as https://[a-z0-9-]+\.example\.org"#),
      ("/https:\\/\\/.*/", #"write all of it, such as https://[a-z0-9-]+\.example\.org"#),
      ("http://mail.example.org", #"write all of it, such as https://[a-z0-9-]+\.example\.org"#),
      ("HTTPS://MAIL.EXAMPLE.ORG", #"write all of it, such as https://[a-z0-9-]+\.example\.org"#),
    ])
  func takesNone(expression: String, remedy: String) throws {
    let fault = try #require(refusal(expression))
    #expect(fault.problem == "takes no origin: it is compared with the whole of one, from https:// on")
    #expect(fault.remedy == remedy)
  }

  @Test(
    "What is no expression, or more than one, is refused with what to write",
    arguments: [
      "", " ", "https://a.example.org ", "https://ä.example.org", "(", ")", "https://(a.example.org", "https://a).example.org", "[", "[]",
      "[z-a]", "a**", "a+*", "*a", "+", "?", "a{2", "a{", "a{3,2}", "a{64}", "a{,2}", "(?=https)", "(?!x)a", "(?<n>a)", #"(a)\1"#, #"\b"#,
      #"\s"#, #"\x61"#, "a\\", "a^b", "a$b", "(^a)", "(a$)", String(repeating: "(", count: 40) + String(repeating: ")", count: 40),
      String(repeating: "a", count: 1025), "((a{63}){63}){63}", String(repeating: "(", count: 12) + String(repeating: "){63}", count: 12),
      "https://(a|b)*a(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b).example.org",
    ])
  func noExpression(text: String) throws {
    let fault = try #require(refusal(text))
    #expect(!fault.problem.isEmpty && !fault.remedy.isEmpty && !fault.problem.hasPrefix("takes"), "\(fault)")
  }

  @Test(
    "Expressions that cost an engine with back-tracking exponential time cost one step for each byte (S24)",
    arguments: [
      #"https://(a+)+\.example\.org"#, #"https://(a|a)*\.example\.org"#, #"https://(a|aa)+\.example\.org"#, #"https://(.*)*\.example\.org"#,
    ])
  func catastrophic(expression: String) throws {
    let pattern = try OriginPattern(expression, allowsHTTP: false)
    #expect(takes(pattern, "https://aaaa.example.org"))
    let long = "https://" + String(repeating: "a", count: 290) + "!"
    for _ in 0..<1000 { #expect(!takes(pattern, long)) }
  }

  static let large = [
    "https://" + String(repeating: "[a-z]?", count: 160) + #"\.org"#, "https://" + String(repeating: "(.?){63}", count: 8),
    "https://" + String(repeating: "([a-z]?){63}", count: 8), "https://(.{1,63}){8}", #"https://([a-z]{1,20}\.){1,20}example\.org"#,
    #"https://([a-z0-9-]{1,63}\.){1,7}[a-z]{2,20}"#, #"https://((.?){21}){21}\.example\.org"#,
    #"https://(.*\.)*(.*-)*(.*[a-m])*example\.org"#,
    #"https://((a|b|c)?[a-z]?){63}\.example\.org"#, #"https://((([a-z]*)*\.)*)*example\.org(:\d{1,5})?"#, "(.?){63}(.*)*(.+)+(.{1,63}){2}",
    #"https://(a{63}){7}(b|\.)*\.org"#, #"https://([a-p]*[0-9]){9}\.(x|y)*\.org"#, #"https://(aa|ab)*(a|b){8}\.(a|b){8}\.org"#,
    "https://" + String(repeating: "(", count: 15) + "[a-z]?" + String(repeating: "){63}", count: 15),
  ]

  @Test("A large expression is refused, or looked through in a bounded number of steps (S24)", arguments: large)
  func work(expression: String) throws {
    do throws(OriginPatternFault) {
      let automaton = try OriginAutomaton(try OriginExpression.parse(expression))
      #expect(automaton.states <= OriginAutomaton.mostStates && automaton.steps <= OriginAutomaton.mostSteps)
      #expect(try OriginSurvey(automaton, allowsHTTP: true).steps <= OriginSurvey.mostSteps)
    } catch {
      #expect(["needs more than", "has more than", "takes too many forms"].contains { error.problem.hasPrefix($0) }, "\(error)")
    }
  }

  @Test("what operators write is far below the bound", arguments: usual)
  func usualWork(expression: String) throws {
    let automaton = try OriginAutomaton(try OriginExpression.parse(expression))
    #expect(try OriginSurvey(automaton, allowsHTTP: true).steps < OriginSurvey.mostSteps / 20)
  }

  @Test("however long a value is, no more than an origin of it is looked at")
  func long() throws {
    let pattern = try OriginPattern(#"https://.*\.example\.org"#, allowsHTTP: false)
    #expect(!takes(pattern, "https://" + String(repeating: "a", count: 100_000) + ".example.org"))
  }

  @Test(
    "For frame-ancestors hosts are derived, none for another domain than the expression's",
    arguments: [
      (#"https://.*\.example\.org"#, ["https://*.example.org"]),
      (#"^https:\/\/[a-z]+\.apps\.example\.org$"#, ["https://*.apps.example.org"]),
      (#"https://([a-z0-9-]+\.)*example\.org"#, ["https://*.example.org", "https://example.org"]),
      (
        #"https://(mail|files)\.example\.org(:8443)?"#,
        ["https://files.example.org", "https://files.example.org:8443", "https://mail.example.org", "https://mail.example.org:8443"]
      ),
      (#"https?://mail\.example\.org"#, ["https://mail.example.org"]), (#".*\.example\.org"#, ["https://*.example.org"]),
      (#"(https://.*\.example\.org)?"#, ["https://*.example.org"]),
      (#"https://app\d{1,3}\.example\.org"#, ["https://*.example.org"]),
      (#"https://.*\.localhost(:\d+)?"#, ["https://*.localhost", "https://*.localhost:*"]),
      (
        #"https://(.*\.)?(a|b)\.example\.org"#,
        ["https://*.a.example.org", "https://*.b.example.org", "https://a.example.org", "https://b.example.org"]
      ),
    ])
  func frames(expression: String, expected: [String]) throws {
    #expect(try OriginPattern(expression, allowsHTTP: false).frameSources == expected)
  }

  @Test(
    "what cannot be told in hosts is nil",
    arguments: [#"https://(aa|bb){2}\.[ab]\.x?example\.org"#, #"https://a[0-9]?b[0-9]?c[0-9]?d[0-9]?e[0-9]?f[0-9]?g[0-9]?\.example\.org"#])
  func noFrames(expression: String) throws {
    let sources = try OriginPattern(expression, allowsHTTP: false).frameSources
    #expect(sources == nil || sources == ["https://*.example.org"] || sources?.allSatisfy { $0.hasSuffix("example.org") } == true)
  }

  @Test("the form for browsers is the same expression, with both ends tied")
  func browserForm() throws {
    #expect(try OriginPattern(#"https://.*\.a-b\.org"#, allowsHTTP: true).browserExpression.hasPrefix(#"^(?:https\x3a\x2f\x2f(?:[\x20"#))
    #expect(
      try OriginPattern("https://mail.a-b.org", allowsHTTP: true).browserExpression == #"^(?:https\x3a\x2f\x2fmail\x2ea\x2db\x2eorg)$"#)
  }

  @Test("where http does not count it does not in browsers either")
  func browserScheme() throws {
    let pattern = try OriginPattern(#"https?://.*\.example\.org"#, allowsHTTP: false)
    let form = try Regex(pattern.browserExpression)
    #expect("https://mail.example.org".wholeMatch(of: form) != nil && "http://mail.example.org".wholeMatch(of: form) == nil)
    let open = try Regex(try OriginPattern(#"https?://.*\.example\.org"#, allowsHTTP: true).browserExpression)
    #expect("https://mail.example.org".wholeMatch(of: open) != nil && "http://mail.example.org".wholeMatch(of: open) != nil)
  }
}
