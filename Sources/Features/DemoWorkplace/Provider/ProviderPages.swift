import Cryptography
import HTTPMessage

/// The provider's pages: plain forms that work without script, in light and dark, from 360 px of width.
enum ProviderPages {
  /// The sign-in page. The form is written so that simple tools can read it: `action` before `method`, hidden inputs as type, name, value.
  static func signIn(_ page: SignInPage, action: String, hint: String?) -> String {
    let client = escapedForMarkup(page.clientName)
    let failed =
      page.failed
      ? "<p class=\"error\" role=\"alert\" id=\"error\">User name or password is wrong. Please try again.</p>" : ""
    let describedBy = page.failed ? " aria-describedby=\"error\" aria-invalid=\"true\"" : ""
    let focusPassword = page.failed || !page.username.isEmpty
    let hintLine = hint.map { "<p class=\"hint\">\(escapedForMarkup($0))</p>" } ?? ""
    return document(
      title: "Sign in",
      """
      <h1>Sign in</h1>
      <p class="lead">to continue to <strong>\(client)</strong></p>
      \(failed)
      <form action="\(escapedForMarkup(action))" method="post">
      <input type="hidden" name="request" value="\(escapedForMarkup(page.request))">
      <label for="username">User name</label>
      <input id="username" name="username" type="text" autocomplete="username" autocapitalize="none" spellcheck="false" required\
       value="\(escapedForMarkup(page.username))"\(focusPassword ? "" : " autofocus")\(describedBy)>
      <label for="password">Password</label>
      <input id="password" name="password" type="password" autocomplete="current-password" required\
      \(focusPassword ? " autofocus" : "")\(describedBy)>
      <button type="submit">Sign in</button>
      </form>
      \(hintLine)
      """)
  }

  /// Asks whether the person wants to sign out.
  static func confirmSignOut(request: String, action: String) -> String {
    document(
      title: "Sign out",
      """
      <h1>Sign out?</h1>
      <p class="lead">You will be signed out of all applications that you use with this account.</p>
      <form action="\(escapedForMarkup(action))" method="post">
      <input type="hidden" name="request" value="\(escapedForMarkup(request))">
      <button type="submit">Sign out</button>
      </form>
      """)
  }

  static func message(title: String, text: String) -> String {
    document(title: title, "<h1>\(escapedForMarkup(title))</h1>\n<p class=\"lead\">\(escapedForMarkup(text))</p>")
  }

  private static func document(title: String, _ content: String) -> String {
    """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(escapedForMarkup(title)) · Demo identity provider</title>
    <style>\(style)</style>
    </head>
    <body>
    <main>
    <p class="brand">\(mark)<span>Demo identity provider</span></p>
    \(content)
    </main>
    </body>
    </html>

    """
  }

  private static let mark = """
    <svg viewBox="0 0 32 32" width="32" height="32" aria-hidden="true"><rect class="tile" width="32" height="32" rx="9"/>\
    <circle class="line" cx="12.5" cy="16" r="4.5"/><path class="line" d="M17 16h8.5M22 16v4.2"/></svg>
    """

  /// For the Content-Security-Policy: this style and no other.
  static let styleHash = "sha256-" + Base64.encode(sha256(Array(style.utf8)))

  private static let style = """
    :root{color-scheme:light dark;--bg:#eef1f7;--card:#fff;--line:#c6cedd;--text:#1a2231;--muted:#556176;--accent:#2a52c9;--strong:#2144ab;\
    --on:#fff;--soft:#e6ecfc;--bad:#b3261e;--badsoft:#fce6e4;--shadow:0 1px 2px #1b2a4a14,0 14px 40px #1b2a4a1f}
    @media(prefers-color-scheme:dark){:root{--bg:#0e131b;--card:#161d28;--line:#3a4860;--text:#e7ecf5;--muted:#9eabc0;--accent:#8fadff;\
    --strong:#abc2ff;--on:#0d1730;--soft:#1e2c4d;--bad:#ff9d95;--badsoft:#43201e;--shadow:0 1px 2px #0008,0 14px 40px #0007}}
    *{box-sizing:border-box}
    body{margin:0;min-height:100vh;display:grid;place-items:center;padding:24px 16px;color:var(--text);\
    background:radial-gradient(60rem 30rem at 50% -8rem,var(--soft),transparent 70%),var(--bg);\
    font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
    main{width:100%;max-width:400px;padding:36px 32px 32px;background:var(--card);border-radius:18px;box-shadow:var(--shadow)}
    .brand{display:flex;align-items:center;gap:12px;margin:0 0 28px;color:var(--muted);font-size:14px;font-weight:600}
    .tile{fill:var(--accent)}
    .line{fill:none;stroke:var(--on);stroke-width:2.4;stroke-linecap:round}
    h1{margin:0;font-size:27px;line-height:1.2;letter-spacing:-.01em}
    .lead{margin:6px 0 24px;color:var(--muted)}
    .lead strong{color:var(--text)}
    label{display:block;margin:16px 0 6px;font-size:14px;font-weight:600}
    input{width:100%;min-height:46px;padding:10px 13px;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);\
    border-radius:10px}
    input:focus-visible,button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
    input[aria-invalid]{border-color:var(--bad)}
    button{width:100%;min-height:48px;margin-top:26px;font:inherit;font-weight:600;color:var(--on);background:var(--accent);border:0;\
    border-radius:10px;cursor:pointer}
    button:hover{background:var(--strong)}
    .error{margin:0 0 4px;padding:10px 14px;color:var(--bad);background:var(--badsoft);border-radius:10px;font-size:15px}
    .hint{margin:22px 0 0;padding:12px 14px;color:var(--muted);background:var(--soft);border-radius:10px;font-size:14px}
    @media(max-width:400px){main{padding:28px 20px 24px}}
    """
}
