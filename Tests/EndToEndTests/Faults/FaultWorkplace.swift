import IntercomCore
import IntercomTesting
import Linux
import Synchronization

/// `intercom serve` with a public route `/open` to an upstream of raw bytes, and time-outs that a test can wait for. There is no provider.
///
/// The upstream answers `/big` with 8 MiB, reads nothing of the body of `/stuck`, reads everything of other bodies, and says `ok`.
struct FaultWorkplace: Sendable {
  let intercom: IntercomProcess
  private let upstream: RawServer

  var base: String { "http://127.0.0.1:\(intercom.port)" }

  /// Starts everything, tells the story, and ends Intercom in order.
  ///
  /// - Parameters:
  ///   - settings: YAML of the top level.
  ///   - descriptors: how many descriptors Intercom may have.
  static func run(
    _ settings: String = "", descriptors: Int? = nil, _ story: (FaultWorkplace) async throws -> Void
  ) async throws {
    let upstream = try RawServer { socket, _ in try serve(socket) }
    defer { upstream.stop() }
    let configuration = """
      baseURL: http://intercom.localhost
      provider: {issuer: "http://127.0.0.1:1", clientID: intercom, clientSecret: not-so-secret}
      sessions: {store: memory}
      routes:
        open: {path: /open, upstream: "http://127.0.0.1:\(upstream.port)", credential: none, public: true, methods: webdav, stripPrefix: true}
      \(settings)

      """
    let intercom = try await IntercomProcess.serve(configuration, descriptors: descriptors, untilReady: false)
    let workplace = FaultWorkplace(intercom: intercom, upstream: upstream)
    try await intercom.tell {
      try await waitUntilTrue("an answer of the upstream", within: .seconds(30)) { (try? await workplace.ask()) == 200 }
      try await story(workplace)
    }
    let exit = await intercom.child.terminate(grace: .seconds(20))
    guard exit == .code(0) else { throw WaitFailure("intercom ended with \(exit)", within: .zero, seen: intercom.child.outputTail) }
  }

  private static func serve(_ socket: RawSocket) throws {
    let piece = [UInt8](repeating: 120, count: 65_536)
    while true {
      let head = try socket.receive(until: "\r\n\r\n")
      if head.contains(" /big ") {
        try socket.send("HTTP/1.1 200 OK\r\nContent-Length: \(128 * piece.count)\r\n\r\n")
        for _ in 0..<128 { try socket.send(bytes: piece) }
        continue
      }
      if head.contains(" /stuck ") { return pauseThread(milliseconds: 3000) }
      if head.hasPrefix("PUT ") {
        var last: [UInt8] = []
        while !last.suffix(5).elementsEqual("0\r\n\r\n".utf8) {
          last = try socket.receive()
          if last.isEmpty { return }
        }
      }
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }
  }

  /// The status of one ordinary request on a connection of its own.
  func ask() async throws -> Int { try await RawHTTPClient(timeout: .seconds(20)).get(base + "/open/x").status }

  /// The status of the admin listener's `/livez`.
  func health() async throws -> Int {
    try await RawHTTPClient(timeout: .seconds(20)).get("http://127.0.0.1:\(intercom.adminPort)/livez").status
  }

  /// What ordinary clients saw.
  struct Visits: Sendable {
    var answered = 0
    var failures: [String] = []
    var times: [Duration] = []
    var p99: Duration { times.isEmpty ? .zero : times.sorted()[times.count * 99 / 100] }
  }

  /// Ordinary requests, one after the other, while `body` runs.
  func visits(while body: () async throws -> Void) async throws -> Visits {
    let isOver = Monitor(false)
    let asking = Task {
      var visits = Visits()
      let time = SystemTime()
      while !isOver.withLock({ $0 }) {
        let start = time.monotonicNow()
        do {
          let status = try await ask()
          if status == 200 { visits.answered += 1 } else { visits.failures.append("\(status)") }
        } catch { visits.failures.append("\(error)") }
        visits.times.append(start.duration(to: time.monotonicNow()))
        try? await time.sleep(for: .milliseconds(10))
      }
      return visits
    }
    let result: Result<Void, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    isOver.withLock { $0 = true }
    let visits = await asking.value
    try result.get()
    return visits
  }
}
