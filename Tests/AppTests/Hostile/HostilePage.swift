import FoundationEssentials
import Testing

/// `docs/hostile-provider.md`: what was observed of each lie. Each test writes the table of its section and compares it with the committed
/// page; with `INTERCOM_WRITE_PAGES=1` (`dev/lies`) it replaces the section instead.
///
/// The page follows what happens. What must happen stands in the rows of the tests: they fail whatever the page says.
struct HostilePage {
  enum Section: String, CaseIterable {
    case signatures, claims, spelling, tokenAnswers, authorization, documents, keySets, exchange, refresh, clocks, logoutTokens, logoutForms
  }

  var section: Section
  var title: String
  var text: String
  var columns: [String]
  var rows: [[String]] = []

  private static let path = "docs/hostile-provider.md"
  private static let isWriting = !(ProcessInfo.processInfo.environment["INTERCOM_WRITE_PAGES"] ?? "").isEmpty

  private static var file: String {
    // This file is in Tests/AppTests/Hostile.
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(4).joined(separator: "/") + "/" + path
  }

  private var rendered: String {
    func line(_ cells: [String]) -> String { "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |\n" }
    return "## \(title)\n\n\(text)\n\n" + line(columns) + line(columns.map { _ in "---" }) + rows.map(line).joined()
  }

  private static func mark(_ section: Section) -> String { "\n<!-- observed: \(section.rawValue) -->\n\n" }

  /// The page as it is, without its head; a section that is not there is empty.
  private static func read() -> (whole: String, sections: [Section: String]) {
    let whole = FileManager.default.contents(atPath: file).map { String(decoding: $0, as: UTF8.self) } ?? ""
    var sections: [Section: String] = [:]
    for section in Section.allCases {
      let parts = whole.split(separator: mark(section), maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { continue }
      sections[section] = parts[1].split(separator: "\n<!-- observed: ", maxSplits: 1, omittingEmptySubsequences: false).first.map(
        String.init)
    }
    return (whole, sections)
  }

  private static func page(_ sections: [Section: String]) -> String {
    head + Section.allCases.map { mark($0) + (sections[$0] ?? "") }.joined()
  }

  /// Compares the section with the committed page, or writes it.
  func settle(sourceLocation: SourceLocation = #_sourceLocation) throws {
    var (_, sections) = Self.read()
    let committed = sections[section] ?? ""
    guard committed != rendered else { return }
    if Self.isWriting {
      sections[section] = rendered
      try Data(Self.page(sections).utf8).write(to: URL(filePath: Self.file))
      return
    }
    let (old, new) = (committed.split(separator: "\n"), rendered.split(separator: "\n"))
    let at = zip(old, new).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(old.count, new.count)
    Issue.record(
      """
      \(Self.path), section '\(title)': run dev/lies and look at what changed. First difference:
      committed: \(at < old.count ? old[at] : "(nothing)")
      observed:  \(at < new.count ? new[at] : "(nothing)")
      """, sourceLocation: sourceLocation)
  }

  /// The page has its head and exactly the sections that tests observe.
  static func checkFrame() {
    guard !isWriting else { return }
    let (whole, sections) = read()
    #expect(whole == page(sections), "run dev/lies: the head of \(path) or its sections are not those of the tests")
    #expect(Set(sections.keys) == Set(Section.allCases))
  }

  private static let head = """
    # The hostile provider

    What Intercom does when its identity provider, or somebody in the provider's place, answers wrongly. The tables are written by the tests:
    each row was observed over HTTP against a whole Intercom, with the provider as a real server that tells this one lie. `dev/lies` writes them
    anew; a test compares this page with what it observes, and each row also has its expectation in the test, so that the page cannot follow a
    mistake. The tests are in `Tests/AppTests/Hostile`, the lies in `Sources/Testing/IntercomTesting/Provider`.

    ## The rules

    - **Not answered is 503, wrongly answered is 502.** A provider that is not reached, whose connection or TLS breaks, that does not answer in
      time, or that says 408, 429 or 5xx, may be there in a moment: 503 with `Retry-After`. Any other answer that cannot be used is 502: no
      JSON, another media type, a redirect, too large, a lie. The rule is the same for login, refresh, exchange and the keys that a token needs.
    - **Before the provider is known** (at the start, or when its keys are older than they may be) there is nothing to decide with: `/readyz`
      and sign-ins are 503, whatever is wrong with its metadata. **Once it is known**, wrong metadata or keys change nothing: the last good ones
      are kept and the provider is asked again.
    - **A callback that does not belong to a login of this browser, or that the provider refused, is 400.**
    - **In a silent flow every end is 200**: the page tells its embedder `loggedIn: false` and the reason.
    - **Nothing is kept** of a lie: no session record, no token, no cookie. A session that was there before lives on; only a refused refresh
      ends it, and a valid refreshed token of somebody else.
    - **A login is used up** by the first callback that carries its `state`, whatever comes of it; its code is sent at most once.
    - Answers of a provider are bounded: metadata, key sets and userinfo 256 KiB, token answers 1 MiB, heads 64 KiB, one token 64 KiB, 100 keys,
      JSON 32 levels deep, 5 s for a call. Redirects are never followed, encodings never asked for, link-local addresses never called.

    What cannot be noticed: a provider that signs somebody else's name with its own key, or publishes an attacker's keys, *is* the authority.
    Userinfo is not asked for in these flows; its answer is held against the subject of the session (`Tests/OIDCTests`).

    """
}
