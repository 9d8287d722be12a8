import EventLoop
import HTTP1
import IntercomCore
import Linux

/// A connection of a listener whose requests `Handler` answers. All machinery is in `Exchange`, which is not generic: only the two calls to
/// the handler are.
package final class ServerConnection<Handler: RequestHandler>: Exchange {
  /// The handler's own state for the exchange that is going on.
  package let context = Handler.Context()
  private let handlerLoop: HandlerLoop<Handler>

  init(descriptor: Int32, peer: SocketAddress, server: HandlerLoop<Handler>, carrier: (any ByteCarrier)?) {
    handlerLoop = server
    super.init(descriptor: descriptor, peer: peer, server: server, carrier: carrier)
  }

  package var handler: Handler { handlerLoop.handler }

  override func dispatch(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) { handlerLoop.handler.handle(head, bytes, self) }
  override func report(_ summary: ExchangeSummary) { handlerLoop.handler.exchangeEnded(summary, self) }
  override func goesOn() { handlerLoop.handler.answerGoesOn(self) }
}
