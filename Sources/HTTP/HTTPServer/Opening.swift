import EventLoop
import IntercomCore
import Linux
import OpenSSL
import TLS
import Telemetry

/// Opens one client's connection: reads the PROXY header, agrees upon TLS and upon what is spoken inside, then puts the connection of HTTP/1.1
/// or HTTP/2 into its place.
final class Opening {
  private let server: ServerLoop
  private var peer: SocketAddress
  private var awaitsProxy: Bool
  private let tls: TLSContext?
  private var carrier: TLSCarrier?

  init(server: ServerLoop, peer: SocketAddress, setup: ListenerSetup) {
    self.server = server
    self.peer = peer
    awaitsProxy = setup.proxies != nil
    tls = setup.tls
    server.openings += 1
  }

  deinit { server.openings -= 1 }

  /// Takes the descriptor over.
  static func begin(_ descriptor: Int32, _ peer: SocketAddress, _ server: ServerLoop, _ setup: ListenerSetup) {
    let opening = Opening(server: server, peer: peer, setup: setup)
    // Whoever is no proxy of ours could name any address as the client's.
    if setup.proxies != nil, !setup.trusts(peer.ip) {
      opening.refuseProxy(.untrusted)
      return Socket.close(descriptor)
    }
    let source = OpeningConnection(
      descriptor: descriptor, loop: server.loop, advance: { opening.advance($0) }, gaveUp: { opening.gaveUp(isLate: $0) })
    try? source.start(within: server.settings.headTime)
  }

  private func advance(_ source: OpeningConnection) -> OpeningConnection.Progress {
    if awaitsProxy {
      switch ProxyHeader.take(from: source.descriptor) {
      case .waits: return .waits
      case .ended: return .ended
      case .refused:
        refuseProxy(.malformed)
        return .failed
      case .client(let client):
        awaitsProxy = false
        if let client { peer = client }
      }
    }
    guard let tls else {
      server.settings.metrics?.opened(.http11)
      server.makeExchange(descriptor: source.descriptor, peer: peer, carrier: nil).open(inPlaceOf: source)
      return .handedOver
    }
    return agree(tls, source)
  }

  private func agree(_ tls: TLSContext, _ source: OpeningConnection) -> OpeningConnection.Progress {
    if carrier == nil { carrier = (try? TLSChannel(server: tls, descriptor: source.descriptor)).map { TLSCarrier($0) } }
    guard let carrier else { return .failed }
    switch carrier.handshake() {
    case .waits: return .waits
    case .failed(let failure):
      if failure == .ended { return .ended }
      refuseTLS(failure)
      return .failed
    case .done: break
    }
    let isHTTP2 = carrier.agreedProtocol == .http2
    server.settings.metrics?.agreed(.done)
    server.settings.metrics?.opened(isHTTP2 ? .http2 : .http11)
    if isHTTP2 {
      let connection = HTTP2Connection(descriptor: source.descriptor, carrier: carrier, peer: peer, server: server)
      connection.open(inPlaceOf: source)
      if server.isDraining { connection.endSoon() }
    } else {
      server.makeExchange(descriptor: source.descriptor, peer: peer, carrier: carrier).open(inPlaceOf: source)
    }
    return .handedOver
  }

  // MARK: what does not come about

  private func gaveUp(isLate: Bool) {
    if awaitsProxy { return refuseProxy(isLate ? .timedOut : .ended) }
    server.settings.metrics?.agreed(isLate ? .timedOut : .ended)
  }

  private func refuseProxy(_ cause: ListenerMetrics.ProxyRefusal) {
    server.settings.metrics?.refused(cause)
    server.settings.log.debug(
      "proxy_header_refused", "A connection without a PROXY header that counts was closed.",
      ["cause": .string(cause.rawValue), "peer": .string(peer.ip.description)])
  }

  private func refuseTLS(_ failure: CarrierFailure) {
    let reason: String
    switch failure {
    case .identity(let text):
      server.settings.metrics?.agreed(.certificate)
      reason = text
    case .protocolError(let text):
      server.settings.metrics?.agreed(.incompatible)
      reason = text
    }
    server.settings.log.debug(
      "tls_refused", "A client and Intercom could not agree upon TLS.",
      ["reason": .string(reason), "peer": .string(peer.ip.description)])
  }
}
