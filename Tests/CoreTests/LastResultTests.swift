import IntercomCore
import Telemetry
import Testing

@Suite("Last results")
struct LastResultTests {
  private static func at(_ seconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: seconds * 1_000_000_000) }

  @Test("an outage lasts from its first failure to the next call that goes well, with the reason of the last")
  func outage() {
    let result = LastResult()
    #expect(result.text(Self.at(1)) == "not used yet" && !result.works)
    result.failed("upstream_timeout", now: Self.at(10))
    result.failed("upstream_unreachable", now: Self.at(20))
    #expect(result.text(Self.at(52)) == "failing: upstream_unreachable since 42 s" && !result.works)
    result.worked()
    #expect(result.text(Self.at(60)) == "ok" && result.works && result.failure(Self.at(60)) == nil)
    result.failed("upstream_broken", now: Self.at(70))
    #expect(result.text(Self.at(69)) == "failing: upstream_broken since 0 s")
  }

  @Test("a reason is short and one line, whatever it was made of")
  func reason() {
    let result = LastResult()
    result.failed("a\r\nsessions: ok\u{1b}[0m\u{e9}" + String(repeating: "x", count: 10_000), now: Self.at(0))
    let text = result.text(Self.at(1))
    #expect(text.hasPrefix("failing: a??sessions: ok?[0m??xxx") && text.utf8.count < 450)
    #expect(text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f })
  }

  @Test("another configuration keeps what is known of services that stay where they are, in its own order")
  func renewed() {
    let first = LastResults().renewed(for: [.init("route fs", at: "a:1"), .init("route wiki", at: "b:1"), .init("route nob", at: "c:1")])
    first[.init("route fs", at: "a:1")].worked()
    first[.init("route wiki", at: "b:1")].failed("upstream_unreachable", now: Self.at(1))
    first[.init("route gone", at: "d:1")].worked()
    let next = first.renewed(for: [.init("route new", at: "e:1"), .init("route wiki", at: "b:1"), .init("route fs", at: "a:2")])
    #expect(next.lines(Self.at(3)).map(\.name) == ["route new", "route wiki", "route fs"])
    #expect(next.lines(Self.at(3)).map(\.text) == ["not used yet", "failing: upstream_unreachable since 2 s", "not used yet"])
    #expect(first.lines(Self.at(3)).map(\.text) == ["ok", "failing: upstream_unreachable since 2 s", "not used yet"])
  }
}
