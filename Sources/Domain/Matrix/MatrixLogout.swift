import IntercomCore
import Sessions
import Synchronization

/// Logs the devices of ended sessions out, so that nothing of them is left at the homeserver.
package final class MatrixLogout: SessionAftercare {
  package let kind = AftercareKind.matrix
  private let clients: Mutex<[MatrixClient]>
  private let events: SessionEvents

  package init(_ clients: [MatrixClient], events: SessionEvents = .none) {
    self.clients = Mutex(clients)
    self.events = events
  }

  /// From now on these homeservers are called.
  package func replace(_ clients: [MatrixClient]) { self.clients.withLock { $0 = clients } }

  package func isNeeded(after remains: SessionRemains) -> Bool { MatrixDevice.isAny(in: remains.session) }

  package func sessionEnded(_ remains: SessionRemains) async -> AftercareOutcome {
    let devices = MatrixDevice.all(of: remains.session)
    var outcome = AftercareOutcome.needless
    // Whatever becomes of one, it goes on with the others; when it is tried again, those that are gone are gone.
    for device in devices { outcome = outcome.and(await end(device)) }
    return outcome
  }

  private func end(_ device: MatrixDevice) async -> AftercareOutcome {
    guard let client = client(of: device.user) else { return .failed("the homeserver of a Matrix device is not configured any more") }
    do throws(MatrixError) {
      try await logout(device, client)
      events.token(.matrixLogout, .done)
      return .done
    } catch {
      events.token(.matrixLogout, error.result)
      return error.code == .unavailable ? .again(error.detail, after: error.retryAfter) : .failed(error.detail)
    }
  }

  /// With a new token where the homeserver does not take the old one. One that it does not know either is of a device that is gone.
  private func logout(_ device: MatrixDevice, _ client: MatrixClient) async throws(MatrixError) {
    do throws(MatrixError) { return try await client.logout(device.accessToken) } catch {
      guard error.code == .tokenUnknown else { throw error }
    }
    guard let refreshToken = device.refreshToken else { return }
    do throws(MatrixError) { try await client.logout(try await client.refresh(refreshToken).accessToken) } catch {
      guard error.code == .tokenUnknown else { throw error }
    }
  }

  /// By what stands behind the first colon.
  private func client(of user: Identifier) -> MatrixClient? {
    let name = Identifier(bytes: user.bytes.drop { $0 != UInt8(ascii: ":") }.dropFirst())
    return clients.withLock { clients in clients.first { $0.homeserver.serverName == name } }
  }
}
