import ConfigurationYAML
import IntercomCore
import Testing

@Suite("ConfigurationYAML")
struct YAMLConfigurationTests {
  private enum Mode: String, CaseIterable, Sendable { case isolate, pass, drop }

  private func reader(_ text: String, _ environment: [String: String] = [:], files: [String: String] = [:]) -> ConfigurationReader {
    ConfigurationReader(file: "c.yaml", bytes: Array(text.utf8), environment: environment) {
      (name: String) throws(ConfigurationFileError) -> ConfigurationFile in
      guard let content = files[name] else { throw ConfigurationFileError("No such file or directory") }
      return ConfigurationFile(Array(content.utf8))
    }
  }

  private func messages(_ reader: ConfigurationReader) -> [String] { reader.finish().map(\.description) }

  /// What reading `text` as the value of `k` gives: the shown value, or the message.
  private func read<Value>(_ shape: ValueShape<Value>, _ text: String) -> String {
    let reader = reader("k: \(text)\n")
    let value = reader.top[Setting("k", shape, "")]
    let faults = messages(reader)
    return faults.isEmpty ? value.map { shape.show($0.value) } ?? "absent" : faults.joined(separator: "\n")
  }

  @Test(
    "a time has a unit and a range",
    arguments: [
      ("500ms", "500ms"), ("5s", "5s"), ("120s", "120s"), ("180s", "3m"), ("24h", "24h"), ("2d", "48h"), ("7d", "7d"), ("1500ms", "1500ms"),
      ("5", "c.yaml:1:4: k: expected a time with its unit, found '5'; write 500ms, 5s, 10m, 24h or 7d"),
      ("5 s", "c.yaml:1:4: k: expected a time with its unit, found '5 s'; write 500ms, 5s, 10m, 24h or 7d"),
      ("-5s", "c.yaml:1:4: k: expected a time with its unit, found '-5s'; write 500ms, 5s, 10m, 24h or 7d"),
      ("1.5h", "c.yaml:1:4: k: expected a time with its unit, found '1.5h'; write 500ms, 5s, 10m, 24h or 7d"),
      ("99999999999999999d", "c.yaml:1:4: k: expected a time with its unit, found '99999999999999999d'; write 500ms, 5s, 10m, 24h or 7d"),
      ("31d", "c.yaml:1:4: k: 31d is out of range; write a time from 100ms to 30d"),
      ("[5s]", "c.yaml:1:4: k: expected duration, found a list; write a time such as 5s"),
    ])
  func durations(text: String, expected: String) { #expect(read(.duration(.milliseconds(100)...(.seconds(30 * 86400))), text) == expected) }

  @Test(
    "a size has a unit and a range",
    arguments: [
      ("64KiB", "64KiB"), ("1024B", "1KiB"), ("1MiB", "1MiB"),
      ("64kb", "c.yaml:1:4: k: expected a size with its unit, found '64kb'; write 512B, 64KiB or 1MiB"),
      ("1GiB", "c.yaml:1:4: k: 1GiB is out of range; write a size from 1KiB to 2MiB"),
    ])
  func sizes(text: String, expected: String) { #expect(read(.size(1024...(2 << 20)), text) == expected) }

  @Test(
    "a number is decimal and in its range",
    arguments: [
      ("8", "8"), ("0", "0"),
      ("08", "c.yaml:1:4: k: expected a whole number, found '08'; write one from 0 to 64"),
      ("0x10", "c.yaml:1:4: k: expected a whole number, found '0x10'; write one from 0 to 64"),
      ("1e3", "c.yaml:1:4: k: expected a whole number, found '1e3'; write one from 0 to 64"),
      ("65", "c.yaml:1:4: k: 65 is out of range; write a number from 0 to 64"),
      ("99999999999999999999", "c.yaml:1:4: k: expected a whole number, found '99999999999999999999'; write one from 0 to 64"),
    ])
  func integers(text: String, expected: String) { #expect(read(.integer(0...64), text) == expected) }

  @Test(
    "a boolean is true or false, nothing else",
    arguments: [
      ("true", "true"), ("false", "false"),
      ("yes", "c.yaml:1:4: k: expected true or false, found 'yes'; write true or false"),
      ("", "c.yaml:1:3: k: has no value; write one, or remove the key"),
    ])
  func booleans(text: String, expected: String) { #expect(read(.boolean, text) == expected) }

  @Test(
    "a choice suggests what was meant",
    arguments: [
      ("pass", "pass"), ("isolated", "c.yaml:1:4: k: 'isolated' is none of isolate, pass, drop; did you mean isolate?"),
      ("everything", "c.yaml:1:4: k: 'everything' is none of isolate, pass, drop; write one of them"),
    ])
  func choices(text: String, expected: String) { #expect(read(ValueShape<Mode>.choice, text) == expected) }

  @Test(
    "an origin is written as browsers send it, or the message says how",
    arguments: [
      ("https://mail.example.org", "https://mail.example.org"), ("https://mail.example.org:8443", "https://mail.example.org:8443"),
      ("http://mail.intercom.localhost:8008", "http://mail.intercom.localhost:8008"),
      ("http://[::1]:80a", "c.yaml:1:4: k: '80a' is no port; write a number from 1 to 65535 after the ':'"),
      (
        "https://Mail.example.org/",
        "c.yaml:1:4: k: 'https://Mail.example.org/' is not how browsers write an origin; write https://mail.example.org"
      ),
      (
        "https://mail.example.org:443",
        "c.yaml:1:4: k: 'https://mail.example.org:443' is not how browsers write an origin; write https://mail.example.org"
      ),
      ("http://[0:0::1]:8008", "c.yaml:1:4: k: 'http://[0:0::1]:8008' is not how browsers write an origin; write http://[::1]:8008"),
      ("https://*.example.org", "c.yaml:1:4: k: 'https://*.example.org' holds a '*'; list every origin by its full name"),
      ("'null'", "c.yaml:1:4: k: the origin 'null' belongs to everybody; write https://host"),
      (
        "https://mail.example.org.",
        "c.yaml:1:4: k: 'mail.example.org.' is no host name; write letters, digits and '-' between dots, without a dot at the end"
      ),
      ("ftp://x", "c.yaml:1:4: k: 'ftp://x' is no http or https URL; write https://host/path"),
      (
        "https://1.2.3.04",
        "c.yaml:1:4: k: '1.2.3.04' is no IPv4 address; write four numbers from 0 to 255 without leading zeros, or a name"
      ),
    ])
  func origins(text: String, expected: String) { #expect(read(.origin, text) == expected) }

  @Test(
    "a URL with a password is refused without being shown",
    arguments: ["https://alice:hunter2@host/", "http://hunter2@host", "redis://:hunter2@h"])
  func urlSecrets(text: String) {
    let message = read(.url, text)
    #expect(message == "c.yaml:1:4: k: a URL with '@' (user information); write https://host/path without user and password")
  }

  @Test(
    "a listener is an address and a port",
    arguments: [
      ("127.0.0.1:8008", "127.0.0.1:8008"), ("\"[::]:8008\"", "[::]:8008"), ("127.0.0.1:0", "127.0.0.1:0"),
      ("8008", "c.yaml:1:4: k: '8008' has no address; write 127.0.0.1:8008 for this machine alone, 0.0.0.0:8008 for all"),
      ("\":8008\"", "c.yaml:1:4: k: ':8008' has no address; write 127.0.0.1:8008 for this machine alone, 0.0.0.0:8008 for all"),
      ("localhost:8008", "c.yaml:1:4: k: 'localhost' is a name, not an address; write 127.0.0.1 for this machine alone, 0.0.0.0 for all"),
      ("127.0.0.1", "c.yaml:1:4: k: '127.0.0.1' has no port; write 127.0.0.1:8008"),
      ("127.0.0.1:70000", "c.yaml:1:4: k: '70000' is no port; write a number from 1 to 65535 after the ':'"),
    ])
  func listeners(text: String, expected: String) { #expect(read(.listenAddress, text) == expected) }

  @Test("every fault is shown at once, in the order of the file, with what was meant")
  func collects() {
    let reader = reader("tmieouts:\n  x: 1\ntimeouts:\n  connect: 5\n  uppstream_idle: 60s\n  zebra: 1\nlisten:\n")
    let top = reader.top
    _ = top[Setting<String>("listen", .text(), "")]
    let timeouts = top.section("timeouts")
    _ = timeouts[DefaultedSetting("connect", .duration(.seconds(1)...(.seconds(9))), default: .seconds(2), "")]
    _ = timeouts[DefaultedSetting("upstreamIdle", .duration(.seconds(1)...(.seconds(9))), default: .seconds(2), "")]
    _ = top.section("provider")[Setting("issuer", .url, required: true, example: "https://id.example.org", "")]
    #expect(
      messages(reader) == [
        "c.yaml:1:1: provider.issuer: missing; write 'issuer: https://id.example.org'",
        "c.yaml:1:1: tmieouts: unknown key; did you mean 'timeouts'?",
        "c.yaml:4:12: timeouts.connect: expected a time with its unit, found '5'; write 500ms, 5s, 10m, 24h or 7d",
        "c.yaml:5:3: timeouts.uppstream_idle: unknown key; did you mean 'upstreamIdle'?",
        "c.yaml:6:3: timeouts.zebra: unknown key; known here: connect, upstreamIdle",
        "c.yaml:7:8: listen: has no value; write one, or remove the key",
      ])
  }

  @Test("a list reports every faulty item and doubles")
  func lists() {
    #expect(read(.list(of: .integer(1...9), 1...4), "[1, 2]") == "[1, 2]")
    #expect(read(.list(of: .integer(1...9), 1...4), "3") == "[3]")
    #expect(
      read(.list(of: .integer(1...9), 1...4), "[1, x, 1, 12]")
        == """
        c.yaml:1:8: k[1]: expected a whole number, found 'x'; write one from 1 to 9
        c.yaml:1:11: k[2]: stands in the list twice; keep one
        c.yaml:1:14: k[3]: 12 is out of range; write a number from 1 to 9
        """)
    #expect(read(.list(of: .integer(1...9), 1...4), "[]") == "c.yaml:1:4: k: a list of 0 items; write 1 to 4")
    #expect(
      read(.list(of: .integer(1...9), 1...4), "{a: 1}") == "c.yaml:1:4: k: expected a list, found a map; write one '- ' per line, or [a, b]"
    )
  }

  @Test("a variable stands over the file, its name is the place in messages")
  func overlay() {
    let reader = reader(
      "provider: {clientID: file}\n",
      [
        "INTERCOM_CFG_PROVIDER__CLIENT_ID": "environment", "INTERCOM_CFG_TIMEOUTS__CONNECT": "5",
        "INTERCOM_CFG_ORIGINS": "https://a.example, https://b.example",
        "HOME": "/", "INTERCOM_CFG_PROVIDER__CLIENTIDD": "x", "INTERCOM_CFG_ZZZ": "x",
      ])
    let top = reader.top
    let provider = top.section("provider")
    #expect(provider[Setting<String>("clientID", .text(), "")]?.value == "environment")
    #expect(
      top[Setting<[WebOrigin]>("origins", .list(of: .origin, 1...9), "")]?.value.map(\.text) == ["https://a.example", "https://b.example"])
    _ = top.section("timeouts")[DefaultedSetting("connect", .duration(.seconds(1)...(.seconds(9))), default: .seconds(2), "")]
    #expect(
      messages(reader) == [
        "INTERCOM_CFG_PROVIDER__CLIENTIDD: unknown setting; did you mean INTERCOM_CFG_PROVIDER__CLIENT_ID?",
        "INTERCOM_CFG_TIMEOUTS__CONNECT: timeouts.connect: expected a time with its unit, found '5'; write 500ms, 5s, 10m, 24h or 7d",
        "INTERCOM_CFG_ZZZ: unknown setting; no setting has this name: remove the variable, or see docs/configuration.md",
      ])
  }

  @Test("two variables for one setting are a fault")
  func doubleVariables() {
    let reader = reader("", ["INTERCOM_CFG_BASE_URL": "a", "INTERCOM_CFG_BASEURL": "b"])
    _ = reader.top[Setting<String>("baseURL", .text(), "")]
    #expect(messages(reader) == ["INTERCOM_CFG_BASE_URL: names the same setting as INTERCOM_CFG_BASEURL; keep one of the two"])
  }

  @Test("a named map is found by a variable, and a variable can begin one")
  func namedMaps() {
    let reader = reader(
      "routes:\n  file-store: {path: /fs}\n",
      ["INTERCOM_CFG_ROUTES__FILE_STORE__PATH": "/files", "INTERCOM_CFG_ROUTES__WIKI__PATH": "/wiki"])
    let routes = reader.top.named("routes")
    #expect(routes.map(\.name.value) == ["file-store", "wiki"])
    #expect(routes.map { $0.section[Setting<String>("path", .text(), "")]?.value } == ["/files", "/wiki"])
    #expect(messages(reader) == [])
  }

  @Test("a secret comes inline, from a file, or from the file of a variable")
  func secrets() {
    let files = ["/run/s": "from file\n", "s2": "relative"]
    let setting = Setting<Secret<String>>("clientSecret", .secret(), required: true, "")
    #expect(reader("clientSecret: inline").top[setting]?.value.reveal() == "inline")
    #expect(reader("clientSecret: {fromFile: /run/s}", files: files).top[setting]?.value.reveal() == "from file")
    #expect(reader("clientSecret: {fromFile: s2}", files: files).top[setting]?.value.reveal() == "relative")
    #expect(reader("", ["INTERCOM_CFG_CLIENT_SECRET": "variable"]).top[setting]?.value.reveal() == "variable")
    let file = reader("clientSecret: over", ["INTERCOM_CFG_CLIENT_SECRET_FILE": "/run/s"], files: files)
    #expect(file.top[setting]?.value.reveal() == "from file")
    #expect(messages(file) == [])
    let both = reader("", ["INTERCOM_CFG_CLIENT_SECRET": "a", "INTERCOM_CFG_CLIENT_SECRET_FILE": "/run/s"], files: files)
    _ = both.top[setting]
    #expect(messages(both).first?.contains("INTERCOM_CFG_CLIENT_SECRET is set as well; keep one of the two") == true)
    let missing = reader("clientSecret: {fromFile: /nowhere}")
    _ = missing.top[setting]
    #expect(
      messages(missing).first
        == "c.yaml:1:26: clientSecret: cannot read the file named here: No such file or directory; name a file that this process may read")
  }

  @Test("only a secret can be read from the file that a variable names")
  func fileOfPlainSetting() {
    let reader = reader("", ["INTERCOM_CFG_CLIENT_ID_FILE": "/run/s"], files: ["/run/s": "x"])
    _ = reader.top[Setting<String>("clientID", .text(), "")]
    #expect(messages(reader) == ["INTERCOM_CFG_CLIENT_ID_FILE: unknown setting; did you mean INTERCOM_CFG_CLIENT_ID?"])
  }

  @Test("a text that is not YAML brings one fault, not one for every missing setting")
  func unreadable() {
    let reader = reader("a: [\n")
    #expect(!reader.isReadable)
    #expect(messages(reader).count == 1)
  }

  @Test("a file that is a list or a text is no configuration", arguments: ["- a\n", "hello\n", "42"])
  func noMap(text: String) {
    let reader = reader(text)
    _ = reader.top
    #expect(messages(reader) == ["c.yaml:1:1: the file is no map of settings; write lines such as 'listen: 127.0.0.1:8008'"])
  }

  @Test(
    "IPv6 addresses have one spelling",
    arguments: [
      ("::1", "::1"), ("0:0:0:0:0:0:0:1", "::1"), ("2001:DB8::0:1", "2001:db8::1"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("::", "::"),
      ("::ffff:1.2.3.4", "::ffff:102:304"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("fe80::", "fe80::"),
    ])
  func addresses(text: String, canonical: String) { #expect(AddressLiteral(text)?.text == canonical) }

  @Test(
    "what is no address is none",
    arguments: [
      "", ":", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "12345::", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "::1.2.3", "g::",
      "1:2:3:4:5:6:7:", "fe80::1%eth0",
    ])
  func noAddresses(text: String) { #expect(AddressLiteral(text) == nil) }
}
