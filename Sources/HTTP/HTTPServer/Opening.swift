import EventLoop
import IntercomCore
import Linux
import OpenSSL
import TLS

/// Opens one client's connection: reads the PROXY header, agrees upon TLS and upon what is spoken inside, then puts the connection of HTTP/1.1
/// or HTTP/2 into its place.
final class Opening {
  private let server: ServerLoop
  private var peer: SocketAddress
  private var awaitsProxy: Bool
  private let tls: TLSContext?
  private var carrier: TLSCarrier?

  init(server: ServerLoop, peer: SocketAddress, setup: ListenerSetup, tls: TLSContext?) {
    self.server = server
    self.peer = peer
    awaitsProxy = setup.proxies != nil
    self.tls = tls
  }

  /// Takes the descriptor over.
  static func begin(_ descriptor: Int32, _ peer: SocketAddress, _ server: ServerLoop, _ setup: ListenerSetup, tls: TLSContext?) {
    // Whoever is no proxy of ours could name any address as the client's.
    if setup.proxies != nil, !setup.trusts(peer.ip) { return Socket.close(descriptor) }
    let opening = Opening(server: server, peer: peer, setup: setup, tls: tls)
    let source = OpeningConnection(descriptor: descriptor, loop: server.loop) { opening.advance($0) }
    try? source.start(within: server.settings.headTime)
  }

  private func advance(_ source: OpeningConnection) -> OpeningConnection.Progress {
    if awaitsProxy {
      switch ProxyHeader.take(from: source.descriptor) {
      case .waits: return .waits
      case .refused: return .failed
      case .client(let client):
        awaitsProxy = false
        if let client { peer = client }
      }
    }
    guard let tls else {
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
    case .failed: return .failed
    case .done: break
    }
    if carrier.agreedProtocol == .http2 {
      HTTP2Connection(descriptor: source.descriptor, carrier: carrier, peer: peer, server: server).open(inPlaceOf: source)
    } else {
      server.makeExchange(descriptor: source.descriptor, peer: peer, carrier: carrier).open(inPlaceOf: source)
    }
    return .handedOver
  }
}
