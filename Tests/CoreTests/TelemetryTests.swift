import IntercomCore
import Linux
import Synchronization
import Telemetry
import Testing

@Suite("Log lines")
struct StructuredLogTests {
  private func line(_ body: (StructuredLog) -> Void) -> String {
    let sink = MemorySink()
    body(StructuredLog(to: sink, minimum: .trace, microseconds: { 1_795_251_887_006_000 }))
    return sink.lines.first ?? ""
  }

  @Test("a line is one JSON object with time, level, event, message and typed fields")
  func shape() {
    let text = line { $0.info("session_ended", "Alice left", ["route": "fs", "count": 3, "idle": true]) }
    #expect(
      text
        == #"{"ts":"2026-11-21T09:04:47.006Z","level":"info","event":"session_ended","message":"Alice left","route":"fs","count":3,"idle":true}"#
    )
  }

  @Test(
    "time stamps are RFC 3339 across leap days and year ends",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (951_782_400, "2000-02-29T00:00:00.000Z"), (1_709_251_199, "2024-02-29T23:59:59.000Z"),
      (4_107_542_400, "2100-03-01T00:00:00.000Z"), (1_767_225_599, "2025-12-31T23:59:59.000Z"),
    ] as [(Int64, String)])
  func timestamps(seconds: Int64, text: String) {
    let sink = MemorySink()
    StructuredLog(to: sink, microseconds: { seconds * 1_000_000 }).info("x", "y")
    #expect(sink.lines.first?.hasPrefix(#"{"ts":"\#(text)""#) == true)
  }

  @Test("a secret prints <redacted>, as a value and inside a message")
  func secrets() {
    let token = Secret("canary-1234")
    let text = line { $0.warning("x", "token \(token)", ["token": LogValue(token), "also": "\(token)"]) }
    #expect(!text.contains("canary"))
    #expect(text.contains(#""token":"<redacted>","also":"<redacted>""#))
  }

  @Test("log injection: control bytes, terminal sequences and text direction marks are escaped and make no second line")
  func injection() {
    let text = line { $0.info("x", "a\nb\u{1b}[31m\u{9b}31m\u{202e}\"\\\u{7f}", ["k\ney": "v\r\n"]) }
    #expect(text.contains(#""message":"a\u000ab\u001b[31m\u009b31m\u202e\"\\\u007f","k\u000aey":"v\u000d\u000a""#))
    #expect(text.utf8.allSatisfy { $0 >= 0x20 })
  }

  @Test("a line never exceeds what a pipe takes whole, and says that it was cut")
  func bounded() {
    let sink = MemorySink()
    let log = StructuredLog(to: sink)
    let fields: KeyValuePairs<String, LogValue> = [
      "a": .string(String(repeating: "é", count: 5_000)), "b": .string(String(repeating: "\n", count: 5_000)),
      "c": .string(String(repeating: "\"", count: 5_000)), "d": .string(String(repeating: "x", count: 5_000)), "e": 1,
    ]
    log.info("x", String(repeating: "m", count: 100_000), fields)
    let text = sink.lines.first ?? ""
    #expect(text.utf8.count < 4096)
    #expect(text.hasSuffix(#""truncated":true}"#))
    #expect(text.contains(#""a":"éé"#))
  }

  @Test("a field cannot replace the time, level, event or message")
  func reservedNames() {
    let text = line { $0.info("x", "y", ["level": "error", "ts": 0]) }
    #expect(text.contains(#""level_":"error","ts_":0"#))
  }

  @Test("lines below the minimum are not built")
  func levels() {
    let sink = MemorySink()
    let log = StructuredLog(to: sink, minimum: .warning)
    var built = 0
    func message() -> String {
      built += 1
      return "m"
    }
    log.info("x", message())
    log.error("x", message())
    #expect(built == 1 && sink.lines.count == 1)
    #expect(LogLevel(named: "warning") == .warning && LogLevel(named: "Warning") == nil)
  }

  @Test("repeated lines are let through in bursts and the swallowed ones are counted")
  func repeats() {
    let sink = MemorySink()
    let log = StructuredLog(to: sink)
    let limiter = RepeatLimiter(interval: .seconds(10), burst: 2)
    for second in 0..<10 {
      log.limited(by: limiter, now: MonotonicInstant(nanoseconds: Int64(second) * 1_000_000_000), .warning, "down", "m")
    }
    log.limited(by: limiter, now: MonotonicInstant(nanoseconds: 10_000_000_000), .warning, "down", "m")
    #expect(sink.lines.count == 3)
    #expect(sink.lines.last?.contains(#""suppressed":8"#) == true)
  }

  @Test("a key flood shares one window instead of growing the limiter")
  func keyFlood() {
    let limiter = RepeatLimiter(interval: .seconds(10), burst: 1)
    let now = MonotonicInstant(nanoseconds: 0)
    let written = (0..<5_000).filter { limiter.admit("key \($0)", now: now) != .suppress }.count
    #expect(written == 1025)
  }

  @Test("a log reader that is stuck loses lines and never stops the writer (fault 60)")
  func stuckReader() throws {
    let pipe = try #require(makePipe())
    defer { pipe.close() }
    let sink = StandardErrorSink(descriptor: pipe.write)
    let log = StructuredLog(to: sink)
    for _ in 0..<2_000 { log.info("x", String(repeating: "m", count: 500)) }
    #expect(sink.dropped > 1_000)
    let bad = StandardErrorSink(descriptor: -1)
    StructuredLog(to: bad).info("x", "y")
    #expect(bad.dropped == 1)
  }
}

