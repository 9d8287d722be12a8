import IntercomCore

/// Why a homeserver gave no token. Holds a stable word and a sentence for the log; never a token.
package struct MatrixError: Error, Sendable, Equatable {
  package enum Code: String, Sendable, CaseIterable {
    /// There is no such account.
    case accountMissing = "matrix_account_missing"
    /// The account is deactivated or locked, or the application service may not use it.
    case accountRefused = "matrix_account_refused"
    /// The claim is nothing that a user id can hold.
    case userInvalid = "matrix_user_invalid"
    /// The homeserver does not take the application service's token or its way to log in.
    case loginRefused = "matrix_login_refused"
    /// The user's token is not good any more: logged out, or expired.
    case tokenUnknown = "matrix_token_unknown"
    /// Not reached, or it said 5xx or 429. Says nothing about the account.
    case unavailable = "matrix_unavailable"
    /// It answered with something that is not what was asked for.
    case answerInvalid = "matrix_answer_invalid"
  }

  package let code: Code
  /// For the log and an administrator; free of secrets.
  package let detail: String
  /// When the homeserver wants to be asked again, at most `longestPause`.
  package let retryAfter: Duration?

  /// A homeserver that wants more than this is asked again all the same.
  package static let longestPause = Duration.seconds(30)

  package init(_ code: Code, _ detail: String, retryAfter: Duration? = nil) {
    self.code = code
    self.detail = detail
    self.retryAfter = retryAfter.map { min(max($0, .seconds(1)), Self.longestPause) }
  }

  /// Whose fault it was.
  package var origin: FaultOrigin {
    switch code {
    case .accountMissing, .accountRefused, .userInvalid, .tokenUnknown: .client
    case .loginRefused: .gateway
    case .unavailable, .answerInvalid: .upstream
    }
  }
}

/// What is wrong with a claim, for the log.
extension MatrixError {
  package init(_ fault: MatrixUserID.Fault, claim: Identifier) {
    let why =
      switch fault {
      case .empty: "is empty"
      case .character: "holds something else than letters, digits and ._=-/+, which a Matrix user id cannot hold"
      case .tooLong: "is longer than a Matrix user id may be"
      }
    self.init(.userInvalid, "the claim \(claim) of this user \(why): choose another one with userClaim, or mend it at the provider")
  }
}
