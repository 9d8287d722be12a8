import Cryptography
import HTTPMessage
import IntercomCore

/// A plain page for a person: what happened and what to do next. It needs no script and shows nothing of the request.
package struct MessagePage: Sendable {
  package var title: String
  package var text: String
  /// Where the person can go on, and the words for it.
  package var link: (href: String, label: String)?
  /// A stable word for the operator's log search.
  package var code: String?
  /// Stands in the log line too, so that an operator finds it from what the person tells.
  package var reference: String?

  package init(
    title: String, text: String, link: (href: String, label: String)? = nil, code: String? = nil, reference: String? = nil
  ) {
    self.title = title
    self.text = text
    self.link = link
    self.code = code
    self.reference = reference
  }

  private static let style = """
    :root{color-scheme:light dark;--ink:#16202c;--soft:#566373;--page:#f3f5f8;--card:#fff;--line:#dde3ea;--accent:#1f5fbf}
    @media(prefers-color-scheme:dark){:root{--ink:#e8edf3;--soft:#9fadbd;--page:#11161d;--card:#1a222c;--line:#2c3846;--accent:#7db2ff}}
    body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
    main{box-sizing:border-box;width:min(30rem,calc(100vw - 2rem));padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:14px}
    h1{margin:0 0 .6rem;font-size:1.35rem;line-height:1.3}p{margin:0 0 1rem}.code{color:var(--soft);font-size:.85rem;margin:0}
    a{color:var(--accent);font-weight:600}
    """
  private static let styleHash = Base64.encode(Cryptography.sha256(Array(style.utf8)))

  /// The page as an answer that is never stored and never framed.
  package func response(_ status: Status) -> (Status, Fields, [UInt8]) {
    var body = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
    body += "<title>\(escapedForMarkup(title)) – Intercom</title><style>\(Self.style)</style></head><body><main>"
    body += "<h1>\(escapedForMarkup(title))</h1><p>\(escapedForMarkup(text))</p>"
    if let link { body += "<p><a href=\"\(escapedForMarkup(link.href))\">\(escapedForMarkup(link.label))</a></p>" }
    let marks = [code.map { "Reason: \(escapedForMarkup($0))" }, reference.map { "Reference: \(escapedForMarkup($0))" }].compactMap { $0 }
    if !marks.isEmpty { body += "<p class=\"code\">\(marks.joined(separator: " · "))</p>" }
    body += "</main></body></html>\n"
    let fields: Fields = [
      "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store",
      "Content-Security-Policy":
        "default-src 'none'; style-src 'sha256-\(Self.styleHash)'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      "X-Content-Type-Options": "nosniff",
    ]
    return (status, fields, Array(body.utf8))
  }
}
