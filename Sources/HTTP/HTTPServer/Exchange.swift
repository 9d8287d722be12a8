import EventLoop
import HTTP1
import HTTPMessage
import IntercomCore
import Linux

/// A client's connection and the exchange that is going on upon it. Requests are answered one after the other; what a client sends ahead
/// waits here (one receive buffer at most) and in the kernel.
package class Exchange: TCPConnection {
  enum Phase: UInt8 {
    /// Between exchanges, or within a head.
    case idle
    /// The handler is being asked.
    case deciding
    /// The handler wants to be asked again.
    case held
    /// An endpoint's task is at work.
    case running
    /// The forwarder is at work.
    case forwarding
    /// Answered; the rest of the request's body is thrown away.
    case swallowing
    /// The last exchange is over; the connection closes when everything is sent.
    case closing
  }

  package final let server: ServerLoop
  package final let peer: SocketAddress
  /// `peer` is a proxy that names its clients request by request.
  package final let isBehindProxy: Bool

  // What changes is internal or private, and no access lasts while other code runs: so the compiler proves it exclusive instead of asking the
  // runtime at each. What other modules may see they read through functions.
  private final var linesOfPeer: [UInt8] = []
  final var phase = Phase.idle
  private final var sequence: UInt32 = 0

  // Input
  private final var buffered: [UInt8] = []
  private final var partial: HeadReader?
  private final var isHeadBegun = false
  private final var isConsuming = false
  private final var isRehandled = false
  final var body = RequestBodyState(.none)
  /// While a chunked body comes.
  private final var chunks: ChunkedScanner?
  final var isBodyPaused = false
  private final var bodyPauses: UInt32 = 0
  private final var bodyTaken = 0
  private final var swallowed = 0

  // The request
  final var method = Method.get
  final var isHTTP10 = false
  final var expectsContinue = false
  final var wantsKeepAlive = true
  private final var began: Int64
  private final var sentBefore = 0

  // The answer
  final var isAnswerStarted = false
  final var answerStatus = 0
  /// The word of the problem that was answered.
  final var problemCode: String?
  final var answerCoding = AnswerCoding.none
  final var isAnswerDone = false
  private final var linesOfAnswer: [UInt8] = []
  final var sinkAtWork: (any ExchangeSink)?
  final var work: EndpointWork?

  /// The client and an upstream have left HTTP behind: what comes is the sink's, both ways.
  final var isTunnelling = false
  /// A person looks at the answer: a problem is shown as a page. To be said of each request.
  final var wantsPage = false
  private final var pace = Pace()
  /// `sentBytes` when it was last looked whether a client that has ended its direction is gone; nil when there was no need to look.
  final var sentAtLook: Int?
  final var wasAsked = false

  init(descriptor: Int32, peer: SocketAddress, server: ServerLoop, carrier: (any ByteCarrier)?) {
    self.server = server
    self.peer = peer
    isBehindProxy = server.settings.proxies.trusts(NetworkAddress(peer.ip))
    began = server.loop.now.nanoseconds
    super.init(descriptor: descriptor, loop: server.loop, carrier: carrier)
  }

  /// Puts the connection to work.
  final func open() throws(EventLoopError) {
    try start()
    server.connections += 1
    setDeadline(afterNanoseconds: server.idleLimit)
  }

  /// Puts the connection to work in the place of the one that opened it.
  final func open(inPlaceOf source: EventSource) {
    start(inPlaceOf: source)
    server.connections += 1
    setDeadline(afterNanoseconds: server.idleLimit)
  }

  // MARK: what others may see

  /// What whoever forwards makes of `peer`, once for all requests of the connection; empty behind a proxy.
  package final var peerLines: [UInt8] {
    get { linesOfPeer }
    set { linesOfPeer = newValue }
  }
  /// The client of this request knows neither chunks nor interim answers.
  package final var isOldClient: Bool { isHTTP10 }
  package final var sink: (any ExchangeSink)? { sinkAtWork }
  /// Field lines, each with its CRLF, that every answer of this exchange gets, errors too (CORS and Vary). A sink has its own.
  package final var answerLines: [UInt8] {
    get { linesOfAnswer.isEmpty ? sinkAtWork?.answerLines ?? [] : linesOfAnswer }
    set { linesOfAnswer = newValue }
  }

  // MARK: what the subclass knows

  func dispatch(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) {}
  func report(_ summary: ExchangeSummary) {}
  func goesOn() {}

  // MARK: names

  package final var exchangeID: ExchangeID { ExchangeID(connection: id, sequence: sequence) }
  package final func isCurrent(_ id: ExchangeID) -> Bool {
    id.connection == self.id && id.sequence == sequence && phase != .idle && phase != .closing && !isClosed
  }
  package final var isIdle: Bool { phase == .idle && partial == nil }
  /// No request has come.
  final var isFresh: Bool { sequence == 0 }

  // MARK: input

  package final override func onData(_ bytes: borrowing Span<UInt8>) {
    if buffered.isEmpty {
      let used = consume(bytes)
      if used < bytes.count, !isClosing { buffered = [UInt8](copying: bytes.extracting(used...)) }
    } else {
      var all = buffered
      buffered = []
      all.append(copying: bytes)
      buffered = all
      consumeBuffered()
    }
  }

  package final override func afterTurn() { consumeBuffered() }

  private final func consumeBuffered() {
    guard !isConsuming, !isClosing, !buffered.isEmpty else { return }
    let all = buffered
    buffered = []
    let used = consume(all.span)
    guard !isClosing else { return }
    if used < all.count { buffered = used == 0 ? all : Array(all[used...]) }
    guard peerHasEnded else { return }
    // What is left is no whole head, or a body breaks off, and no more will come.
    if phase == .idle { endConnection(nil) } else { clientEnded() }
  }

  /// How many bytes were taken.
  private final func consume(_ bytes: borrowing Span<UInt8>) -> Int {
    isConsuming = true
    defer { isConsuming = false }
    var at = 0
    while at < bytes.count, !isClosing {
      let used = take(bytes.extracting(at...))
      guard used > 0 else { break }
      at &+= used
    }
    return at
  }

  private final func take(_ bytes: borrowing Span<UInt8>) -> Int {
    switch phase {
    case .idle:
      // A client that sends requests ahead but does not read the answers.
      guard pendingBytes <= server.times.waitingOutput else { break }
      return takeHead(bytes)
    case .running, .forwarding, .swallowing:
      guard !body.isDone, !isBodyPaused else { break }
      return takeBody(bytes)
    case .deciding, .held, .closing: break
    }
    pauseReading()
    return 0
  }

  private final func takeHead(_ bytes: borrowing Span<UInt8>) -> Int {
    let reader = partial.take() ?? server.takeReader()
    // The parser by itself, so that one access is open while it works, not two.
    var parser = reader.parser
    let result = parser.parse(bytes, into: &reader.head)
    reader.parser = parser
    switch result {
    case .incomplete:
      if !isHeadBegun { setDeadline(afterNanoseconds: server.times.head) }
      isHeadBegun = true
      partial = reader
      return 0
    case .refused(let refusal):
      beginExchange()
      refuse(refusal, reader.head.request.method, bytes)
      server.giveBack(reader)
      return 0
    case .complete:
      let used = begin(reader.head, bytes)
      server.giveBack(reader)
      return used
    }
  }

  private final func beginExchange() {
    sequence &+= 1
    began = loop.now.nanoseconds
    isHeadBegun = false
    sentBefore = sentBytes &+ pendingBytes
    isAnswerStarted = false
    isAnswerDone = false
    answerStatus = 0
    if problemCode != nil { problemCode = nil }
    answerCoding = .none
    if !linesOfAnswer.isEmpty { linesOfAnswer = [] }
    swallowed = 0
    isBodyPaused = false
    method = .other
    isHTTP10 = false
    wantsKeepAlive = false
    if body.isChunked { chunks = nil }
    body = RequestBodyState(.none)
    pace = Pace()
    sentAtLook = nil
    wasAsked = false
    setDeadline(afterNanoseconds: server.times.paceCheck)
  }

  /// A whole head is there: asks the handler. Returns how many bytes are done with; none when the exchange is held.
  private final func begin(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) -> Int {
    if isRehandled {
      isRehandled = false
    } else {
      beginExchange()
    }
    method = head.request.method
    isHTTP10 = head.request.isHTTP10
    wantsKeepAlive = head.request.keepAlive
    expectsContinue = head.request.expectsContinue
    body = RequestBodyState(head.request.framing)
    if body.isChunked { chunks = ChunkedScanner(guarded: guardedTrailers(head, bytes)) }
    bodyTaken = 0
    phase = .deciding
    let headLength = head.request.headLength
    dispatch(head, bytes)
    if phase == .held {
      pauseReading()
      return 0
    }
    if phase == .deciding { refuse(Problem(500, "no_answer", "Intercom could not decide about this request."), .failed) }
    return isClosing ? bytes.count : headLength &+ bodyTaken
  }

  private final func guardedTrailers(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) -> FieldNameSet {
    var names = server.settings.guardedTrailers
    names.formUnion(ConnectionOptions.named(by: head.fields, in: bytes))
    return names
  }

  /// For a sink that wants to send head and body together: how many bytes behind the head belong to the body. They count as taken.
  package final func takeBody(behind head: borrowing RequestHead, in bytes: borrowing Span<UInt8>) -> Int {
    guard phase == .deciding || phase == .forwarding, bodyTaken == 0, head.request.headLength <= bytes.count else { return 0 }
    let taken = scanBody(bytes.extracting(head.request.headLength...))
    bodyTaken = taken
    return taken
  }
  package final var isBodyDone: Bool { body.isDone }

  /// How many of these bytes belong to the body. The rest is the next request, or broken (`body.isBroken`).
  private final func scanBody(_ bytes: borrowing Span<UInt8>) -> Int {
    body.isChunked ? scanChunks(bytes) : body.take(bytes.count)
  }

  @inline(never) private final func scanChunks(_ bytes: borrowing Span<UInt8>) -> Int {
    guard var scanner = chunks.take() else { return 0 }
    let count = scanner.scan(bytes)
    keep(scanner, count)
    return count
  }

  /// Like `scanBody`, and appends the payload to `out`.
  private final func decodeBody(_ bytes: borrowing Span<UInt8>, into out: inout [UInt8]) -> Int {
    guard body.isChunked else {
      let count = body.take(bytes.count)
      out.append(copying: bytes.extracting(0..<count))
      return count
    }
    guard var scanner = chunks.take() else { return 0 }
    let count = scanner.decode(bytes) { out.append(copying: $0) }
    keep(scanner, count)
    return count
  }

  private final func keep(_ scanner: consuming ChunkedScanner, _ count: Int) {
    let (isDone, isBroken) = (scanner.isDone, scanner.failure != nil)
    body.scanned(count, isDone: isDone, isBroken: isBroken)
    if !isDone { chunks = scanner }
  }

  private final func takeBody(_ bytes: borrowing Span<UInt8>) -> Int {
    if phase == .running, let work {
      let used = decodeBody(bytes, into: &work.queue)
      if body.isBroken { return bodyBroke() }
      if work.waitingBytes > server.settings.waitingInput, !body.isDone { pauseBody() }
      work.resumePull(isDone: body.isDone)
      return used
    }
    let used = scanBody(bytes)
    if body.isBroken { return bodyBroke() }
    if phase == .forwarding {
      sinkAtWork?.takeBody(bytes.extracting(0..<used), isLast: body.isDone)
    } else {
      swallowed &+= used
      if !body.isDone, swallowed > server.settings.swallowedBody { wantsKeepAlive = false }
      endIfDone()
    }
    return used
  }

  private final func bodyBroke() -> Int {
    refuse(Problem(400, "bad_chunked_body", "The request's chunked body is not well-formed. Correct it and send it again."), .refused)
    return 0
  }

  /// Takes no more of the body until `resumeBody`.
  package final func pauseBody() {
    guard !isBodyPaused else { return }
    isBodyPaused = true
    bodyPauses &+= 1
  }

  package final func resumeBody() {
    guard isBodyPaused else { return }
    isBodyPaused = false
    resumeInput()
  }

  /// Takes what waits, in the next turn, and reads on.
  final func resumeInput() {
    guard !isClosing else { return }
    resumeReading()
    if !isConsuming, !buffered.isEmpty { continueSoon() }
  }

  // MARK: hold

  /// Hands the exchange over to `sink`, which gives the answer by `sendAnswer…` and `endAnswer`, or by `answer`.
  package final func forward(to sink: any ExchangeSink) {
    guard phase == .deciding else { return sink.exchangeEnded() }
    phase = .forwarding
    sinkAtWork = sink
  }

  /// Keeps the request as it is until `rehandle`; nothing is read meanwhile. The context is kept.
  package final func hold() -> ExchangeID {
    if phase == .deciding { phase = .held }
    return exchangeID
  }

  /// Asks the handler again about a held request, with the same bytes.
  package final func rehandle() {
    guard phase == .held else { return }
    phase = .idle
    isRehandled = true
    consumeBuffered()
    if !isClosing, phase != .held { resumeReading() }
  }

  // MARK: the end

  /// Ends the exchange when its answer is complete and its body done or given up.
  final func endIfDone() {
    guard isAnswerDone, phase != .closing, phase != .idle else { return }
    guard wantsKeepAlive else { return endConnection(.complete) }
    guard body.isDone else {
      phase = .swallowing
      isBodyPaused = false
      return resumeInput()
    }
    finish(.complete)
    phase = .idle
    if server.isDraining || (peerHasEnded && !isConsuming && buffered.isEmpty) { return endConnection(nil) }
    setDeadline(afterNanoseconds: server.times.idle)
    resumeInput()
  }

  /// Nothing of what was read and waits is looked at any more.
  final func forgetInput() { buffered = [] }

  /// The connection closes when what waits is sent.
  final func endConnection(_ ending: ExchangeSummary.Ending?) {
    if let ending { finish(ending) }
    phase = .closing
    buffered = []
    setDeadline(afterNanoseconds: server.times.paceCheck)
    closeWhenSent(lingering: true)
  }

  /// Reports the exchange and lets go of whoever worked on it.
  final func finish(_ ending: ExchangeSummary.Ending) {
    if let sink = sinkAtWork.take() { sink.exchangeEnded() }
    if let work = work.take() { work.end(isCancelled: ending != .complete) }
    report(
      ExchangeSummary(
        method: method, status: answerStatus, bytesIn: body.received, bytesOut: sentBytes &+ pendingBytes &- sentBefore,
        nanoseconds: loop.now.nanoseconds &- began, ending: ending, problem: problemCode))
  }

  /// Breaks the connection off in the middle of an answer, so that the client cannot take it for complete.
  final func breakOff(_ ending: ExchangeSummary.Ending) {
    guard !isClosed, phase != .closing else { return }
    if phase != .idle { finish(ending) }
    let isDelimited = answerCoding != .untilClose
    phase = .closing
    buffered = []
    // What was sent of a delimited answer may still arrive; of an answer that only the end delimits the end must be a reset.
    if isDelimited { closeWhenSent(lingering: false) } else { abort() }
  }

  package final override func onPeerEnd() {
    switch phase {
    case .idle:
      // Requests that were sent ahead are still answered.
      consumeBuffered()
      if phase == .idle { endConnection(nil) }
    case .closing: break
    case .deciding, .held, .running, .forwarding, .swallowing:
      // A client may end its direction and still read; only what it owes of the body is lost.
      clientEnded()
    }
  }

  package final override func onPeerEndAhead() { if body.isDone { lookForClient() } }

  /// The client has ended its direction: the body must be done with what has come. Bytes of it that wait here are still taken, in the next turn.
  final func clientEnded() {
    if isTunnelling { return buffered.isEmpty ? sinkAtWork?.clientEnded() ?? () : () }
    if body.isDone { return lookForClient() }
    if buffered.isEmpty, phase != .idle, phase != .closing { close() }
  }

  package final override func onDrained() {
    if phase == .forwarding { sinkAtWork?.clientDrained() }
    work?.resumeWriter(isGone: false)
    if phase == .idle { resumeInput() }
  }

  package final override func onClosed() {
    server.connections -= 1
    forgetInput()
    partial = nil
    guard phase != .idle, phase != .closing else { return }
    finish(.clientGone)
    phase = .closing
  }

  // MARK: time

  package final override func onTimeOut() {
    if phase == .idle, pendingBytes == 0 {
      guard isHeadBegun else { return endConnection(nil) }
      partial = nil
      beginExchange()
      return refuse(Problem(408, "request_timeout", "The request's head took too long."), .timedOut)
    }
    if sentAtLook != nil, pendingBytes == 0 { return lookAgain() }
    let waitsForBody = !body.isDone && !isBodyPaused && !isTunnelling && (phase == .running || phase == .forwarding || phase == .swallowing)
    var pace = self.pace
    let isSlow = pace.isTooSlow(
      now: loop.now, settings: server.settings, output: pendingBytes > 0 ? (acknowledgedBytes, drains) : nil,
      input: waitsForBody ? (body.received, bodyPauses) : nil)
    self.pace = pace
    guard !isSlow else {
      // Asked before the end: a relay lets go of what it held, and a client that gets FIN instead of RST would go on reading what the kernel has.
      let isHeldUp = pendingBytes > 0
      if phase != .idle, phase != .closing {
        finish(.timedOut)
        phase = .closing
      }
      return isHeldUp ? abort() : close()
    }
    if phase == .forwarding, isAnswerStarted, !isTunnelling { goesOn() }
    // Tunnels look while something waits for the client: many are silent for hours.
    if !isTunnelling || pendingBytes > 0 || phase == .closing { setDeadline(afterNanoseconds: server.times.paceCheck) }
  }
}
