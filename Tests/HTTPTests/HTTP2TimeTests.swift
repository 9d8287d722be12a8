import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Testing

/// Slow and silent clients, and how a connection ends.
@Suite("HTTP/2: time and ends", .serialized, .timeLimit(.minutes(3)))
struct HTTP2TimeTests {
  private func quick() -> ServerSettings {
    var settings = ServerSettings()
    settings.headTime = .milliseconds(200)
    settings.idleTime = .milliseconds(300)
    settings.paceWindow = .milliseconds(400)
    return settings
  }

  private static func large() -> EndpointTable {
    var table = endpoints()
    table.add(.get, "/large") { _, _ in
      Response(
        200, Fields(),
        stream: .stream(length: nil) { writer in
          let piece = [UInt8](repeating: 7, count: 16_384)
          for _ in 0..<2_000 { try await writer.write(piece) }
        })
    }
    table.add(.get, "/late") { _, _ in
      try await SystemTime().sleep(for: .milliseconds(700))
      return Response(200, Fields(), text("late"))
    }
    return table
  }

  private static let announced = Int32.max

  @Test("A stream whose window stays shut is reset; the connection and its other streams go on (fault 36)")
  func shutWindow() async throws {
    try await HTTP2Server.run(Self.large(), settings: quick()) { http2 in
      try await http2.client { client in
        client.opensWindows = false
        // Room for the others, none for the stuck one.
        try client.send(.windowUpdate(0, 0x7fff_0000))
        let stuck = try client.request("/large")
        // More than one look at the pace: new streams do not put it off.
        while client.answers[stuck]?.resetCode == nil {
          let answer = try client.answer(on: client.request("/hello"))
          #expect(answer.text == "hello")
        }
        #expect(client.answers[stuck]?.isWhole == false)
      }
    }
  }

  @Test("A client that reads nothing at all loses its connection, whether streams are open or not (fault 36)")
  func deafClient() async throws {
    try await HTTP2Server.run(Self.large(), settings: quick()) { http2 in
      try await http2.client(settings: [(.initialWindowSize, 0x7fff_ffff)], buffers: 4096) { client in
        try client.send(.windowUpdate(0, 0x7fff_0000))
        for _ in 0..<10 { _ = try client.request("/large") }
        // Nothing is read until the server has given up.
        pauseThread(milliseconds: 3_000)
        #expect(throws: HTTP2ClientError.ended) { while true { try client.send(.ping()) } }
      }
      #expect(await eventually { await http2.server.server.connections() == 0 })
    }
  }

  @Test("A head that trickles ends its connection after the time for heads, however lively it is (fault 34)")
  func slowHead() async throws {
    try await HTTP2Server.run(settings: quick()) { http2 in
      try await http2.client { client in
        try client.send(HTTP2Frame(.headers, stream: client.takeStream(), HPACKText.encode(HTTP2Flood.head)))
        let block = HTTP2Frame(.continuation, stream: 1, HPACKText.encode([("x", String(repeating: "y", count: 5_000))])).bytes
        #expect(throws: HTTP2ClientError.ended) {
          for byte in block {
            try client.send([byte])
            pauseThread(milliseconds: 5)
          }
          throw HTTP2ClientError.timedOut
        }
      }
    }
  }

  @Test("An upload that trickles is cut, its neighbours are not (fault 35)")
  func slowBody() async throws {
    try await HTTP2Server.run(settings: quick()) { http2 in
      try await http2.client { client in
        let slow = try client.request("/echo", method: "POST", endsStream: false)
        while client.answers[slow]?.isOver != true {
          if client.answers[slow] == nil { try client.send([1], on: slow, endsStream: false) }
          #expect(try client.answer(on: client.request("/hello")).text == "hello")
          pauseThread(milliseconds: 10)
        }
        #expect(client.answers[slow]?.status != 200)
      }
    }
  }

  @Test("An idle connection is told that it ends, and what its client sent before it knew is still answered (RFC 9113 §6.8)")
  func idle() async throws {
    try await HTTP2Server.run(settings: quick()) { http2 in
      try await http2.client { client in
        #expect(try client.answer(on: client.request("/hello")).text == "hello")
        client.acknowledges = false
        let ping = try Self.ping(client)
        #expect(client.goAways.map(\.last) == [Self.announced] && client.goAways[0].code == 0)
        // This one was on its way when the server spoke.
        #expect(try client.answer(on: client.request("/hello")).text == "hello")
        try client.send(ping)
        try client.receiveToEnd()
        #expect(client.goAways.map(\.last) == [Self.announced, 3])
      }
      // Whoever does not answer is cut.
      try await http2.client { client in
        client.acknowledges = false
        try client.receiveToEnd()
        #expect(client.goAways.map(\.last) == [Self.announced, 0])
      }
      #expect(await eventually { await http2.server.server.connections() == 0 })
    }
  }

  /// Reads up to the server's PING: its answer.
  private static func ping(_ client: HTTP2Client) throws -> HTTP2Frame {
    while true {
      let frame = try client.receive()
      if frame.kind == .ping, frame.flags == 0 { return HTTP2Frame(.ping, flags: HTTP2Frame.ack, frame.payload) }
    }
  }

  @Test("A drain announces the end, answers what was sent before the client knew, refuses what comes after, and then closes")
  func drain() async throws {
    try await HTTP2Server.run(Self.large()) { http2 in
      let isAsked = Gate()
      async let drained = { () async -> Bool in
        await isAsked.pass()
        return await http2.server.server.drain(within: .seconds(20))
      }()
      let codes = try await http2.client { client in
        client.acknowledges = false
        let early = try client.request("/late")
        _ = try client.answer(on: client.request("/hello"))
        isAsked.open()
        let ping = try Self.ping(client)
        let between = try client.request("/late")
        try client.send(ping)
        try client.receive { $0.goAways.count == 2 }
        let late = try client.request("/hello")
        #expect(try client.answer(on: early).text == "late")
        #expect(try client.answer(on: between).text == "late")
        try client.receiveToEnd()
        #expect(client.answers[late] == nil)
        return client.goAways.map { [Int($0.last), Int($0.code)] }
      }
      #expect(codes == [[Int(Self.announced), 0], [5, 0]])
      #expect(await drained)
    }
  }

  @Test("A drain does not wait for clients that neither read nor close")
  func deafDrain() async throws {
    try await HTTP2Server.run { http2 in
      let (isConnected, isDrained) = (Gate(), HTTP2Server.Flag())
      async let client: Void = http2.client { client in
        _ = try client.answer(on: client.request("/hello"))
        isConnected.open()
        while !isDrained.isSet { pauseThread(milliseconds: 10) }
      }
      await isConnected.pass()
      #expect(await http2.server.server.drain(within: .seconds(30)))
      isDrained.set()
      try await client
    }
  }
}
