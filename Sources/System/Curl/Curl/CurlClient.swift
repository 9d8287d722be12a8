import CCurl
import Glibc
import Synchronization

/// libcurl's multi interface on one thread of its own. Connections are kept and used again.
package final class CurlClient: Sendable {
  private let engine: CurlEngine

  /// nil when libcurl or the thread cannot be started.
  package init?(_ options: CurlOptions = CurlOptions()) {
    guard let engine = CurlEngine(options), engine.start() else { return nil }
    self.engine = engine
  }

  deinit { engine.stop() }

  /// Starts the call. `completion` runs exactly once, on the curl thread (or at once when the call is refused): it must not block.
  package func submit(_ call: CurlCall, completion: @escaping @Sendable (Result<CurlResponse, CurlFailure>) -> Void) {
    engine.submit(call, completion)
  }

  /// Ends the call with `cancelled` within about a millisecond. May come before `submit`, and has no effect on one that has ended.
  package func cancel(_ call: CurlCall) { engine.cancel(call) }

  /// Ends all calls with `stopped` and returns when the thread has ended.
  package func stop() { engine.stop() }
}

/// `@unchecked`: `shared` is guarded by its lock; `multi` is touched by other threads only through `curl_multi_wakeup`, under that lock and
/// while `alive`; the rest belongs to the thread.
private final class CurlEngine: @unchecked Sendable {
  private struct Shared {
    var submitted: [CurlCall] = []
    var outstanding = 0
    var cancelled = false
    var stopping = false
    var alive = true
    var thread: pthread_t?
  }

  private static let initialised: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK
  private let shared = Mutex(Shared())
  private let options: CurlOptions
  private let multi: UnsafeMutableRawPointer
  private var waiting: [CurlCall] = []
  private var running: [UnsafeMutableRawPointer: CurlCall] = [:]
  private var spare: [UnsafeMutableRawPointer] = []

