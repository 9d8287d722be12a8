import DemoPages
import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import Telemetry
import Testing

/// A clock whose heartbeats can be counted and never come by themselves.
private struct QuietTime: TimeSource {
  func monotonicNow() -> MonotonicInstant { MonotonicInstant(nanoseconds: 5_000_000) }
  func wallNow() -> WallInstant { WallInstant(seconds: 1_800_000_000) }
  func sleep(for duration: Duration) async throws {
    try Task.checkCancellation()
    if duration != .milliseconds(1) { try await Task.sleep(for: .seconds(3600)) }
    await Task.yield()
  }
}

private func step(_ title: String) -> Step {
  Step(
    .forwarded, title, [.init(.route, "fs"), .init(.status, 207)], time: WallInstant(seconds: 1_800_000_000), subjectName: "alice",
    correlation: "c1")
}

/// Collects a stream until `until` holds, then ends the task like a client that goes away.
private actor Listener: ResponseWriter {
  private(set) var text = ""
  private var waiting: [(needle: String, continuation: CheckedContinuation<Void, Never>)] = []
  func write(_ bytes: [UInt8]) async throws(BodyError) {
    text += String(decoding: bytes, as: UTF8.self)
    waiting.removeAll { item in
      guard text.contains(item.needle) else { return false }
      item.continuation.resume()
      return true
    }
  }
  func hears(_ needle: String) async {
    guard !text.contains(needle) else { return }
    await withCheckedContinuation { waiting.append((needle, $0)) }
  }
}

@Suite(.timeLimit(.minutes(1))) struct StepFeedTests {
  private func listen(_ feed: StepFeed, _ fields: KeyValuePairs<String, String> = [:], to listener: Listener) async throws -> Task<
    Void, any Error
  > {
    let response = try await feed.endpoint(
      Request(method: .get, rawPath: Array("/steps".utf8), fields: Fields(fields)), RequestBody(bytes: []))
    #expect(response.status == 200 && response.fields.single("content-type") == "text/event-stream")
    guard case .stream(nil, let produce) = response.body else {
      Issue.record("a feed is a stream")
      return Task {}
    }
    return Task { try await produce(listener) }
  }

  @Test("a panel gets what is kept and then each step as it happens, in order, as one line of JSON")
  func order() async throws {
    let feed = StepFeed(time: QuietTime())
    feed.observe(step("first"))
    let listener = Listener()
    let task = try await listen(feed, to: listener)
    await listener.hears("first")
    feed.observe(step("second <b>\n"))
    await listener.hears("second")
    let text = await listener.text
    let rest = #""facts":{"route":"fs","status":"207"},"id":1,"kind":"forwarded","subject":"alice","title":"first"}"#
    #expect(text.hasPrefix("retry: 1000\n\nevent: step\nid: 1\ndata: {\"at\":1800000000000,\"correlation\":\"c1\",\(rest)\n\n"))
    #expect(text.contains("\nid: 2\ndata: {") && text.contains(#""title":"second <b>\u000a"}"#))
    #expect(text.split(separator: "\n").count == 7)
    task.cancel()
    _ = await task.result
    #expect(feed.listenerCount == 0)
  }

  @Test("a panel that comes back gets only what it missed, and one from another process starts over")
  func lastEventID() async throws {
    let feed = StepFeed(time: QuietTime())
    for number in 1...3 { feed.observe(step("step \(number)")) }
    let back = Listener()
    let first = try await listen(feed, ["Last-Event-ID": "2"], to: back)
    await back.hears("step 3")
    #expect(await !back.text.contains("step 2"))
    let foreign = Listener()
    let second = try await listen(feed, ["Last-Event-ID": "900"], to: foreign)
    await foreign.hears("step 3")
    #expect(await foreign.text.contains("event: restart\n"))
    #expect(await foreign.text.contains("step 1"))
    feed.close()
    try await first.value
    try await second.value
  }

  @Test("steps kept, listeners and waiting events are bounded")
  func bounds() async throws {
    var limits = StepFeed.Limits()
    limits.kept = 3
    limits.listeners = 1
    let feed = StepFeed(time: QuietTime(), limits: limits)
    for number in 1...5 { feed.observe(step("step \(number).")) }
    let listener = Listener()
    let task = try await listen(feed, to: listener)
    await listener.hears("step 5.")
    #expect(await !listener.text.contains("step 2."))
    let refused = try await feed.endpoint(Request(method: .get, rawPath: []), RequestBody(bytes: []))
    #expect(refused.status == 503)
    feed.close()
    try await task.value
  }

  @Test("a listener that does not read is cut off instead of kept waiting for")
  func slowListener() async throws {
    actor Stuck: ResponseWriter {
      private var release: CheckedContinuation<Void, Never>?
      private var isReleased = false
      func write(_ bytes: [UInt8]) async throws(BodyError) {
        if !isReleased { await withCheckedContinuation { release = $0 } }
      }
      func go() {
        isReleased = true
        release?.resume()
      }
      var isWaiting: Bool { release != nil }
    }
    var limits = StepFeed.Limits()
    limits.kept = 1
    limits.waiting = 2
    let feed = StepFeed(time: QuietTime(), limits: limits)
    let stuck = Stuck()
    let response = try await feed.endpoint(Request(method: .get, rawPath: []), RequestBody(bytes: []))
    guard case .stream(_, let produce) = response.body else { return }
    let task = Task { try await produce(stuck) }
    while await !stuck.isWaiting { await Task.yield() }
    for number in 1...20 { feed.observe(step("\(number)")) }
    #expect(feed.listenerCount == 0)
    await stuck.go()
    try await task.value
  }

  @Test("a quiet stream says that it lives")
  func heartbeat() async throws {
    var limits = StepFeed.Limits()
    limits.heartbeat = .milliseconds(1)
    let feed = StepFeed(time: QuietTime(), limits: limits)
    let listener = Listener()
    let task = try await listen(feed, to: listener)
    await listener.hears(": still here\n\n")
    task.cancel()
    _ = await task.result
  }

  @Test("another site's page cannot listen")
  func foreignSite() async throws {
    let feed = StepFeed(time: QuietTime())
    for site in ["cross-site", "same-site"] {
      let request = Request(method: .get, rawPath: [], fields: Fields(["Sec-Fetch-Site": site]))
      #expect(try await feed.endpoint(request, RequestBody(bytes: [])).status == 403)
    }
  }
}

