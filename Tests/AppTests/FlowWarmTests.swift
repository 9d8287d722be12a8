import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Sessions
import Synchronization
import Testing

/// What a loop keeps ready for a session, and what it must not be used for.
@Suite("Flow: warm requests", .serialized)
struct FlowWarmTests {
  /// One loop, so that each request meets what the one before it left.
  private static let oneLoop = FlowFixture.Options(deployment: { $0.loops = 1 })

  @Test("A session that is over as idle stays over, although its browser loaded something public first")
  func idleBehindPublic() async throws {
    try await FlowFixture.run(Self.oneLoop) { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.isAlive(visitor))
      flow.time.advance(by: .seconds(24 * 3600 + 61))
      #expect(try await flow.fetch(visitor, "GET", "/public/logo.svg").status == 200)
      #expect(try await flow.isAlive(visitor) == false)
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 401)
    }
  }

  @Test("A public route notes the use of a live session, as every other route does")
  func useOfPublic() async throws {
    try await FlowFixture.run(Self.oneLoop) { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.isAlive(visitor))
      for _ in 0..<3 {
        let writes = flow.store.written
        flow.time.advance(by: .seconds(20 * 3600))
        #expect(try await flow.fetch(visitor, "GET", "/public/logo.svg").status == 200)
        try await waitUntilTrue("the use in the store") { flow.store.written > writes }
      }
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("Two people on one connection: each request gets the credential of its own cookie, or none (S15, S16b)")
  func twoPeople() async throws {
    try await FlowFixture.run(Self.oneLoop) { flow in
      var cookies: [String] = []
      for user in ["alice", "bob"] { cookies.append(try #require(await flow.signedIn(user).jar["intercom"]?.value)) }
      let connection = try await RawConnection.open(port: flow.port)
      var tokens: [String: String] = [:]
      for round in 0..<12 {
        let person = [0, 0, 1, 0, 1, 1][round % 6]
        for (route, field) in [("own", FieldName("authorization")), ("headers", "x-remote-user"), ("fs", "authorization")] {
          try await connection.send(
            "GET /\(route)/\(round) HTTP/1.1\r\nHost: intercom.localhost\r\nOrigin: \(flow.app)\r\nCookie: intercom=\(cookies[person])\r\n\r\n"
          )
          #expect(try await connection.answer().status == 200)
          let seen = try #require(flow.upstream.requests.last?.field(field))
          if route == "headers" {
            #expect(seen == ["alice", "bob"][person])
          } else {
            // What is the same for one person and another for the other.
            let key = "\(route) \(person)"
            let other = "\(route) \(1 - person)"
            #expect(tokens[key] == nil || tokens[key] == seen)
            #expect(tokens[other] != seen)
            tokens[key] = seen
          }
        }
      }
      var without = "GET /own/x HTTP/1.1\r\nHost: intercom.localhost\r\nOrigin: \(flow.app)\r\n"
      without += "Cookie: intercom=\(cookies[0].dropLast())\r\n\r\n"
      try await connection.send(without)
      #expect(try await connection.answer().status == 401)
    }
  }

  @Test("A session that is gone from the store without a word is gone from the loop with the next use that is written")
  func goneUnheard() async throws {
    try await FlowFixture.run(Self.oneLoop) { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.isAlive(visitor))
      for key in flow.store.keys(of: .session) { _ = try await flow.store.delete(key, expecting: nil, tombstone: .seconds(60)) }
      flow.time.advance(by: .seconds(61))
      _ = try await flow.isAlive(visitor)
      #expect(await eventually { (try? await flow.isAlive(visitor)) == false })
    }
  }

  @Test("While the store is asked for a session nothing more is read of its connection; then all of it arrives (issue 6)")
  func withheld() async throws {
    try await FlowFixture.run(Self.oneLoop) { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let gate = Gate()
      flow.store.once(before: .read) { await gate.pass() }
      let (port, size) = (try #require(UInt16(exactly: flow.port)), 7 << 20)
      let fields = "Host: intercom.localhost\r\nOrigin: \(flow.app)\r\nCookie: intercom=\(cookie)\r\n"
      let sent = Sent()
      let client = Task {
        try await onThread {
          // The kernel keeps little, so that what is sent has been read.
          let socket = try RawSocket(port: port, timeOut: .seconds(20), buffers: 16_384)
          try socket.send("PUT /plain/big HTTP/1.1\r\n\(fields)Content-Length: \(size)\r\n\r\n")
          for piece in 0..<(size / 4096) {
            try socket.send(bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: piece), count: 4096))
            sent.add(4096)
          }
          try socket.send("GET /plain/behind HTTP/1.1\r\n\(fields)\r\n")
          return [try socket.readResponse(), try socket.readResponse()]
        }
      }
      #expect(await eventually { gate.arrived == 1 })
      // It stands still.
      var before = -1
      while before != sent.count {
        before = sent.count
        try await SystemTime().sleep(for: .milliseconds(300))
      }
      // One receive buffer of Intercom's, and what the kernel holds on both sides at the least that it grants.
      #expect(sent.count < 3 << 20, "\(sent.count) bytes were taken while the store was asked")
      #expect(flow.upstream.requests.isEmpty)
      gate.open()
      let answers = try await client.value
      #expect(answers.map(\.status) == [200, 200])
      #expect(answers[0].body.count == size)
      #expect(answers[0].body.indices.allSatisfy { answers[0].body[$0] == UInt8(truncatingIfNeeded: $0 / 4096) })
      #expect(flow.upstream.requests.map(\.path) == ["/plain-root/big", "/plain-root/behind"])
    }
  }
}

/// Bytes that a client got rid of.
private final class Sent: Sendable {
  private let bytes = Atomic<Int>(0)
  var count: Int { bytes.load(ordering: .relaxed) }
  func add(_ more: Int) { bytes.wrappingAdd(more, ordering: .relaxed) }
}
