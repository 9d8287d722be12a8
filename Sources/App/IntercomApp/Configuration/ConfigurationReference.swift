import ConfigurationYAML

/// `docs/configuration.md`, made from the table of settings: `intercom config reference` prints it, a test compares the two.
package enum ConfigurationReference {
  package static var markdown: String {
    var text = introduction
    for section in sections {
      text += "\n## \(section.title)\n\n"
      if !section.text.isEmpty { text += section.text + "\n\n" }
      text += table(section.rows)
    }
    return text + "\n" + ending
  }

  private struct Section {
    let title: String
    let text: String
    let rows: [SettingRow]
  }

  private static var sections: [Section] {
    [
      Section(title: "Top level", text: "", rows: ConfigurationKeys.Top.rows),
      Section(
        title: "`tls`",
        text: "What the listeners with `tls: true` have in common. `certificates` is a map; the key is a certificate's name, here `*`. A "
          + "client that names a host gets the first certificate for it; the first of all serves those that name none or an unknown one. "
          + "More in [operations.md](operations.md#tls-http2-and-proxies-in-front).",
        rows: ConfigurationKeys.TLS.rows),
      Section(
        title: "`provider`",
        text: "The OpenID provider. Register Intercom there as a confidential client with the redirect URI "
          + "`<baseURL>/callback` and the back-channel logout URL `<baseURL>/backchannel-logout`.", rows: ConfigurationKeys.Provider.rows),
      Section(title: "`sessions`", text: "", rows: ConfigurationKeys.Sessions.rows),
      Section(
        title: "`routes`",
        text: "A map; the key is the route's name (1 to 32 small letters, digits and `-`), here `*`. "
          + "Without `host` these first path segments are Intercom's own and cannot be taken: "
          + RouteChecks.ownSegments.map { "`/\($0)`" }.joined(separator: ", ") + ".", rows: ConfigurationKeys.Route.rows),
      Section(
        title: "`compatibility`",
        text: "For deployments that come from Univention's Intercom Service; [migrating-from-ics.md](migrating-from-ics.md) tells when.",
        rows: ConfigurationKeys.Compatibility.rows),
      Section(title: "`admin`", text: "", rows: ConfigurationKeys.Admin.rows),
      Section(title: "`timeouts`", text: "", rows: ConfigurationKeys.Timeouts.rows),
      Section(title: "`limits`", text: "", rows: ConfigurationKeys.Limits.rows),
      Section(title: "`log`", text: "", rows: ConfigurationKeys.Log.rows),
    ]
  }

  private static func table(_ rows: [SettingRow]) -> String {
    var text = "| Key | Type | Default | Range | Secret | Meaning |\n|---|---|---|---|---|---|\n"
    for row in rows {
      let cells = ["`\(row.path)`", row.type, row.absence, row.range, row.isSecret ? "yes" : "", row.summary]
      text += "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |\n"
    }
    return text
  }

  private static let introduction = """
    # Configuration

    This page is printed by `intercom config reference` and compared with the code by a test. A complete, commented file is
    [Examples/intercom.yaml](../Examples/intercom.yaml). `intercom config check FILE` shows everything that is wrong with a file at once,
    with line and column, and what to write instead; `intercom serve --config FILE` refuses to start with a file that has faults.

    The file is YAML of UTF-8, at most 1 MiB. Unknown keys are faults. Anchors, aliases, merge keys, tags and a second document are refused.

    - **duration**: a whole number with its unit: `500ms`, `5s`, `10m`, `24h`, `7d`.
    - **size**: bytes with their unit: `512B`, `64KiB`, `1MiB`.
    - **list**: `[a, b]` or one `- ` per line; a single value may stand without a list.
    - **secret**: the text itself, or `{fromFile: /path}`; a line end after it is dropped. Secrets are never shown, logged or dumped.
    - **file**: a relative path begins at the directory of the configuration file.

    A variable of the environment named `INTERCOM_CFG_<SECTION>__<KEY>` stands over the file: `INTERCOM_CFG_PROVIDER__CLIENT_ID` is
    `provider.clientID`, `INTERCOM_CFG_ROUTES__FS__UPSTREAM` is `routes.fs.upstream`. Levels are separated by `__`; inside a level case, `_`
    and `-` do not count; a list is written with commas. A secret is also read from the file that `…_FILE` names:
    `INTERCOM_CFG_PROVIDER__CLIENT_SECRET_FILE=/run/secrets/client-secret`. Unknown variables with this prefix are faults.

    """

  private static let ending = """
    ## Commands and exit codes

    | Command | Exit codes |
    |---|---|
    | `intercom config check FILE` | 0 right, 1 faults |
    | `intercom config check --format json FILE` | the same, for programs |
    | `intercom config reference` | 0 |
    | `intercom serve --config FILE` | 0 after SIGTERM, 78 faults in the file, 1 anything else |
    | any command | 64 wrong use |

    """
}