@Suite struct SiteTests {
  static func run(_ body: (DemoWorkplace) async throws -> Void) async throws {
    let folder = try DemoFolder.make()
    defer { folder.remove() }
    for user in DemoWorkplace.users { try folder.seed(user) }
    let tokens = BearerAuthentication(issuer: "x", audience: DemoWorkplace.filesAudience, time: QuietTime()) { throw BodyError.incomplete }
    try await body(
      DemoWorkplace(
        addresses: DemoAddresses(port: 8008), users: try folder.users(), workers: nil, tokens: tokens, steps: StepFeed(time: QuietTime())))
  }

  static func get(
    _ site: DemoSite, _ path: String, method: HTTPMessage.Method = .get, _ fields: KeyValuePairs<String, String> = [:]
  ) async throws -> Answer {
    try await Answer(
      site.endpoint(Request(method: method, rawPath: Array(path.utf8), host: site.host, fields: Fields(fields)), RequestBody(bytes: [])))
  }

  @Test("every page loads only what its own site serves, and nothing inline", arguments: ["mail", "portal", "files"])
  func pages(label: String) async throws {
    try await Self.run { workplace in
      let site = try #require(workplace.site(DemoAddresses.host(label)))
      let page = try await Self.get(site, "/", ["Accept": "text/html,*/*;q=0.8"])
      #expect(page.status == 200 && page.field("content-type") == "text/html; charset=utf-8")
      let policy = try #require(page.field("content-security-policy"))
      #expect(policy.hasPrefix("default-src 'none'; script-src 'self'; style-src 'self'; "))
      #expect(policy.contains("connect-src 'self' http://intercom.localhost:8008;"))
      #expect(policy.contains("frame-src http://intercom.localhost:8008 http://id.intercom.localhost:8008;"))
      #expect(!policy.contains("unsafe") && page.field("referrer-policy") == "strict-origin-when-cross-origin")
      for part in page.text.matches(of: /(?:src|href)="(\/[^"]+)"/).map({ String($0.output.1) }) {
        let answer = try await Self.get(site, part)
        #expect(answer.status == 200, "\(part)")
        for module in answer.text.matches(of: /from "\.(\/[a-z]+\.js)"/).map({ String($0.output.1) }) {
          let found = try await Self.get(site, module)
          #expect(found.status == 200, "\(module) of \(part)")
        }
      }
      #expect(page.text.matches(of: /<script>|<style>| style="| on[a-z]+="|https?:/).isEmpty)
    }
  }

  @Test("an unchanged part is not sent twice, an unknown one is 404, a wrong method 405")
  func validators() async throws {
    try await Self.run { workplace in
      let site = try #require(workplace.site(DemoAddresses.host("mail")))
      let tag = try #require(try await Self.get(site, "/mail.js").field("etag"))
      let again = try await Self.get(site, "/mail.js", ["If-None-Match": tag])
      #expect(again.status == 304 && again.body.isEmpty)
      #expect(try await Self.get(site, "/mail.js/../x").status == 404)
      let posted = try await Self.get(site, "/mail.js", method: .post)
      #expect(posted.status == 405 && posted.field("allow") == "GET, HEAD")
      let settings = try await Self.get(site, "/config.json")
      #expect(settings.text.contains(#""intercom":"http://intercom.localhost:8008""#))
    }
  }

  @Test("the file store shows a browser its door, and everyone else the challenge")
  func filesDoor() async throws {
    try await Self.run { workplace in
      let site = try #require(workplace.site(DemoAddresses.host("files")))
      #expect(try await Self.get(site, "/", ["Accept": "text/html"]).text.contains("closed door"))
      for method in HTTPMessage.Method.allCases where method != .get && method != .head {
        let answer = try await Self.get(site, "/", method: method, ["Accept": "text/html"])
        #expect(answer.status == 401, "\(method)")
      }
      #expect(try await Self.get(site, "/").status == 401)
      #expect(try await Self.get(site, "/Notes.txt", ["Accept": "text/html"]).status == 401)
      let withToken = try await Self.get(site, "/", ["Accept": "text/html", "Authorization": "Bearer x"])
      #expect(withToken.status == 503 && !withToken.text.contains("closed door"))
      #expect(workplace.site("FILES.intercom.localhost") == nil)
    }
  }
}
