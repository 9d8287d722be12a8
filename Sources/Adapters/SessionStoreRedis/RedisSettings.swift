import EventLoop
import IntercomCore
import OpenSSL

/// Where a Redis server is and who asks.
package struct RedisSettings: Sendable {
  package var host: String
  package var port: Int
  /// An ACL user; `default` with a password is what `requirepass` sets.
  package var user: String
  /// Nil: nothing is said about who asks.
  package var password: Secret<String>?
  package var database: Int
  /// Nil: plain TCP.
  package var tls: TLSContext?
  /// The name that the server's certificate must be for, when it is not `host`.
  package var serverName: String?
  /// `tls` shows a certificate of Intercom's own where the server asks for one.
  package var showsCertificate = false

  /// From a call to its answer, waiting for a connection included.
  package var deadline = Duration.seconds(2)
  /// From a connection's attempt to its being ready.
  package var connectTime = Duration.seconds(2)
  /// Between two attempts; it doubles with each failure, up to the second, and half of it is random. A server that is on its way up, or a
  /// name that leads to one that is not the master, is not asked ten times a second.
  package var pause = Duration.milliseconds(200)
  package var longestPause = Duration.milliseconds(1500)
  /// A connection that ends sooner counts as an attempt that failed.
  package var soundAfter = Duration.seconds(1)
  /// Calls that wait for an answer; more are refused at once.
  package var queueLimit = 16_384
  /// Bytes that wait for the server, or for a connection to it.
  package var queueBytes = 32 << 20

  package init(
    host: String, port: Int = 6379, user: String = "default", password: Secret<String>? = nil, database: Int = 0, tls: TLSContext? = nil,
    serverName: String? = nil
  ) {
    self.host = host
    self.port = port
    self.user = user
    self.password = password
    self.database = database
    self.tls = tls
    self.serverName = serverName
  }
}

/// Why a call to Redis has no answer.
package enum RedisFailure: Error, Sendable, Equatable {
  /// No connection in time, with the reason of the last attempt. Nothing was done.
  case notConnected(String)
  /// It was sent and no answer came: whether it was done is not known.
  case unanswered
  /// Too many calls wait already. Nothing was done.
  case overloaded
}