@Suite("Metrics")
struct MetricTests {
  @Test("the loops' numbers are summed into Prometheus' text format")
  func rendering() {
    let registry = MetricRegistry()
    let requests = registry.counter(
      "requests_total", help: "Requests \\ by\nroute",
      labels: [MetricLabel("route", ["fs", "w\"i"]), MetricLabel("status", ["2xx", "4xx"])])
    let open = registry.gauge("intercom_connections", help: "Open connections")
    let time = registry.histogram("request_seconds", help: "Time", bounds: [.milliseconds(1), .seconds(1)])
    registry.value("log_dropped_total", help: "Lost lines", isCounter: true) { 7 }
    let first = registry.makeLoopMetrics()
    let second = registry.makeLoopMetrics()
    first.add(requests[0, 1])
    second.add(requests[0, 1], 2)
    first.add(requests[1, 99])
    first.add(open[], 3)
    second.add(open[], -1)
    first.observe(time[], .microseconds(500))
    second.observe(time[], .seconds(2))
    first.observe(time[], .seconds(-1))
    #expect(
      String(decoding: registry.render(), as: UTF8.self) == #"""
        # HELP intercom_requests_total Requests \\ by\nroute
        # TYPE intercom_requests_total counter
        intercom_requests_total{route="fs",status="2xx"} 0
        intercom_requests_total{route="fs",status="4xx"} 3
        intercom_requests_total{route="w\"i",status="2xx"} 0
        intercom_requests_total{route="w\"i",status="4xx"} 1
        # HELP intercom_connections Open connections
        # TYPE intercom_connections gauge
        intercom_connections 2
        # HELP intercom_request_seconds Time
        # TYPE intercom_request_seconds histogram
        intercom_request_seconds_bucket{le="0.001"} 2
        intercom_request_seconds_bucket{le="1"} 2
        intercom_request_seconds_bucket{le="+Inf"} 3
        intercom_request_seconds_sum 2.0005
        intercom_request_seconds_count 3
        # HELP intercom_log_dropped_total Lost lines
        # TYPE intercom_log_dropped_total counter
        intercom_log_dropped_total 7

        """#)
  }

  @Test("each loop has series of its own, and the longest duration is that since the last scrape")
  func perLoop() {
    let registry = MetricRegistry()
    let requests = registry.counter("requests_total", help: "r", labels: [MetricLabel("route", ["a", "b"])])
    registry.loopSum("loop_requests_total", help: "r", of: requests)
    let sessions = registry.loopGauge("loop_sessions", help: "s")
    let lag = registry.loopHistogram("loop_lag_seconds", help: "l", bounds: [.milliseconds(1)])
    let longest = registry.loopLongest("loop_longest_seconds", help: "m")
    let (nobody, loops) = (registry.makeSharedMetrics(), (0..<2).map { registry.makeLoopMetrics(of: $0) })
    for metrics in [nobody] + loops { metrics.add(requests[0]) }
    loops[1].add(requests[1], 3)
    loops[0].set(sessions, to: 7)
    loops[1].observe(lag, .microseconds(5))
    for milliseconds in [2, 9, 4] { loops[0].observe(longest, .milliseconds(milliseconds)) }
    let text = String(decoding: registry.render(), as: UTF8.self)
    for line in [
      #"intercom_requests_total{route="a"} 3"#, #"intercom_loop_requests_total{loop="0"} 1"#, #"intercom_loop_requests_total{loop="1"} 4"#,
      #"intercom_loop_sessions{loop="0"} 7"#, #"intercom_loop_sessions{loop="1"} 0"#,
      #"intercom_loop_lag_seconds_bucket{loop="1",le="0.001"} 1"#, #"intercom_loop_lag_seconds_count{loop="0"} 0"#,
      #"intercom_loop_longest_seconds{loop="0"} 0.009"#,
    ] {
      #expect(text.contains(line + "\n"), "\(line)")
    }
    loops[0].observe(longest, .milliseconds(1))
    #expect(String(decoding: registry.render(), as: UTF8.self).contains(#"intercom_loop_longest_seconds{loop="0"} 0.001"#))
  }

  @Test("a series registered after a loop began counts nothing there, and more than one chunk of series works")
  func lateSeries() {
    let registry = MetricRegistry()
    let many = registry.counter("a_total", help: "a", labels: [MetricLabel("n", (0..<200).map(String.init))])
    let loop = registry.makeLoopMetrics()
    let late = registry.counter("b_total", help: "b", labels: [MetricLabel("n", (0..<200).map(String.init))])
    for index in 0..<200 {
      loop.add(many[index], index)
      loop.add(late[index])
    }
    let text = String(decoding: registry.render(), as: UTF8.self)
    #expect(text.contains(#"intercom_a_total{n="199"} 199"#))
    #expect(text.contains(#"intercom_b_total{n="199"} 0"#))
  }

  @Test("shared numbers lose no addition of many tasks")
  func shared() async {
    let registry = MetricRegistry()
    let hits = registry.counter("hits_total", help: "h")
    let metrics = registry.makeSharedMetrics()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 { group.addTask { for _ in 0..<10_000 { metrics.add(hits[]) } } }
    }
    #expect(String(decoding: registry.render(), as: UTF8.self).contains("intercom_hits_total 80000"))
  }
}
