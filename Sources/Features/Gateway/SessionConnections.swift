import EventLoop
import HTTPServer
import IntercomCore
import Sessions

/// What goes on of each session on one loop: its tunnels, and its answers that take long (server-sent events, downloads). They end with the session
/// (docs/decisions/0023). Confined to the loop.
final class SessionConnections {
  private struct Item {
    let exchange: ExchangeID
    let key: SessionKey
    let isTunnel: Bool
    /// Its session has ended: what is not done then is cut.
    var cutAt: MonotonicInstant?
  }
  /// What the store said of a session of which the loop holds no live copy.
  private struct Asked {
    var isAsking = false
    /// It was changed while the store was asked.
    var mustAskAgain = false
    /// Not over before.
    var liveUntil = WallInstant(seconds: .min)
    /// Met in the last look at all items.
    var round: UInt32 = 0
  }
  private var items: [SourceID: Item] = [:]
  private var asked: [SessionKey: Asked] = [:]
  private var round: UInt32 = 0
  private var timer: LoopTimer?

  /// Asks the store for a session, whose last use here is noted, and tells by `isOver`.
  var ask: ((SessionKey, WallInstant?) -> Void)?

  private let loop: EventLoop
  private let sessions: SessionTable
  private let manager: SessionManager

  /// An ordinary answer may be done in this time after its session's end. With the time between two looks it stays below the five seconds
  /// after which nothing of a session goes on.
  private static let lastAnswers = Duration.seconds(3)
  private static let betweenLooks = Duration.seconds(1)

  init(loop: EventLoop, sessions: SessionTable, manager: SessionManager) {
    self.loop = loop
    self.sessions = sessions
    self.manager = manager
    timer = LoopTimer(loop: loop) { [unowned self] in look() }
  }

  /// This exchange goes on until `remove`, or until its session ends.
  func add(_ exchange: Exchange, of key: SessionKey) {
    note(exchange, of: key)
    // It may have ended while the upstream was asked.
    if sessions[key: key] == nil { askAbout(key) }
  }

  /// The same without a question.
  func note(_ exchange: Exchange, of key: SessionKey) {
    let id = exchange.exchangeID
    items[id.connection] = Item(exchange: id, key: key, isTunnel: exchange.isTunnel)
    if timer?.isRunning == false { timer?.start(after: Self.betweenLooks) }
  }

  func remove(_ exchange: Exchange) { items[exchange.id] = nil }

  /// These sessions are over: their tunnels end now, their answers soon.
  func end(_ keys: Set<SessionKey>) {
    let until = loop.now.advanced(by: Self.lastAnswers)
    var tunnels: [ExchangeID] = []
    for (source, item) in items where keys.contains(item.key) {
      if item.isTunnel { tunnels.append(item.exchange) } else if item.cutAt == nil { items[source]?.cutAt = until }
    }
    // Each leaves `items`.
    for id in tunnels { loop.exchange(id)?.cut(.sessionEnded) }
  }

  // MARK: sessions that others change

  /// Another replica has changed these, or ended them: the store tells which, for those of which something goes on.
  func sessionsChanged(_ keys: [SessionKey]) {
    guard !items.isEmpty else { return }
    let changed = Set(keys)
    for key in Set(items.values.map(\.key)) where changed.contains(key) { askAgain(key) }
  }

  /// Nobody knows what has changed.
  func allSessionsChanged() { for key in Set(items.values.map(\.key)) { askAgain(key) } }

  private func askAgain(_ key: SessionKey) {
    // An answer that is on its way may be older than the change.
    let isAsking = asked[key]?.isAsking ?? false
    asked[key] = Asked(isAsking: isAsking, mustAskAgain: isAsking, round: round)
    askAbout(key)
  }

  // MARK: sessions that end by their times

  /// Cuts what is due, and looks whether each session still lives. Use of a tunnel is no use of its session: but only the store says that it
  /// is over, for other loops and replicas may have seen it used.
  private func look() {
    let now = manager.now()
    round &+= 1
    var due: [ExchangeID] = []
    var doubtful: Set<SessionKey> = []
    for item in items.values {
      if let cutAt = item.cutAt {
        if cutAt <= loop.now { due.append(item.exchange) }
      } else if sessions[key: item.key]?.isLive(at: now) != true {
        asked[item.key]?.round = round
        if asked[item.key].map({ $0.liveUntil <= now && !$0.isAsking }) ?? true { doubtful.insert(item.key) }
      }
    }
    // An upstream that still thinks may give a short answer.
    for id in due { if let exchange = loop.exchange(id), exchange.hasAnswerBegun { exchange.cut(.sessionEnded) } }
    asked = asked.filter { $0.value.round == round || $0.value.isAsking }
    for key in doubtful { askAbout(key) }
    if !items.isEmpty { timer?.start(after: Self.betweenLooks) }
  }

  private func askAbout(_ key: SessionKey) {
    guard asked[key]?.isAsking != true, let ask else { return }
    asked[key, default: Asked()].isAsking = true
    asked[key]?.round = round
    ask(key, sessions[key: key]?.lastUse)
  }

  /// Whether the session is over by what the store said; nil when it did not answer, which ends nothing: it is asked again.
  func isOver(_ key: SessionKey, _ lookup: SessionLookup?) -> Bool {
    asked[key]?.isAsking = false
    if asked[key]?.mustAskAgain == true {
      asked[key]?.mustAskAgain = false
      askAbout(key)
      return false
    }
    switch lookup {
    case .live(let session):
      let idle = session.lastUse.advanced(by: manager.settings.idle)
      asked[key]?.liveUntil = min(max(idle, manager.now().advanced(by: Self.betweenLooks)), session.absoluteExpiry)
      return false
    case .some(.none), .ended: return true
    case nil: return false
    }
  }
}
