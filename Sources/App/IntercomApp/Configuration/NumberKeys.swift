import ConfigurationYAML

/// The numbers of behaviour "Times" and "Requests and paths": defaults that fit, with ranges outside of which nothing good happens.
extension ConfigurationKeys {
  enum Timeouts {
    private static let section = "timeouts"
    private static func setting(_ name: String, _ seconds: Int, _ range: ClosedRange<Duration>, _ summary: String) -> DefaultedSetting<
      Duration
    > {
      DefaultedSetting(name, .duration(range), default: .seconds(seconds), summary)
    }
    private static let short: ClosedRange<Duration> = .milliseconds(100) ... .seconds(60)
    private static let long: ClosedRange<Duration> = .seconds(1) ... .seconds(3600)

    static let providerCall = setting("providerCall", 5, short, "One call to the provider.")
    static let tokenOperation = setting("tokenOperation", 8, short, "One refresh or exchange in all, its calls and retries together.")
    static let connect = setting("connect", 2, short, "Connecting to an upstream.")
    static let upstreamHead = setting("upstreamHead", 60, long, "From the end of a request to the head of the upstream's answer; then 504.")
    static let upstreamIdle = setting("upstreamIdle", 60, long, "Between two pieces of an upstream's answer. A whole answer has no limit.")
    static let tunnelIdle = setting(
      "tunnelIdle", 3600, .seconds(1) ... .seconds(86_400),
      "A tunnel (`upgrades`) in which nothing moves in either direction ends after this time. WebSocket applications send pings.")
    static let upstreamKept = setting(
      "upstreamKept", 30, long, "An idle connection to an upstream is kept so long; less than the upstream keeps it is best.")
    static let upstreamPause = setting(
      "upstreamPause", 1, short,
      """
      An endpoint that cannot be reached, or hangs, is left alone for this time, shortened at random by up to a half; then one request tries. \
      Each further failure doubles it.
      """)
    static let upstreamLongestPause = setting(
      "upstreamLongestPause", 30, .milliseconds(100) ... .seconds(3600), "It is doubled up to this.")
    static let names = setting(
      "names", 30, long,
      "Addresses of upstreams' names are looked up again after this time. While the resolver fails or hangs, the last ones are used.")
    static let clientHead = setting("clientHead", 10, short, "From the first to the last byte of a request's head.")
    static let clientIdle = setting("clientIdle", 60, long, "A kept connection without a request.")
    static let clientPace = setting(
      "clientPace", 20, .seconds(1) ... .seconds(600),
      "A body or an answer that the client alone holds up must move `limits.clientPace` in this time.")
    static let drain = setting("drain", 30, .zero ... .seconds(600), "After SIGTERM, requests in flight may take so long to end.")
    static let all = [
      providerCall, tokenOperation, connect, upstreamHead, upstreamIdle, tunnelIdle, upstreamKept, upstreamPause,
      upstreamLongestPause, names,
      clientHead,
      clientIdle, clientPace, drain,
    ]
    static let rows = all.map { $0.row(in: section) }
  }

  enum Limits {
    private static let section = "limits"
    private static func size(_ name: String, _ bytes: Int, _ range: ClosedRange<Int>, _ summary: String) -> DefaultedSetting<Int> {
      DefaultedSetting(name, .size(range), default: bytes, summary)
    }
    private static func count(_ name: String, _ number: Int, _ range: ClosedRange<Int>, _ summary: String) -> DefaultedSetting<Int> {
      DefaultedSetting(name, .integer(range), default: number, summary)
    }

    static let target = size("target", 8 << 10, 1 << 10...64 << 10, "A request's target (path and query); beyond it 414.")
    static let field = size("field", 16 << 10, 1 << 10...64 << 10, "One header field of a request; beyond it 431.")
    static let head = size("head", 32 << 10, 4 << 10...256 << 10, "A request's whole head; beyond it 431.")
    static let fields = count("fields", 128, 16...1024, "Header fields of a request; beyond it 431.")
    static let responseHead = size("responseHead", 64 << 10, 4 << 10...256 << 10, "The head of an upstream's answer; beyond it 502.")
    static let clientPace = size("clientPace", 4 << 10, 1...1 << 20, "What a client must move within `timeouts.clientPace`.")
    static let connections = count(
      "connections", 16_384, 16...1_000_000, "Connections of one loop, those to upstreams included, beyond which accepting pauses.")
    static let upstreamConnections = count(
      "upstreamConnections", 1024, 1...100_000,
      "Connections of one loop to one endpoint of a route; when all of its route's endpoints have as many, 503. Tunnels count. A hung upstream can hold no more."
    )
    static let upstreamIdle = count("upstreamIdle", 64, 0...10_000, "Idle connections that one loop keeps to one endpoint of a route.")
    static let upstreamFailures = count(
      "upstreamFailures", 3, 1...1000,
      "Connections in a row that could not be opened before an endpoint is left alone, if there is another.")
    static let upstreamTimeouts = count(
      "upstreamTimeouts", 10, 1...1000,
      "Requests in a row without an answer within `timeouts.upstreamHead` before an endpoint is left alone; if it is the only one, 503.")
    static let streams = count(
      "streams", 100, 1...1000, "Requests that a client may have under way on one connection of HTTP/2; it waits with more.")
    static let loopRange = 0...256
    static let loops = count(
      "loops", 0, loopRange,
      "Event loops, each with its own thread; 0 is one per core that the process may use, 16 at most. `serve --threads` wins.")
    static let workers = count(
      "workers", 0, 0...256, "Threads for blocking work; 0 chooses by the cores that the process may use, 16 at most.")
    static let all = [
      target, field, head, fields, responseHead, clientPace, connections, upstreamConnections, upstreamIdle, upstreamFailures,
      upstreamTimeouts, streams, loops, workers,
    ]
    static let rows = all.map { $0.row(in: section) }
  }
}
