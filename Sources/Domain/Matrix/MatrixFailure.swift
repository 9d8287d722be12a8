import IntercomCore
import Sessions

/// Why a request gets no Matrix token. Nothing is forwarded then.
package enum MatrixFailure: Error, Sendable, Equatable {
  case homeserver(MatrixError)
  /// 401: the session is gone.
  case sessionEnded
  /// 503: too many requests wait for tokens already.
  case overloaded
  /// 503
  case store(SessionStoreError)

  /// A stable word for the log.
  package var word: String {
    switch self {
    case .homeserver(let error): error.code.rawValue
    case .sessionEnded: "session_ended"
    case .overloaded: "overloaded"
    case .store: "session_store_unavailable"
    }
  }

  /// A sentence for the log; free of secrets.
  package var sentence: String {
    switch self {
    case .homeserver(let error): error.detail
    case .sessionEnded: "the session has ended"
    case .overloaded: "too many requests wait for tokens already"
    case .store(let error): "the session store does not answer: \(error)"
    }
  }

  package var faultOrigin: FaultOrigin {
    switch self {
    case .homeserver(let error): error.origin
    case .sessionEnded: .client
    case .overloaded: .gateway
    case .store(let error): error.faultOrigin
    }
  }

  static let tooLate = MatrixFailure.homeserver(MatrixError(.unavailable, "no token came in time"))
}
