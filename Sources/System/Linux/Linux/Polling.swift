import CLinux
import Glibc

/// What epoll says about a descriptor, in the kernel's bits.
package struct PollEvents: OptionSet, Sendable {
  package let rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  package static var readable: Self { Self(rawValue: 0x001) }
  package static var writable: Self { Self(rawValue: 0x004) }
  package static var failed: Self { Self(rawValue: 0x008) }
  package static var hangUp: Self { Self(rawValue: 0x010) }
  /// The peer will send no more (RDHUP).
  package static var peerEnded: Self { Self(rawValue: 0x2000) }
  /// Both directions are over, or the socket has failed. One constant: a set of two is made anew at each use.
  package static var broken: Self { Self(rawValue: 0x018) }
  /// Tell each change once.
  package static var edgeTriggered: Self { Self(rawValue: 1 << 31) }

  /// These bits are those of the system's headers; a test looks.
  package static var agreesWithHeaders: Bool {
    readable.rawValue == EPOLLIN.rawValue && writable.rawValue == EPOLLOUT.rawValue && failed.rawValue == EPOLLERR.rawValue
      && hangUp.rawValue == EPOLLHUP.rawValue && broken == [.failed, .hangUp] && peerEnded.rawValue == EPOLLRDHUP.rawValue
      && edgeTriggered.rawValue == EPOLLET.rawValue
  }
}

/// An epoll instance with room for the events of one turn.
package final class Poller {
  private let descriptor: Int32
  private let events: UnsafeMutableBufferPointer<epoll_event>

  package init(eventsPerTurn: Int = 256) throws(SystemCallError) {
    let descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard descriptor >= 0 else { throw .last("epoll_create1") }
    self.descriptor = descriptor
    events = .allocate(capacity: eventsPerTurn)
  }

  deinit {
    events.deallocate()
    _ = Glibc.close(descriptor)
  }

  /// Registers a descriptor; its events come with `id`.
  package func add(_ target: Int32, _ interest: PollEvents, id: UInt64) throws(SystemCallError) {
    try control(EPOLL_CTL_ADD, target, interest, id)
  }

  package func change(_ target: Int32, _ interest: PollEvents, id: UInt64) throws(SystemCallError) {
    try control(EPOLL_CTL_MOD, target, interest, id)
  }

  private func control(_ operation: Int32, _ target: Int32, _ interest: PollEvents, _ id: UInt64) throws(SystemCallError) {
    var event = epoll_event()
    event.events = interest.rawValue
    event.data.u64 = id
    guard epoll_ctl(descriptor, operation, target, &event) == 0 else { throw .last("epoll_ctl") }
  }

  /// Waits (-1: without end) and returns how many events there are; 0 after EINTR.
  package func wait(milliseconds: Int32) -> Int {
    max(0, Int(epoll_wait(descriptor, events.baseAddress, Int32(events.count), milliseconds)))
  }

  /// Event `index` of the last `wait`.
  package func event(_ index: Int) -> (id: UInt64, events: PollEvents) {
    let event = events[index]
    return (event.data.u64, PollEvents(rawValue: event.events))
  }
}

/// A counter that wakes an epoll instance (eventfd(2)).
package struct Wakeup: Sendable {
  package let descriptor: Int32

  package init() throws(SystemCallError) {
    descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
    guard descriptor >= 0 else { throw .last("eventfd") }
  }

  package func signal() {
    var one: UInt64 = 1
    _ = Glibc.write(descriptor, &one, 8)
  }

  package func clear() {
    var count: UInt64 = 0
    _ = Glibc.read(descriptor, &count, 8)
  }

  package func close() { _ = Glibc.close(descriptor) }
}
