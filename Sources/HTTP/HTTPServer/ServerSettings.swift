import HTTP1
import HTTPMessage
import IntercomCore
import NGHTTP2
import Telemetry

/// Limits and times of a listener's connections (behaviour: "Times", "Requests and paths").
package struct ServerSettings: Sendable {
  package var headLimits = HeadLimits.request
  /// From a head's first byte to its last.
  package var headTime = Duration.seconds(10)
  /// Between an answer and the next request's first byte.
  package var idleTime = Duration.seconds(60)
  /// A body or an answer that the client alone holds up must move `paceBytes` in this time.
  package var paceWindow = Duration.seconds(20) { didSet { paceCheck = paceWindow / 4 } }
  /// How often the pace is looked at.
  private(set) var paceCheck = Duration.seconds(5)
  package var paceBytes = 4096
  /// Bytes of a request body that are swallowed after an early answer; beyond that the connection closes instead.
  package var swallowedBody = 65_536
  /// Bytes of an answer that may wait for a slow client before its producer has to wait.
  package var waitingOutput = 262_144
  /// Bytes of a request body that may wait for a slow endpoint before reading stops.
  package var waitingInput = 65_536
  /// Connections of one loop, those to upstreams included, beyond which accepting pauses.
  package var maximumConnections = Int.max
  /// Field lines, each with its CRLF, of the answers that no handler has a hand in: a head that the parser refuses, one that took too long.
  /// Given the Origin, where the head can be read for it.
  package var refusalLines: @Sendable (_ origin: [UInt8]?) -> [UInt8] = { _ in [] }
  /// What a person is shown in place of a problem document; nil: the document, for everybody.
  package var problemPage: (@Sendable (Problem) -> (fields: Fields, body: [UInt8]))?
  /// Names that no trailer of a request may have, such as the identity fields that Intercom sets: some backends read trailers as fields of
  /// the head (RFC 9110 §6.5.1).
  package var guardedTrailers = FieldNameSet()
  /// Bounds of a connection of HTTP/2.
  package var http2 = HTTP2Limits()
  /// Those in front of all listeners who may name their clients in requests.
  package var proxies = TrustedProxies()
  /// Where connections are counted; nil: nowhere.
  package var metrics: ListenerMetrics?
  package var random: any RandomSource = SystemRandom()
  package var log = StructuredLog.none

  package init() {}
}