  init?(_ options: CurlOptions) {
    guard Self.initialised, let multi = curl_multi_init() else { return nil }
    self.options = options
    self.multi = multi
    _ = intercom_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, min(64, options.maximumRunning))
  }

  // MARK: from any thread

  func start() -> Bool {
    var thread = pthread_t()
    let retained = Unmanaged.passRetained(self)
    let code = pthread_create(
      &thread, nil,
      { context in
        if let context { Unmanaged<CurlEngine>.fromOpaque(context).takeRetainedValue().run() }
        return nil
      }, retained.toOpaque())
    guard code == 0 else {
      retained.release()
      curl_multi_cleanup(multi)
      return false
    }
    shared.withLock { $0.thread = thread }
    return true
  }

  func submit(_ call: CurlCall, _ completion: @escaping @Sendable (Result<CurlResponse, CurlFailure>) -> Void) {
    guard call.request.isClean else { return completion(.failure(.refused)) }
    call.completion = completion
    let refusal: CurlFailure? = shared.withLock { state in
      guard state.alive, !state.stopping else { return .stopped }
      guard state.outstanding < options.maximumOutstanding else { return .overloaded }
      state.outstanding += 1
      state.submitted.append(call)
      if state.submitted.count == 1 { curl_multi_wakeup(multi) }  // the first one wakes for a whole burst
      return nil
    }
    if let refusal {
      call.completion = nil
      completion(.failure(refusal))
    }
  }

  func cancel(_ call: CurlCall) {
    call.cancelled.store(true, ordering: .releasing)
    shared.withLock { state in
      guard state.alive else { return }
      state.cancelled = true
      curl_multi_wakeup(multi)
    }
  }

  func stop() {
    let thread: pthread_t? = shared.withLock { state in
      guard let thread = state.thread else { return nil }
      state.thread = nil
      state.stopping = true
      if state.alive { curl_multi_wakeup(multi) }
      return thread
    }
    if let thread { pthread_join(thread, nil) }
  }

  // MARK: on the thread

  private func run() {
    // Signals belong to the main thread, and OpenSSL writes without MSG_NOSIGNAL: SIGPIPE must not end the process.
    var all = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_BLOCK, &all, nil)
    var open: CInt = 0
    while true {
      let (stopping, cancelled) = shared.withLock { state in
        waiting += state.submitted
        state.submitted.removeAll()
        defer { state.cancelled = false }
        return (state.stopping, state.cancelled)
      }
      if stopping { break }
      if cancelled { endCancelled() }
      let now = monotonicNanoseconds()
      expireWaiting(now)
      while running.count < options.maximumRunning, !waiting.isEmpty { begin(waiting.removeFirst(), now) }
      curl_multi_perform(multi, &open)
      let ended = reap()
      curl_multi_poll(multi, nil, 0, ended && !waiting.isEmpty ? 0 : pause(monotonicNanoseconds()), nil)
    }
    shutDown()
  }

  private func begin(_ call: CurlCall, _ now: Int64) {
    if call.cancelled.load(ordering: .acquiring) { return end(call, .failure(.cancelled)) }
    let left = call.request.deadlineNanoseconds.subtractingReportingOverflow(now)
    guard !left.overflow, left.partialValue > 0 else { return end(call, .failure(.timedOut)) }
    guard let handle = spare.popLast() ?? curl_easy_init() else { return end(call, .failure(.broken("no memory for a call"))) }
    call.handle = handle
    let milliseconds = Int(min((left.partialValue - 1) / 1_000_000 + 1, 3_600_000))
    guard call.configure(handle, options, timeoutMilliseconds: milliseconds) == CURLE_OK else {
      return end(call, .failure(.broken("libcurl refuses an option")))
    }
    running[handle] = call
    guard curl_multi_add_handle(multi, handle) == CURLM_OK else { return end(call, .failure(.broken("libcurl refuses the call"))) }
  }

  /// Takes ended calls out; true when there was one.
  private func reap() -> Bool {
    var left: CInt = 0
    var any = false
    while let message = curl_multi_info_read(multi, &left) {
      guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle, let call = running[handle] else { continue }
      any = true
      let code = intercom_curl_result(message)
      guard code == CURLE_OK else {
        // libcurl counts in whole milliseconds.
        let early = monotonicNanoseconds() < call.request.deadlineNanoseconds &- 5_000_000
        end(call, .failure(call.failure(code, early: early)))
        continue
      }
      var status = 0
      _ = intercom_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status)
      call.response.status = status
      end(call, .success(call.response))
    }
    return any
  }

  private func end(_ call: CurlCall, _ result: Result<CurlResponse, CurlFailure>) {
    if let handle = call.handle {
      call.handle = nil
      if running.removeValue(forKey: handle) != nil { curl_multi_remove_handle(multi, handle) }
      curl_easy_reset(handle)  // drops every option; connections live in the multi handle
      if spare.count < 64 { spare.append(handle) } else { curl_easy_cleanup(handle) }
    }
    shared.withLock { $0.outstanding -= 1 }
    let completion = call.completion
    call.completion = nil
    completion?(result)
  }

  private func endCancelled() {
    let ended =
      waiting.filter { $0.cancelled.load(ordering: .acquiring) } + running.values.filter { $0.cancelled.load(ordering: .acquiring) }
    waiting.removeAll { $0.cancelled.load(ordering: .acquiring) }
    for call in ended { end(call, .failure(.cancelled)) }
  }

  private func expireWaiting(_ now: Int64) {
    guard waiting.contains(where: { $0.request.deadlineNanoseconds <= now }) else { return }
    let late = waiting.filter { $0.request.deadlineNanoseconds <= now }
    waiting.removeAll { $0.request.deadlineNanoseconds <= now }
    for call in late { end(call, .failure(.timedOut)) }
  }

  /// Milliseconds to the next deadline of a waiting call, at most a second; libcurl wakes by itself for running ones.
  private func pause(_ now: Int64) -> CInt {
    guard let next = waiting.map(\.request.deadlineNanoseconds).min() else { return 1_000 }
    return CInt(min(max((next &- now) / 1_000_000 + 1, 1), 1_000))
  }

  private func shutDown() {
    let late = shared.withLock { state in
      state.alive = false
      defer { state.submitted.removeAll() }
      return state.submitted
    }
    for call in waiting + late + Array(running.values) { end(call, .failure(.stopped)) }
    waiting.removeAll()
    for handle in spare { curl_easy_cleanup(handle) }
    spare.removeAll()
    curl_multi_cleanup(multi)
  }

  private func monotonicNanoseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) &* 1_000_000_000 &+ Int64(now.tv_nsec)
  }
}
