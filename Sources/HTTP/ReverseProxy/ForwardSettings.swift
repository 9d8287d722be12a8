import HTTP1
import IntercomCore

/// How connections to upstreams are kept. Times of single requests belong to the routes (`UpstreamTimeouts`).
package struct ForwardSettings: Sendable {
  /// Idle connections that one loop keeps for one endpoint; more are closed.
  package var idleConnections = 64
  /// Connections of one loop to one endpoint; a request beyond them is 503, so that one slow upstream cannot take every descriptor.
  package var connections = 1024
  /// Connections of one loop, those of clients included, beyond which none is opened: the rest of the process's descriptors is for others.
  package var loopConnections = Int.max
  /// How long an idle connection is kept: less than the keep-alive time of common servers, or the next request meets a closed one.
  package var pooledTime = Duration.seconds(30)
  /// When an endpoint is out of service, and for how long.
  package var health = HealthRules()
  /// Bytes of a request's body that may wait for a slow upstream before the client has to wait.
  package var waitingOutput = 262_144
  /// Of an answer's head.
  package var answerLimits = HeadLimits.response
  /// Spreads pauses and the first endpoints of the loops.
  package var random: any RandomSource = SystemRandom()

  package init() {}

  func jitter() -> UInt16 { random.bytes(2).reduce(0) { $0 << 8 | UInt16($1) } }
}
