import EventLoop
import HTTPServer
import Sessions
import Synchronization

/// The gateway's handlers on all loops: where ends of sessions arrive and tasks find their loop's handler again.
package final class GatewayLoops: SessionEndObserver {
  private let server = Mutex<HTTPServer<GatewayHandler>?>(nil)
  private let watch = Mutex<SessionWatch?>(nil)

  package init() {}

  /// Tabs that watch sessions are told of what other replicas change too.
  package func attach(_ watch: SessionWatch) { self.watch.withLock { $0 = watch } }

  /// To be called as soon as the listeners are open. What was told before reached no loop: whatever requests left there by now is dropped.
  package func attach(_ server: HTTPServer<GatewayHandler>) async {
    self.server.withLock { $0 = server }
    await allSessionsChanged()
  }

  /// Returns when no loop can use a copy of these sessions any more.
  package func sessionsEnded(_ sessions: [EndedSession]) async {
    await onEach { handler in handler.sessionsEnded(sessions) }
  }

  /// Group memberships and other claims may be gone with the old tokens: no loop goes on sending them (S27).
  package func sessionRefreshed(_ session: Session) async {
    await onEach { handler in
      guard let view = handler.sessions[key: session.key] else { return }
      view.renew(session)
    }
  }

  /// On every loop.
  func onEach(_ body: @escaping @Sendable (GatewayHandler) -> Void) async {
    await server.withLock { $0 }?.onEachLoop { handler, _ in body(handler) }
  }

  func on(_ actor: LoopActor, _ body: @escaping @Sendable (GatewayHandler) -> Void) async {
    await server.withLock { $0 }?.onLoop(actor) { handler, _ in body(handler) }
  }
}

/// Of a store that other replicas write to as well.
extension GatewayLoops: SessionCopyHolder {
  package func sessionsChanged(_ keys: [SessionKey]) async {
    await server.withLock { $0 }?.onEachLoop { handler, _ in
      handler.sessions.forget(keys)
      handler.connections.sessionsChanged(keys)
    }
    watch.withLock { $0 }?.changed(keys)
  }

  package func allSessionsChanged() async {
    await server.withLock { $0 }?.onEachLoop { handler, _ in
      handler.sessions.forgetAll()
      handler.connections.allSessionsChanged()
    }
    watch.withLock { $0 }?.changed(nil)
  }
}
