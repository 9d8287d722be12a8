import CurlTransport
import HTTPMessage
import IntercomCore
import Synchronization

/// What carries Intercom's own calls: one libcurl, with its thread, for each file of authorities that is trusted for them.
final class Transports: Sendable {
  private let given: (any HTTPTransport)?
  private let authorities: [UInt8]?
  private let made = Mutex([String: CurlTransport]())

  /// - Parameters:
  ///   - given: carries all calls instead, and is not stopped here.
  ///   - authorities: those of the system and further ones, as PEM, where no file of authorities is named; nil: the system's alone.
  init(given: (any HTTPTransport)?, authorities: [UInt8]?) {
    self.given = given
    self.authorities = authorities
  }

  /// - Parameter authorityFile: nil: the system's authorities.
  func transport(authorityFile: String?) throws(TransportError) -> any HTTPTransport {
    if let given { return given }
    let found: Result<CurlTransport, TransportError> = made.withLock { made in
      if let curl = made[authorityFile ?? ""] { return .success(curl) }
      do throws(TransportError) {
        let curl = try CurlTransport(CurlTransport.Configuration(authorityFile: authorityFile, authorities: authorities))
        made[authorityFile ?? ""] = curl
        return .success(curl)
      } catch { return .failure(error) }
    }
    return try found.get()
  }

  /// Ends all calls.
  func stop() { for curl in made.withLock({ Array($0.values) }) { curl.stop() } }
}
