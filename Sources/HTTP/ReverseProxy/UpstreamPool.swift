import EventLoop
import IntercomCore

/// The connections of one loop to one upstream.
final class UpstreamHost {
  let host: Identifier
  let port: Int
  private let settings: ForwardSettings
  private var idle: [UpstreamConnection] = []
  /// Open or being opened, idle ones included.
  private(set) var open = 0

  init(host: Identifier, port: Int, settings: ForwardSettings) {
    self.host = host
    self.port = port
    self.settings = settings
  }

  var isFull: Bool { open >= settings.connections }
  func opened() { open += 1 }

  /// The idle connection that was used last: the one least likely to be closed by the upstream.
  func takeIdle() -> UpstreamConnection? {
    while let connection = idle.popLast() {
      if !connection.isClosed, !connection.peerHasEnded { return connection }
    }
    return nil
  }

  /// Keeps a connection for the next request, or closes it when enough are kept.
  func giveBack(_ connection: UpstreamConnection) {
    guard !connection.isClosed else { return }
    guard idle.count < settings.idleConnections else { return connection.close() }
    idle.append(connection)
    connection.setDeadline(after: settings.pooledTime)
  }

  func closed(_ connection: UpstreamConnection) {
    open -= 1
    if let index = idle.firstIndex(where: { $0 === connection }) { idle.remove(at: index) }
  }
}

/// The upstreams of one loop. There are as many as routes have different ones, so a search by comparing is quicker than a hash.
final class UpstreamPool {
  private var hosts: [UpstreamHost] = []
  private let settings: ForwardSettings

  init(settings: ForwardSettings) { self.settings = settings }

  func host(of endpoint: UpstreamEndpoint) -> UpstreamHost {
    for host in hosts where host.port == endpoint.port && host.host == endpoint.host { return host }
    let host = UpstreamHost(host: endpoint.host, port: endpoint.port, settings: settings)
    hosts.append(host)
    return host
  }
}
