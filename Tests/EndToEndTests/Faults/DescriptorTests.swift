import IntercomCore
import IntercomTesting
import Linux
import Testing

/// More clients than the process may have descriptors.
@Suite("Faults: no descriptor left", .serialized)
struct DescriptorTests {
  @Test(
    "with 256 descriptors and 1,000 clients health is answered, who is connected is served, nothing spins, the log stays short, and it recovers (fault 38)",
    .timeLimit(.minutes(2)))
  func exhausted() async throws {
    raiseDescriptorLimit()
    try await FaultWorkplace.run(descriptors: 256) { place in
      let port = UInt16(clamping: place.intercom.port)
      let first = try await onThread { try RawSocket(port: port, timeOut: .seconds(20)) }
      let get = "GET /open/x HTTP/1.1\r\nHost: a\r\n\r\n"
      let ask: @Sendable () throws -> Int = {
        try first.send(get)
        return try first.readResponse().status
      }
      #expect(try await onThread { try ask() } == 200)
      let crowd = try SlowClients(1_000, port: place.intercom.port, opening: "", beat: .receive(1024), every: 50)
      _ = try await place.intercom.child.line("that clients must wait") { $0.contains("connection_limit") }
      let time = SystemTime()
      let (start, used) = (time.monotonicNow(), place.intercom.child.processorTime)
      for _ in 0..<Rounds.count(20, full: 600) {
        #expect(try await place.health() == 200)
        #expect(try await onThread { try ask() } == 200)
        try await time.sleep(for: .milliseconds(100))
      }
      let (took, worked) = (start.duration(to: time.monotonicNow()), place.intercom.child.processorTime - used)
      // A loop that spins takes a whole processor, and there are two.
      #expect(worked < took / 2, "\(worked) in \(took)")
      let lines = place.intercom.child.lines.count { $0.contains("connection_limit") || $0.contains("descriptors_exhausted") }
      let seconds = Int(took.components.seconds)
      // Once a second and loop, and a few before the counting began.
      #expect(lines <= 4 * (seconds + 10), "\(lines) lines in \(took)")
      #expect(!place.intercom.child.output.contains("descriptors_exhausted"))
      #expect(place.intercom.child.exit == nil)
      try await crowd.stop()
      #expect(try await place.ask() == 200)
      first.close()
      try Rounds.keep(
        "fault 38: 1,000 clients at 256 descriptors for \(took): \(worked) of processor time, \(lines) lines, health always 200")
    }
  }
}
