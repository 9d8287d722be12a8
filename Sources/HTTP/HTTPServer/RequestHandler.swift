import EventLoop
import HTTP1
import HTTPMessage
import IntercomCore

/// State that a handler keeps for one exchange. Each connection has one, used for one request after the other: a class, so that looking at it
/// needs no check for exclusive access, which a connection's own variable would. The handler forgets a request in `exchangeEnded`; from here,
/// where the handler's type is not known, the same call would cost a look-up of its type.
package protocol ExchangeContext: AnyObject, SendableMetatype { init() }

/// No state.
package final class NoContext: ExchangeContext { package init() {} }

/// What answers the requests of a listener: one object per loop, confined to it. Must be a `final class`; connections are generic over it.
package protocol RequestHandler: AnyObject, SendableMetatype {
  associatedtype Context: ExchangeContext = NoContext

  /// A request's head has come. Before it returns the handler calls exactly one of `exchange.answer`, `run`, `hold` or `forward`.
  ///
  /// `bytes` begin with the head, `head.request.headLength` long; behind it may stand what of the body has come. Both are valid during the
  /// call only.
  func handle(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<Self>)

  /// An exchange is over, or a head was refused; called once for each.
  func exchangeEnded(_ summary: ExchangeSummary, _ exchange: ServerConnection<Self>)

  /// An answer that is forwarded has not ended when its pace is looked at; called each time.
  func answerGoesOn(_ exchange: ServerConnection<Self>)
}

extension RequestHandler {
  package func exchangeEnded(_ summary: ExchangeSummary, _ exchange: ServerConnection<Self>) {}
  package func answerGoesOn(_ exchange: ServerConnection<Self>) {}
}

/// The name of one exchange: a connection and the request's number on it. It may leave the loop; `EventLoop.exchange` finds it while it lasts.
package struct ExchangeID: Hashable, Sendable {
  package let connection: SourceID
  package let sequence: UInt32
}

/// How an exchange went, for metrics and the log.
package struct ExchangeSummary: Sendable {
  package enum Ending: String, Sendable, CaseIterable {
    case complete
    /// The head was refused by the parser, or the body's framing is broken.
    case refused
    /// The client went away before the answer's end.
    case clientGone
    /// The client was too slow.
    case timedOut
    /// The upstream broke its answer off.
    case upstreamBroken
    /// Intercom's own fault.
    case failed
    /// The session that it belonged to has ended.
    case sessionEnded
    /// A tunnel that was open when the server drained.
    case drained
  }
  package var method: Method
  /// 0 when no answer was begun.
  package var status: Int
  /// Bytes of the request's body and of the whole answer.
  package var bytesIn: Int
  package var bytesOut: Int
  package var nanoseconds: Int64
  package var ending: Ending
  /// The word of the problem (RFC 9457) that the server or the forwarder answered: `upstream_unreachable`, `bad_header` …
  package var problem: String?

  package var duration: Duration { .nanoseconds(nanoseconds) }
}

/// What takes a request's body on and gives the answer: the forwarder. It is told of the client, and calls the exchange's `send…` functions.
package protocol ExchangeSink: AnyObject {
  /// `Exchange.answerLines` while this works on the exchange: they are asked for only when Intercom itself answers.
  var answerLines: [UInt8] { get }
  /// The next bytes of the body as they came (chunked framing included, already checked). May be empty when `isLast`.
  func takeBody(_ bytes: borrowing Span<UInt8>, isLast: Bool)
  /// Everything that waited for the client has been sent.
  func clientDrained()
  /// The client of a tunnel sends no more.
  func clientEnded()
  /// The client is gone, or the exchange is over for another reason: forget it and end the work.
  func exchangeEnded()
}

extension ExchangeSink {
  package func clientEnded() {}
}

extension EventLoop {
  /// The exchange of that id while it is going on.
  package func exchange(_ id: ExchangeID) -> Exchange? {
    guard let exchange = source(id.connection) as? Exchange, exchange.isCurrent(id) else { return nil }
    return exchange
  }
}
