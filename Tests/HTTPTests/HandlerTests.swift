import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Synchronization
import Testing

private final class Count: ExchangeContext {
  var rounds = 0
  init() {}
}

/// Holds each request twice before it answers, and answers nothing at all for one path.
private final class Holding: RequestHandler {
  typealias Context = Count
  let ended: Mutex<[ExchangeSummary]> = Mutex([])
  /// The rounds that each exchange's context counted.
  let rounds: Mutex<[Int]> = Mutex([])
  let loop: EventLoop
  init(_ loop: EventLoop) { self.loop = loop }

  func handle(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<Holding>) {
    exchange.context.rounds += 1
    exchange.answerLines = Array("Vary: Origin\r\n".utf8)
    let path = String(decoding: head.request.path.bytes(in: bytes), as: UTF8.self)
    if path == "/forgets" { return }
    guard exchange.context.rounds > 2 else {
      let id = exchange.hold()
      loop.spawn { actor in
        await Task.yield()
        await actor.withLoop { loop in loop.exchange(id)?.rehandle() }
      }
      return
    }
    exchange.answer(200, body: Array("\(path) \(exchange.context.rounds)".utf8))
  }

  func exchangeEnded(_ summary: ExchangeSummary, _ exchange: ServerConnection<Holding>) {
    ended.withLock { $0.append(summary) }
    let count = exchange.context.rounds
    exchange.context.rounds = 0
    rounds.withLock { $0.append(count) }
  }
}

private func withHolding(_ body: (TestServer<Holding>) async throws -> Void) async throws {
  try await TestServer.run(makeHandler: { Holding($0) }, body)
}

@Suite("HTTP server: handlers")
struct HandlerTests {
  @Test("a held request is asked about again with the same head and its context, and then the next one")
  func hold() async throws {
    try await withHolding { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send(
          "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\n\r\n")
        for path in ["/a", "/b", "/c"] {
          let answer = try client.readResponse()
          #expect(answer.text == "\(path) 3" && answer.field("Vary") == "Origin")
        }
      }
      let summaries = Mutex<[ExchangeSummary]>([])
      await server.server.onLoop(server.group.loops[0]) { handler, _ in
        let ended = handler.ended.withLock { $0 }
        summaries.withLock { $0 = ended }
      }
      let ended = summaries.withLock { $0 }
      #expect(ended.map(\.status) == [200, 200, 200])
      #expect(ended.map(\.bytesIn) == [3, 0, 0])
      #expect(ended.allSatisfy { $0.ending == .complete && $0.bytesOut > 0 })
    }
  }

  @Test("a handler that forgets to answer costs one connection and a 500, not the process")
  func forgetful() async throws {
    try await withHolding { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /forgets HTTP/1.1\r\nHost: x\r\n\r\n")
        let answer = try client.readResponse()
        #expect(answer.status == 500 && answer.field("Connection") == "close" && answer.field("Vary") == "Origin")
        let next = try RawSocket(port: port)
        try next.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try next.readResponse().status == 200)
      }
    }
  }

  @Test("a client that goes away while its request is held leaves nothing behind")
  func gone() async throws {
    try await withHolding { server in
      for _ in 0..<20 {
        try await server.client { port in
          let client = try RawSocket(port: port)
          try client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
          client.reset()
        }
      }
      #expect(await eventually { await server.server.connections() == 0 })
    }
  }

  @Test("a refused head has a context of its own, not that of the request before")
  func refused() async throws {
    try await withHolding { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        #expect(try client.readResponse().status == 200)
        #expect(try client.readResponse().status == 400)
      }
      let seen = Mutex<(rounds: [Int], endings: [ExchangeSummary.Ending])>(([], []))
      await server.server.onLoop(server.group.loops[0]) { handler, _ in
        let (rounds, ended) = (handler.rounds.withLock { $0 }, handler.ended.withLock { $0 })
        seen.withLock { $0 = (rounds, ended.map(\.ending)) }
      }
      #expect(seen.withLock { $0.rounds } == [3, 0])
      #expect(seen.withLock { $0.endings } == [.complete, .refused])
    }
  }
}
