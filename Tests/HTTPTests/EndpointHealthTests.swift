import IntercomCore
import Linux
import ReverseProxy
import Testing

private func at(_ milliseconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: milliseconds * 1_000_000) }

private let rules: HealthRules = {
  var rules = HealthRules()
  rules.failures = 3
  rules.timeouts = 2
  return rules
}()

/// Two pauses' worth of jitter: none, and the most.
private let whole: UInt16 = 0
private let half = UInt16.max

@Suite("Endpoint health")
struct EndpointHealthTests {
  @Test(
    "pauses double up to the longest, and jitter takes away up to a half",
    arguments: [
      (0, whole, 1_000), (1, whole, 2_000), (4, whole, 16_000), (5, whole, 30_000), (60, whole, 30_000), (-1, whole, 1_000), (0, half, 500),
      (5, half, 15_000),
    ])
  func pauses(outages: Int, jitter: UInt16, milliseconds: Int) {
    #expect(HealthRules().pause(after: outages, jitter: jitter) == .milliseconds(milliseconds))
  }

  @Test("every jitter gives a pause between a half and the whole")
  func jitter() {
    for jitter in stride(from: UInt16.min, through: .max, by: 257) {
      let pause = HealthRules().pause(after: 2, jitter: jitter)
      #expect(pause >= .seconds(2) && pause <= .seconds(4))
    }
  }

  @Test("as many failed connections in a row as the rules say put an endpoint out; one that opens begins the count anew")
  func unreachable() {
    var health = EndpointHealth()
    func fail(_ now: Int64, probe: Bool = false) -> EndpointHealth.Change? {
      health.connectFailed(isProbe: probe, now: at(now), jitter: whole, rules: rules)
    }
    #expect(fail(0) == nil && fail(1) == nil && health.isInService)
    #expect(health.connected() == nil)
    #expect(fail(2) == nil && fail(3) == nil && health.isInService)
    #expect(fail(4) == .wentOut(.unreachable, .seconds(1)) && health.state == .out(.unreachable, until: at(1_004)))
    // Those that were under way tell nothing new.
    #expect(fail(5) == nil && health.state == .out(.unreachable, until: at(1_004)))
    health.beginProbe()
    #expect(health.state == .probing(.unreachable) && fail(1_500) == nil)
    #expect(fail(1_600, probe: true) == .stayedOut(.unreachable, .seconds(2)) && health.state == .out(.unreachable, until: at(3_600)))
    health.beginProbe()
    #expect(health.connected() == .cameBack(.unreachable) && health.isInService)
    // It opened, but has not answered: the next outage's pause goes on growing.
    #expect(fail(1) == nil && fail(2) == nil && fail(3) == .wentOut(.unreachable, .seconds(4)))
    health.beginProbe()
    _ = health.connected()
    #expect(health.mindsAnswers && health.answered() == nil && !health.mindsAnswers)
    #expect(fail(1) == nil && fail(2) == nil && fail(3) == .wentOut(.unreachable, .seconds(1)))
  }

  @Test("fault 48: as many answers in a row that did not begin in time open the circuit; one answer closes it, whoever asked")
  func hanging() {
    var health = EndpointHealth()
    func hang(_ now: Int64, probe: Bool = false) -> EndpointHealth.Change? {
      health.timedOut(isProbe: probe, now: at(now), jitter: whole, rules: rules)
    }
    #expect(hang(0) == nil && health.answered() == nil)
    #expect(hang(1) == nil && hang(2) == .wentOut(.hanging, .seconds(1)))
    // A connection that opens is no answer.
    #expect(health.connected() == nil && health.state == .out(.hanging, until: at(1_002)))
    health.beginProbe()
    #expect(hang(1_100, probe: true) == .stayedOut(.hanging, .seconds(2)))
    health.beginProbe()
    #expect(health.answered() == .cameBack(.hanging) && health == EndpointHealth())
    // An answer to a request from before the outage.
    #expect(hang(1) == nil && hang(2) == .wentOut(.hanging, .seconds(1)) && health.answered() == .cameBack(.hanging))
  }

  @Test("a probe whose client goes away leaves the next request to try")
  func probeEnds() {
    var health = EndpointHealth()
    _ = health.timedOut(isProbe: false, now: at(0), jitter: whole, rules: rules)
    _ = health.timedOut(isProbe: false, now: at(0), jitter: whole, rules: rules)
    health.endProbe(now: at(1))
    #expect(health.state == .out(.hanging, until: at(1_000)))
    health.beginProbe()
    health.endProbe(now: at(1_200))
    #expect(health.state == .out(.hanging, until: at(1_200)))
    health = EndpointHealth()
    health.beginProbe()
    #expect(health.isInService)
  }
}

@Suite("Endpoint selection")
struct EndpointSelectorTests {
  typealias Candidate = EndpointSelector.Candidate
  private static let now = at(10_000)
  private static let later = at(11_000)
  private static let due = at(9_000)

  private static func picks(_ selector: inout EndpointSelector, _ all: [Candidate], _ count: Int) -> [EndpointSelector.Choice] {
    (0..<count).map { _ in selector.choose(of: all.count, now: now) { all[$0] } }
  }

