import Cryptography
import HTTPMessage
import IntercomCore

/// What a silent sign-in ended with, for the page that embeds the frame.
package struct SilentOutcome: Sendable {
  package var isLoggedIn: Bool
  /// Never empty: without a session a random value that never verifies.
  package var csrfToken: String
  /// A stable word when not logged in (`login_required`, `interaction_required`, `consent_required`, `cookies_blocked`,
  /// `provider_unavailable`, `timeout` …).
  package var reason: String?
  /// Seconds until the session ends if it is not used.
  package var expiresIn: Int?

  package init(isLoggedIn: Bool, csrfToken: String, reason: String? = nil, expiresIn: Int? = nil) {
    self.isLoggedIn = isLoggedIn
    self.csrfToken = csrfToken
    self.reason = reason
    self.expiresIn = expiresIn
  }

  /// `{"loggedIn":…,"csrftoken":…,"reason":…,"expiresIn":…}`, safe inside a script element.
  package var json: [UInt8] {
    var out = Array(#"{"loggedIn":\#(isLoggedIn),"csrftoken":"#.utf8)
    Problem.appendString(csrfToken, to: &out)
    if let reason {
      out += Array(#","reason":"#.utf8)
      Problem.appendString(reason, to: &out)
    }
    if let expiresIn { out += Array(#","expiresIn":\#(expiresIn)"#.utf8) }
    out.append(UInt8(ascii: "}"))
    return out
  }
}

/// The page of the hidden frame: it posts the outcome to the page around it and to nobody else (behaviour: "`/silent`").
package enum SilentPage {
  /// Asks again where that may help. Else posts to the known origin; else to the frame's ancestor or referrer when they are allowed; else
  /// once to each listed origin.
  private static let script = """
    "use strict";
    const read = (id) => JSON.parse(document.getElementById(id).textContent);
    const message = read("intercom-message");
    const targets = read("intercom-targets");
    const pattern = read("intercom-pattern");
    const allows = (origin) => targets.includes(origin) || (pattern !== null && new RegExp(pattern).test(origin));
    const originOf = (url) => { try { return new URL(url).origin; } catch { return null; } };
    const ancestor = location.ancestorOrigins && location.ancestorOrigins.length > 0 ? location.ancestorOrigins[0] : null;
    const guess = [ancestor, originOf(document.referrer)].find((origin) => typeof origin === "string" && allows(origin));
    const receivers = pattern === null && targets.length === 1 ? targets : guess ? [guess] : targets;
    const again = read("intercom-again");
    if (window.parent === window) {
    } else if (again !== null) {
      location.replace(again + (guess && !again.includes("&for=") ? "&for=" + encodeURIComponent(guess) : ""));
    } else {
      for (const origin of receivers) window.parent.postMessage(message, origin);
    }
    """
  private static let scriptHash = Base64.encode(Cryptography.sha256(Array(script.utf8)))

  /// - Parameters:
  ///   - embedder: the origin that opened the frame when it is known and allowed.
  ///   - allowed: who may frame `/silent`.
  ///   - again: the target that the page opens instead of posting its message.
  /// - Returns: 200, HTML, not to be stored, without `X-Frame-Options`; framed only by the receivers of its message.
  package static func response(
    _ outcome: SilentOutcome, embedder: Identifier?, allowed: AllowedOrigins, again: String? = nil
  ) -> (Status, Fields, [UInt8]) {
    let targets = embedder.map { [$0.description] } ?? allowed.listed.map(\.description)
    let sources = embedder.map { [$0.description] } ?? allowed.frameSources
    var list: [UInt8] = [UInt8(ascii: "[")]
    for (index, target) in targets.enumerated() {
      if index > 0 { list.append(UInt8(ascii: ",")) }
      Problem.appendString(target, to: &list)
    }
    list.append(UInt8(ascii: "]"))
    var body = Array(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Intercom silent sign-in</title></head><body>\n".utf8)
    body += Array("<script type=\"application/json\" id=\"intercom-message\">".utf8) + outcome.json + Array("</script>\n".utf8)
    body += Array("<script type=\"application/json\" id=\"intercom-targets\">".utf8) + list + Array("</script>\n".utf8)
    body += Array("<script type=\"application/json\" id=\"intercom-pattern\">".utf8)
    if embedder == nil, let pattern = allowed.pattern {
      Problem.appendString(pattern.browserExpression, to: &body)
    } else {
      body += Array("null".utf8)
    }
    body += Array("</script>\n<script type=\"application/json\" id=\"intercom-again\">".utf8)
    if let again { Problem.appendString(again, to: &body) } else { body += Array("null".utf8) }
    body += Array("</script>\n<script>\(script)</script>\n</body></html>\n".utf8)
    let ancestors = sources.isEmpty ? "'none'" : sources.joined(separator: " ")
    let fields: Fields = [
      "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store",
      "Content-Security-Policy":
        "default-src 'none'; script-src 'sha256-\(scriptHash)'; base-uri 'none'; form-action 'none'; frame-ancestors \(ancestors)",
      "X-Content-Type-Options": "nosniff",
    ]
    return (200, fields, body)
  }
}
