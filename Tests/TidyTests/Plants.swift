import Testing

/// A violation made on purpose: the rule that must find it, and the line where.
struct Plant: Sendable, CustomTestStringConvertible {
  let rule: String
  let files: [SourceFile]
  let line: Int
  /// What is wrong, where the file does not say it.
  let what: String

  var testDescription: String { "\(rule) in \(what.isEmpty ? files.last?.path ?? "" : what)" }

  init(_ rule: String, line: Int = 2, _ files: [SourceFile], what: String = "") {
    self.rule = rule
    self.files = files
    self.line = line
    self.what = what
  }

  /// Second lines of a file of Core.
  private init(_ rule: String, code: String, at path: String = "Sources/Core/IntercomCore/Sample.swift") {
    self.init(rule, [SourceFile(path, "// A file.\n\(code)\n")])
  }

  static let all: [Plant] = layers + houses + bans + threatModel + conformance + wire + faults

  private static func importing(_ module: String, from path: String) -> Plant { Plant("layers", code: "import \(module)", at: path) }

  private static let layers: [Plant] = [
    importing("Gateway", from: "Sources/Core/IntercomCore/Sample.swift"),
    importing("DemoWorkplace", from: "Sources/Features/Gateway/Sample.swift"),
    importing("CurlTransport", from: "Sources/Features/Gateway/Sample.swift"),
    importing("ConfigurationYAML", from: "Sources/Adapters/CurlTransport/Sample.swift"),
    importing("HTTP1", from: "Sources/Domain/OIDC/Sample.swift"),
    importing("EventLoop", from: "Sources/Wire/HTTP1/Sample.swift"),
    importing("Policy", from: "Sources/Domain/OIDC/Sample.swift"),
    importing("COpenSSL", from: "Sources/Core/Cryptography/Sample.swift"),
    importing("CLinux", from: "Sources/System/OpenSSL/OpenSSL/Sample.swift"),
    importing("CYAML", from: "Tests/AdaptersTests/Sample.swift"),
    importing("IntercomTesting", from: "Sources/App/IntercomApp/Sample.swift"),
    importing("IntercomApp", from: "Sources/Testing/IntercomTesting/Sample.swift"),
    importing("Glibc", from: "Sources/IO/EventLoop/Sample.swift"),
    importing("Testing", from: "Sources/Core/JOSE/Sample.swift"),
    importing("NIOCore", from: "Sources/IO/EventLoop/Sample.swift"),
    Plant("layers", code: "@preconcurrency import struct Gateway.Route", at: "Sources/Core/IntercomCore/Sample.swift"),
    Plant(
      "manifest", line: 1,
      [SourceFile("Package.swift", #"module("Core", "A"), module("Domain", "B", ["A"]), module("IO", "C", ["B"])"#)]),
    Plant("manifest", line: 1, [SourceFile("Package.swift", #"let d = [.package(url: "https://example.test/x", from: "1.0.0")]"#)]),
  ]

  private static let houses: [Plant] = [
    Plant("sizes", line: 1, [SourceFile("Sources/Core/JOSE/Long.swift", String(repeating: "\n", count: 501))]),
    Plant("sizes", code: "func long() {\n" + String(repeating: "  step()\n", count: 69) + "}"),
    Plant("documentation", code: "package struct Bare {}"),
    Plant("documentation", code: "@frozen package final class Bare {}".replacing("@frozen ", with: "")),
    Plant(
      "documentation", code: "@inlinable public func bare() {\n  a()\n  b()\n  c()\n  d()\n  e()\n}",
      at: "Sources/Core/IntercomCore/Time.swift"),
    Plant("documentation", code: "package func bare() {\n  a()\n  b()\n  c()\n  d()\n  e()\n}"),
    Plant("force unwrap", code: "let a = b!.c"),
    Plant("force unwrap", code: "let a = f(x)!"),
    Plant("force unwrap", code: "var a: [T]!"),
    Plant("secrets are compared in constant time", code: "if token.reveal() == other { }"),
    Plant("secrets are compared in constant time", code: "if hmacSHA256(key: k, m).elementsEqual(tag) { }"),
    Plant("secrets are compared in constant time", code: "guard id.cookieValue != sent else { return }"),
    Plant("public", code: "public struct Wide {}"),
    Plant("public", code: "  public private(set) var wide = 1"),
    Plant("public", code: "@inlinable public func wide() {}", at: "Sources/Features/Gateway/Sample.swift"),
    Plant("public", code: "public var farAway: Int { 1 }", at: "Sources/Core/IntercomCore/Time.swift"),
    Plant("public", code: "public func farAway() -> Int { 1 }", at: "Sources/Core/IntercomCore/Time.swift"),
    Plant(
      "public", line: 3, [SourceFile("Sources/Wire/HTTP1/FieldID.swift", "@inlinable\nfunc a() {}\n  public init(b: Int) { c = b }\n")]),
    Plant("open work", code: "// TO" + "DO: later"),
    Plant("open work", [SourceFile("docs/a.md", "one\nFIX" + "ME two\n")]),
    Plant("machine paths", [SourceFile("dev/lib.sh", "one\ncd /wo" + "rk/main\n")]),
    Plant("registry hosts", [SourceFile("docs/a.md", "one\nfrom https://py" + "pi.org/simple\n")]),
    Plant(
      "links",
      [SourceFile("docs/b.md", "[here](a.md) [far](https://example.test/)\n[gone](../nowhere.md#part)\n"), SourceFile("docs/a.md", "")]),
    Plant("scripts", line: 1, [SourceFile("dev/run", "#!/usr/bin/env bash\nset -euo pipefail\n")]),
    Plant("scripts", line: 1, [SourceFile("dev/run", "#!/usr/bin/env bash\necho\n", isExecutable: true)]),
    Plant("scripts", line: 1, [SourceFile(".ci/run", "#!/bin/sh\nset -euo pipefail\n", isExecutable: true)]),
    Plant("scripts", line: 1, [SourceFile("dev/lib.sh", String(repeating: "true\n", count: 150))]),
  ]

  /// Each ban stands in a sample that gives it its most usual form.
  private static let bans: [Plant] = Ban.all.map { ban in
    switch ban.pattern {
    case "-Ounchecked": Plant(ban.pattern, [SourceFile("dev/lib.sh", "one\nswift build -Xswiftc -Ounchecked\n")])
    case "import Foundation\n": Plant(ban.pattern, code: "import Foundation")
    default: Plant(ban.pattern, code: "  \(ban.pattern) ")
    }
  }
}