  @Test("round robin takes turns from where it is told to begin, and skips those that are out or full")
  func roundRobin() {
    var selector = EndpointSelector(.roundRobin, start: 65_535)
    let all = [Candidate(load: 5), Candidate(), Candidate()]
    #expect(Self.picks(&selector, all, 4) == [0, 1, 2, 0].map { .use($0, isProbe: false) })
    let some = [Candidate(), Candidate(state: .out(.unreachable, until: Self.later)), Candidate(hasRoom: false), Candidate()]
    #expect(Self.picks(&selector, some, 4) == [3, 0, 3, 0].map { .use($0, isProbe: false) })
  }

  @Test("least request takes the one with the fewest under way, and equal ones in turn")
  func leastRequest() {
    var selector = EndpointSelector(.leastRequest)
    let all = [Candidate(load: 3), Candidate(load: 1), Candidate(load: 1), Candidate(load: 2)]
    #expect(Self.picks(&selector, all, 3) == [1, 2, 1].map { .use($0, isProbe: false) })
  }

  @Test("an endpoint whose pause is over gets one request when its turn comes", arguments: Balance.allCases)
  func probe(balance: Balance) {
    var selector = EndpointSelector(balance)
    let all = [Candidate(), Candidate(state: .out(.hanging, until: Self.due))]
    #expect(Self.picks(&selector, all, 2).contains(.use(1, isProbe: true)))
    // While it tries the others get everything.
    let probing = [Candidate(), Candidate(state: .probing(.hanging))]
    #expect(Self.picks(&selector, probing, 2) == [0, 0].map { .use($0, isProbe: false) })
  }

  @Test(
    "what becomes of a request when no endpoint is in service",
    arguments: [
      // Never all of them out: the one whose pause ends first is tried anyway.
      (
        [Candidate(state: .out(.unreachable, until: at(12_000))), Candidate(state: .out(.unreachable, until: later))],
        EndpointSelector.Choice.use(1, isProbe: false)
      ),
      ([Candidate(state: .probing(.unreachable)), Candidate(state: .out(.unreachable, until: later))], .use(1, isProbe: false)),
      ([Candidate(state: .probing(.unreachable))], .use(0, isProbe: false)),
      ([Candidate(state: .out(.unreachable, until: later), hasRoom: false)], .full),
      // But one that hangs is left alone.
      ([Candidate(state: .out(.hanging, until: later))], .paused(until: later)),
      ([Candidate(state: .out(.hanging, until: at(12_000))), Candidate(state: .out(.hanging, until: later))], .paused(until: later)),
      ([Candidate(state: .out(.hanging, until: later)), Candidate(state: .out(.unreachable, until: at(12_000)))], .use(1, isProbe: false)),
      ([Candidate(state: .probing(.hanging))], .paused(until: at(11_000))),
      ([Candidate(state: .out(.hanging, until: due))], .use(0, isProbe: true)),
      // Those that work are full: the others are not asked to take what they cannot.
      ([Candidate(hasRoom: false), Candidate(state: .out(.unreachable, until: later))], .full),
      ([], .none),
    ] as [([Candidate], EndpointSelector.Choice)])
  func nobody(all: [Candidate], expected: EndpointSelector.Choice) {
    for balance in Balance.allCases {
      var selector = EndpointSelector(balance)
      #expect(selector.choose(of: all.count, now: Self.now) { all[$0] } == expected)
    }
  }

  @Test("an endpoint is tried once for a request")
  func tried() {
    var selector = EndpointSelector(.roundRobin)
    var tried = EndpointSet()
    var seen: [EndpointSelector.Choice] = []
    for _ in 0..<4 {
      let choice = selector.choose(of: 3, tried: tried, now: Self.now) { _ in Candidate() }
      if case .use(let index, _) = choice { tried.insert(index) }
      seen.append(choice)
    }
    #expect(seen == [0, 1, 2].map { .use($0, isProbe: false) } + [.none])
    #expect(tried.count == 3 && !tried.contains(64))
  }
}

@Suite("Order of addresses")
struct AddressOrderTests {
  private let all: [IPAddress] = [.v4(1), .v4(2), .v4(3)]

  @Test("addresses that failed come last for a while, in the order of their failures")
  func order() {
    var order = AddressOrder()
    #expect(order.ordered(all, now: at(0)) == all)
    order.failed(.v4(2), now: at(0))
    order.failed(.v4(1), now: at(1))
    #expect(order.ordered(all, now: at(2)) == [.v4(3), .v4(2), .v4(1)])
    #expect(order.ordered([.v4(1)], now: at(2)) == [.v4(1)])
    order.worked(.v4(1))
    #expect(order.ordered(all, now: at(2)) == [.v4(1), .v4(3), .v4(2)])
    #expect(order.ordered(all, now: at(60_000)) == all)
  }

  @Test("many failures are not remembered for ever")
  func bound() {
    var order = AddressOrder()
    for number in 0..<100 { order.failed(.v4(UInt32(number)), now: at(0)) }
    let few = (0..<90).map { IPAddress.v4(UInt32($0)) }
    #expect(order.ordered(few, now: at(1)).prefix(84) == few.prefix(84))
  }
}
