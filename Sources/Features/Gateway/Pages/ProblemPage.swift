import HTTPMessage

/// A refusal as a person sees it who has opened an address: what happened and what to do next, with the problem's word for the operator. It is made
/// of nothing that the request says.
package enum ProblemPage {
  /// What a person gets in place of the document.
  package static func answer(_ problem: Problem) -> (fields: Fields, body: [UInt8]) {
    let (_, fields, body) = page(problem).response(problem.status)
    return (fields, body)
  }

  private static func page(_ problem: Problem) -> MessagePage {
    let (title, text) = words(problem)
    return MessagePage(title: title, text: text, code: problem.code)
  }

  private static func words(_ problem: Problem) -> (title: String, text: String) {
    switch problem.code {
    case "no_route":
      ("There is no page here", "Check the address, or go back to where you came from and open the page from there.")
    case "origin_refused":
      (
        "This request was refused",
        "It came from a page that may not use this service. Open the page that you want from your workplace; if that is where you were, "
          + "tell your administrator."
      )
    case "csrf_proof_missing", "upgrade_origin_missing":
      ("This address cannot be opened directly", "It works from within its application only: open the application and go on from there.")
    case "logout_refused":
      ("You are still signed in", "Signing out needs a click in your workplace: go back and sign out there.")
    case "credential_refused", "claim_missing", "matrix_account_missing", "matrix_account_refused", "matrix_user_invalid":
      (
        "You have no access to this service",
        "Your account may not use it, or lacks something that it needs. If you should have access, tell your administrator."
      )
    default: byStatus(problem)
    }
  }

  private static func byStatus(_ problem: Problem) -> (title: String, text: String) {
    switch problem.status {
    case 403:
      ("You have no access to this page", "If you should have access, tell your administrator.")
    case 421:
      ("This address is not served here", "Check the address, or go back to where you came from and open the page from there.")
    case 502:
      (
        "The application cannot be reached",
        "Nothing is lost; please try again in a minute. If it happens again, tell your administrator."
      )
    case 503:
      (
        "This is not possible at the moment",
        "A service that is needed for it does not answer. Nothing is lost; please try again in a minute."
      )
    case 504:
      (
        "The application did not answer in time",
        "What you sent may or may not have been done. Please try again in a minute. If it happens again, tell your administrator."
      )
    case 500: ("Something went wrong", "It has been logged. Please try again later.")
    default: ("This request was refused", problem.detail)
    }
  }
}
