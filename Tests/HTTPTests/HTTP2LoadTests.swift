import FoundationEssentials
import HTTPServer
import IntercomTesting
import Testing

/// Load of other hands on one listener.
@Suite("HTTP/2: load", .serialized, .timeLimit(.minutes(10)))
struct HTTP2LoadTests {
  static var isThere: Bool {
    ["/usr/bin/h2load", "/usr/bin/wrk"].allSatisfy { FileManager.default.isExecutableFile(atPath: $0) } || Services.areRequired
  }

  @Test(
    "h2load over HTTP/2 and wrk over HTTP/1.1 at once: no request fails",
    .enabled(if: HTTP2LoadTests.isThere, "h2load or wrk is not installed (apt-get install nghttp2-client wrk)"))
  func mixed() async throws {
    let count = Rounds.count(3_000, full: 300_000)
    try await HTTP2Server.run { http2 in
      let url = "https://localhost:\(http2.server.port)/hello"
      let wrk = try ChildProcess("wrk", ["-t", "1", "-c", "10", "-d", "\(Rounds.count(2, full: 60))s", url], log: "wrk")
      let load = try ChildProcess("h2load", ["-n", "\(count)", "-c", "10", "-m", "10", "-t", "1", url], log: "h2load")
      #expect(try await load.waitForExit(within: .seconds(300)) == .code(0))
      #expect(try await wrk.waitForExit(within: .seconds(300)) == .code(0))
      #expect(load.output.contains("\(count) succeeded, 0 failed, 0 errored, 0 timeout"), "\(load.output)")
      #expect(wrk.output.contains("requests in"), "\(wrk.output)")
      #expect(!wrk.output.contains("Socket errors") && !wrk.output.contains("Non-2xx"), "\(wrk.output)")
      try Rounds.keep("h2load beside wrk: \(count) requests of HTTP/2, none failed")
    }
  }
}
