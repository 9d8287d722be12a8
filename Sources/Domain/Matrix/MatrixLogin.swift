import IntercomCore
import Sessions

/// One login or refresh from begin to end, for one session. `MatrixDevices` sees to it that this process runs one at a time; a lease in the
/// store sees to it across replicas.
struct MatrixLogin: Sendable {
  let manager: SessionManager
  let names: MatrixDeviceNames
  let time: any TimeSource
  let events: SessionEvents
  let callLimit: Duration

  private typealias Outcome = Result<MatrixGrant, MatrixFailure>

  /// - Parameter refused: tokens up to this generation are not taken.
  func run(
    _ seen: Session, _ user: MatrixUserID, _ client: MatrixClient, newerThan refused: Int64
  ) async -> Result<MatrixGrant, MatrixFailure> {
    do throws(SessionStoreError) {
      let purpose = MatrixDevice.name(user.text).description
      let outcome: Outcome? = try await manager.inTurn(purpose, of: seen.key, limit: callLimit) { end -> Outcome in
        do throws(SessionStoreError) { return try await runInTurn(seen, user, client.until(end), refused) } catch {
          return .failure(.store(error))
        }
      } unless: { current in
        guard let current else { return .failure(.sessionEnded) }
        return fresh(current, user, refused).map { .success($0) }
      }
      return outcome ?? .failure(.homeserver(MatrixError(.unavailable, "another replica logs in and did not finish")))
    } catch {
      return .failure(.store(error))
    }
  }

  /// A device whose token need not be replaced.
  private func fresh(_ session: Session, _ user: MatrixUserID, _ refused: Int64) -> MatrixGrant? {
    guard let device = MatrixDevice(in: session, of: user.text), device.generation > refused, !device.isDue(at: manager.now()) else {
      return nil
    }
    return MatrixGrant(device: device, session: session)
  }

  private func runInTurn(
    _ seen: Session, _ user: MatrixUserID, _ client: MatrixClient, _ refused: Int64
  ) async throws(SessionStoreError) -> Result<MatrixGrant, MatrixFailure> {
    guard let current = try await manager.read(seen.key) else { return .failure(.sessionEnded) }
    if let grant = fresh(current, user, refused) { return .success(grant) }
    let held = MatrixDevice(in: current, of: user.text)
    let tokens: MatrixTokens
    do throws(MatrixError) { tokens = try await newTokens(held, current, user, client, refused) } catch {
      return .failure(.homeserver(error))
    }
    let device = MatrixDevice(
      user.text, id: tokens.device ?? held?.id ?? names.name(current.key, user), tokens, received: manager.now(),
      generation: max(held?.generation ?? 0, refused) &+ 1)
    return try await save(device, in: current)
  }

  /// Refreshed where that is possible, else by a login, once.
  private func newTokens(
    _ held: MatrixDevice?, _ session: Session, _ user: MatrixUserID, _ client: MatrixClient, _ refused: Int64
  ) async throws(MatrixError) -> MatrixTokens {
    if let held, let refreshToken = held.refreshToken, held.generation > refused {
      do throws(MatrixError) {
        return try await counted(.matrixRefresh) { () async throws(MatrixError) in try await client.refresh(refreshToken) }
      } catch { guard error.code == .tokenUnknown else { throw error } }
    }
    // By its known name, so that no second device is left.
    let name = held?.id ?? names.name(session.key, user)
    return try await counted(.matrixLogin) { () async throws(MatrixError) in try await client.login(user, device: name) }
  }

  private func counted<Value>(
    _ call: SessionEvents.TokenCall, _ body: () async throws(MatrixError) -> Value
  ) async throws(MatrixError) -> Value {
    do throws(MatrixError) {
      let value = try await body()
      events.token(call, .done)
      return value
    } catch {
      events.token(call, error.result)
      throw error
    }
  }

  /// Writes by compare-and-swap: never over a peer's newer tokens, and never after the session's end: then the device is
  /// logged out again.
  private func save(
    _ device: MatrixDevice, in session: Session
  ) async throws(SessionStoreError) -> Result<MatrixGrant, MatrixFailure> {
    let name = MatrixDevice.name(device.user)
    let saved = try await manager.attach(to: session, as: name) { newest in
      let other = newest.flatMap { MatrixDevice(encoded: $0, device.user) }
      return other.map { $0.generation >= device.generation } ?? false ? nil : device.encoded
    }
    guard let saved else {
      manager.foundLate(session, attached: device.encoded, as: name)
      return .failure(.sessionEnded)
    }
    // A peer's, when it was faster.
    guard let kept = MatrixDevice(in: saved, of: device.user) else { return .failure(.store(.tooLarge)) }
    return .success(MatrixGrant(device: kept, session: saved))
  }
}

extension MatrixError {
  var result: SessionEvents.TokenResult {
    switch code {
    case .accountMissing, .accountRefused, .userInvalid, .loginRefused, .tokenUnknown: .refused
    case .unavailable: .unavailable
    case .answerInvalid: .invalid
    }
  }
}
