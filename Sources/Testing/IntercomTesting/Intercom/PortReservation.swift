import Linux

/// A loopback port that nobody else gets: bound, but not listening, so that clients are refused until a server of the test listens there.
package final class PortReservation: Sendable {
  private let descriptor: Int32
  package let port: Int

  package init() throws(SystemCallError) {
    descriptor = try Socket.bound(to: SocketAddress(.loopbackV4, port: 0), sharing: true)
    do throws(SystemCallError) { port = Int(try Socket.localAddress(descriptor).port) } catch {
      Socket.close(descriptor)
      throw error
    }
  }

  deinit { Socket.close(descriptor) }

  /// Where a server may listen while this object lives.
  package var address: SocketAddress { SocketAddress(.loopbackV4, port: UInt16(clamping: port)) }
}
