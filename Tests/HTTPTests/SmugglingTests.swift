import IntercomTesting
import Linux
import Synchronization
import Testing

/// What must never stand at the beginning of a request that an upstream reads.
private let smuggled = "GET /smuggled HTTP/1.1\r\nHost: intercom.example\r\n\r\n"

/// An upstream that believes what it is told about framing, and notes the first line of every request that it reads.
private final class GullibleUpstream: Sendable {
  let server: RawServer
  private let lines: Monitor<[String]>

  init() throws {
    let lines = Monitor<[String]>([])
    self.lines = lines
    server = try RawServer { socket, _ in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        lines.withLock { $0.append(String(head.prefix { $0 != "\r\n" })) }
        let fields = head.lowercased()
        if fields.contains("chunked") {
          while true {
            let size = try socket.receive(until: "\r\n")
            guard let count = Int(size.prefix { $0 != ";" && $0 != "\r\n" }, radix: 16), count > 0 else { break }
            _ = try socket.receive(exactly: count + 2)
          }
          while try socket.receive(until: "\r\n") != "\r\n" {}
        } else if let length = fields.split(separator: "\r\n").first(where: { $0.hasPrefix("content-length:") }) {
          _ = try socket.receive(exactly: Int(length.filter(\.isNumber)) ?? 0)
        }
        try socket.send(okay)
      }
    }
  }

  /// First lines of the requests so far.
  var requests: [String] { lines.withLock { $0 } }
}

@Suite("Forwarder: requests within requests (S23, faults 41, 43)")
struct SmugglingTests {
  /// Sends these bytes on one connection, and gives the statuses of the final answers until it ends.
  private func send(_ bytes: String, through proxy: Proxy) async throws -> [Int] {
    try await proxy.client { client in
      try client.send(bytes: Array(bytes.unicodeScalars.map { UInt8(clamping: $0.value) }))
      client.shutdownWriting()
      var statuses: [Int] = []
      while let answer = try? client.readResponse() { statuses.append(answer.status) }
      return statuses
    }
  }

  @Test(
    "framing that two readers read differently is refused, the connection ends, and the upstream hears nothing (fault 41)",
    arguments: [
      "Content-Length: 5\r\nContent-Length: 0", "Content-Length: 0\r\nContent-Length: 0", "Content-Length: 0, 0", "Content-Length: +5",
      "Content-Length: -1", "Content-Length: 0x0", "Content-Length: 00", "Content-Length: 5 5", "Content-Length: ", "Content-Length: 1e1",
      "Content-Length: 99999999999999999999", "Content-Length : 0", "Content-Length: 0\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: chunked\r\nContent-Length: 0", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: identity", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: gzip, chunked",
      "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\u{b}chunked",
      "Transfer-Encoding : chunked", " Transfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked",
      "X: y\nTransfer-Encoding: chunked",
      "X: y\rTransfer-Encoding: chunked", "Transfer-Encoding\u{0}: chunked", "Transfer-Encoding: chunked\u{0}",
      "Content-Length: 0\r\nContent-Length\t: 60", "\u{a0}Content-Length: 60",
    ])
  func ambiguous(lines: String) async throws {
    let upstream = try GullibleUpstream()
    try await Proxy.run(to: upstream.server) { proxy in
      let statuses = try await send("POST /x HTTP/1.1\r\nHost: intercom.example\r\n\(lines)\r\n\r\n0\r\n\r\n" + smuggled, through: proxy)
      #expect(statuses.count == 1 && statuses.allSatisfy { [400, 413, 501].contains($0) }, "\(statuses)")
      #expect(upstream.requests.isEmpty, "\(upstream.requests)")
    }
  }

  @Test(
    "a chunked body that two readers end in different places reaches the upstream as no whole request, and nothing comes behind it (fault 41)",
    arguments: [
      "0x5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-0\r\n\r\n", "5\nhello\n0\n\n",
      "5\rhello\r0\r\r",
      "5\r\nhelloXX0\r\n\r\n", "5\r\nhell\r\n0\r\n\r\n", "fffffffffffffffff\r\n", "00000000000000000\r\n\r\n", ";\r\n\r\n", "\r\n\r\n",
      "5;a\nb\r\nhello\r\n0\r\n\r\n", "0\r\nContent-Length: 60\r\n\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n X: y\r\n\r\n",
      "0\r\nX: y\n\r\n", "0\n\r\n", "0\r\n\n",
    ])
  func chunks(body: String) async throws {
    let upstream = try GullibleUpstream()
    try await Proxy.run(to: upstream.server) { proxy in
      let head = "POST /x HTTP/1.1\r\nHost: intercom.example\r\nTransfer-Encoding: chunked\r\n\r\n"
      // The upstream's connection is there already and would be used again.
      #expect(try await send(get, through: proxy) == [200])
      let statuses = try await send(head + body + smuggled, through: proxy)
      #expect(statuses == [400])
      #expect(try await send(get, through: proxy) == [200])
      #expect(upstream.requests.allSatisfy { !$0.contains("smuggled") }, "\(upstream.requests)")
      #expect(upstream.requests.count { $0.hasPrefix("POST") } <= 1 && upstream.requests.count { $0.hasPrefix("GET") } == 2)
    }
  }

  @Test("a request within a body is a body; behind one it is a request of its own, answered on its own (fault 41)")
  func bodies() async throws {
    let upstream = try GullibleUpstream()
    try await Proxy.run(to: upstream.server) { proxy in
      let head = "POST /x HTTP/1.1\r\nHost: intercom.example\r\n"
      let size = String(smuggled.utf8.count, radix: 16)
      let inside = [
        "Content-Length: \(smuggled.utf8.count)\r\n\r\n\(smuggled)",
        "Transfer-Encoding: chunked\r\n\r\n\(size);ext=\"0\"\r\n\(smuggled)\r\n0\r\n\r\n",
        "Transfer-Encoding: cHuNkEd\r\n\r\n\(size)\r\n\(smuggled)\r\n0\r\nX-Sum: 1\r\n\r\n",
      ]
      for body in inside {
        let statuses = try await send(head + body, through: proxy)
        #expect(statuses == [200])
      }
      #expect(upstream.requests == Array(repeating: "POST /x HTTP/1.1", count: 3))
      let pipelined = try await send(head + "Content-Length: 2\r\n\r\nhi" + get, through: proxy)
      #expect(pipelined == [200, 200] && upstream.requests.count == 5)
    }
  }

  @Test(
    "HTTP/1.0: chunked is refused, and so is a body that only the connection's end would end; what follows is no request (fault 43)",
    arguments: [
      "Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nConnection: keep-alive", "Connection: keep-alive", "X: y",
      "Connection: keep-alive\r\nTransfer-Encoding: identity",
    ])
  func oldVersion(lines: String) async throws {
    let upstream = try GullibleUpstream()
    try await Proxy.run(to: upstream.server) { proxy in
      for method in ["POST", "PUT", "PATCH"] {
        let statuses = try await send("\(method) /x HTTP/1.0\r\nHost: intercom.example\r\n\(lines)\r\n\r\n" + smuggled, through: proxy)
        #expect(statuses == [400], "\(method) \(statuses)")
      }
      #expect(upstream.requests.isEmpty, "\(upstream.requests)")
    }
  }
}
