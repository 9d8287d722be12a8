import FoundationEssentials
import IntercomCore
import IntercomTesting
import Linux
import Testing

/// Clients that are slow on purpose (behaviour: "Times"), against the program as it is built.
@Suite("Faults: slow and idle clients", .serialized)
struct SlowClientTests {
  private static let download = "GET /open/big HTTP/1.1\r\nHost: a\r\n\r\n"

  @Test(
    "slow heads, bodies and readers, many at once, are cut at their limits; nobody else has an error, nor who is slow but fast enough (faults 34, 35, 36)",
    .timeLimit(.minutes(3)))
  func slow() async throws {
    let count = Rounds.count(50, full: 500)
    // 4 KiB in two seconds: the attackers do 512 bytes a second, the others 80 KiB.
    try await FaultWorkplace.run("timeouts: {clientHead: 1s, clientPace: 2s}") { place in
      let port = place.intercom.port
      let before = try await place.visits { try await SystemTime().sleep(for: .milliseconds(Rounds.isFull ? 5_000 : 100)) }
      let during = try await place.visits {
        let upload = "PUT /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
        let fair = [
          try SlowClients(3, port: port, opening: upload, beat: .send(String(repeating: "x", count: 8192)), every: 100),
          try SlowClients(3, port: port, opening: Self.download, beat: .receive(8192), every: 100),
        ]
        let attackers = [
          try SlowClients(count, port: port, opening: "GET /open/x HTTP/1.1\r\nHost: a\r\n", beat: .send("X: y\r\n"), every: 200),
          try SlowClients(count, port: port, opening: upload, beat: .send(String(repeating: "x", count: 64)), every: 125),
          try SlowClients(count, port: port, opening: Self.download, beat: .receive(64), every: 125),
        ]
        for (kind, clients) in zip(["heads", "bodies", "readers"], attackers) {
          try await waitUntilTrue("the end of all slow \(kind)", within: .seconds(60)) { clients.open == 0 }
        }
        #expect(attackers[0].answers == ["HTTP/1.1 408 Request Timeout": count])
        #expect(fair.map(\.open) == [3, 3])
        for clients in fair { try await clients.stop() }
      }
      #expect(during.failures.isEmpty && during.answered > 0, "\(during.failures)")
      try Rounds.keep(
        "faults 34-36: \(3 * count) slow clients cut; \(during.answered) other requests, no error, p99 \(during.p99) (before: \(before.p99))"
      )
    }
  }

  private static let slowhttptest = "/usr/bin/slowhttptest"
  static var isThere: Bool { FileManager.default.isExecutableFile(atPath: slowhttptest) || Services.areRequired }

  @Test(
    "slowhttptest's slow headers are all cut within its 30 seconds, and its own probe is answered all the time (fault 34)",
    .enabled(if: SlowClientTests.isThere, "slowhttptest is not installed (apt-get install slowhttptest)"), .timeLimit(.minutes(3)))
  func slowHeaders() async throws {
    let count = Rounds.count(100, full: 500)
    // The full count waits for the usual limit.
    try await FaultWorkplace.run(Rounds.isFull ? "" : "timeouts: {clientHead: 2s}") { place in
      let visits = try await place.visits {
        let child = try ChildProcess(
          Self.slowhttptest,
          ["-H", "-c", "\(count)", "-r", "200", "-i", "1", "-x", "24", "-p", "10", "-l", "30", "-v", "1", "-u", place.base + "/open/x"])
        let exit = try await child.waitForExit(within: .seconds(90))
        let output = child.output
        #expect(exit == .code(0) && output.contains("No open connections left"), "\(child.outputTail)")
        #expect(output.contains("YES") && !output.contains("NO\n"), "\(child.outputTail)")
      }
      #expect(visits.failures.isEmpty && visits.answered > 0, "\(visits.failures)")
      try Rounds.keep("fault 34: slowhttptest -H -c \(count) -l 30: no open connections left; \(visits.answered) other requests, no error")
    }
  }

  @Test(
    "1,000 idle connections are kept for little memory, a new client is served at once, and all are closed at the limit (fault 37)",
    .timeLimit(.minutes(5)))
  func idle() async throws {
    raiseDescriptorLimit()
    let count = Rounds.count(1_000, full: 9_500)
    try await FaultWorkplace.run("timeouts: {clientIdle: \(Rounds.isFull ? 60 : 4)s}") { place in
      let before = place.intercom.child.memory("VmRSS")
      // Not all at one moment: each asks for a connection to the upstream.
      var crowd: [SlowClients] = []
      for _ in 0..<count / 500 {
        let some = try SlowClients(
          500, port: place.intercom.port, opening: "GET /open/x HTTP/1.1\r\nHost: a\r\n\r\n", beat: .receive(65_536), every: 100)
        try await waitUntilTrue("all answers", within: .seconds(60)) { some.answers == ["HTTP/1.1 200 OK": 500] }
        crowd.append(some)
      }
      let clients = crowd
      let visits = try await place.visits { try await SystemTime().sleep(for: .milliseconds(200)) }
      #expect(visits.failures.isEmpty && visits.answered > 0, "\(visits.failures)")
      let grown = place.intercom.child.memory("VmRSS") - before
      // Those that were closed already, on a slow machine, are not counted.
      let open = clients.reduce(0) { $0 + $1.open }
      #expect(grown <= 20 * max(open, 100), "\(grown) KiB for \(open) connections")
      try await waitUntilTrue("the end of all idle connections", within: .seconds(120)) { clients.allSatisfy { $0.open == 0 } }
      #expect(try await place.ask() == 200)
      try Rounds.keep("fault 37: \(open) idle connections took \(grown) KiB, a new request \(visits.p99) at most; all closed at the limit")
    }
  }

  @Test("an endless chunked upload streams through, or waits, in little memory (fault 40)", .timeLimit(.minutes(5)))
  func endlessUpload() async throws {
    let megabytes = Rounds.count(24, full: 4_096)
    try await FaultWorkplace.run("timeouts: {clientPace: 2s}") { place in
      let port = UInt16(clamping: place.intercom.port)
      let chunk = Array(("10000\r\n" + String(repeating: "x", count: 65_536) + "\r\n").utf8)
      let head = "PUT /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      // What a first upload leaves behind (buffers, pages of code) is no growth.
      func streams(_ count: Int) async throws {
        let status = try await onThread {
          let client = try RawSocket(port: port, timeOut: .seconds(30))
          try client.send(head)
          for _ in 0..<count { try client.send(bytes: chunk) }
          try client.send("0\r\n\r\n")
          return try client.readResponse().status
        }
        #expect(status == 200)
      }
      try await streams(32)
      let streamed = try await place.intercom.child.growth { try await streams(16 * megabytes) }
      #expect(streamed <= 8_192, "grew by \(streamed) KiB")
      let stuck = try await place.intercom.child.growth {
        try await onThread {
          let client = try RawSocket(port: port, timeOut: .seconds(1))
          try client.send(head.replacing("/open/x", with: "/open/stuck"))
          #expect(throws: RawSocketError.self) { while true { try client.send(bytes: chunk) } }
        }
      }
      #expect(stuck <= 8_192, "grew by \(stuck) KiB")
      try Rounds.keep("fault 40: a chunked upload of \(megabytes) MiB grew the process by \(streamed) KiB, one that waits by \(stuck) KiB")
    }
  }
}
