import HTTP1

/// How connections to upstreams are kept. Times belong to the routes (`UpstreamTimeouts`).
package struct ForwardSettings: Sendable {
  /// Idle connections that one loop keeps for one upstream; more are closed.
  package var idleConnections = 64
  /// Connections of one loop to one upstream; a request beyond them is 503, so that one slow upstream cannot take every descriptor.
  package var connections = 1024
  /// How long an idle connection is kept: less than the keep-alive time of common servers, or the next request meets a closed one.
  package var pooledTime = Duration.seconds(30)
  /// Bytes of a request's body that may wait for a slow upstream before the client has to wait.
  package var waitingOutput = 262_144
  /// Of an answer's head.
  package var answerLimits = HeadLimits.response

  package init() {}
}
