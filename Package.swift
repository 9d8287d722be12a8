// swift-tools-version: 6.2
import PackageDescription

// The folder is the layer (docs/decisions/0004-the-folder-is-the-layer.md): a target imports rows below its own, and in its own row only what stands
// to its left. Tests/TidyTests reads this file and the imports and refuses anything else.

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny")]

/// A Swift module of one layer folder.
func module(_ layer: String, _ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
  .target(
    name: name, dependencies: dependencies, path: "Sources/\(layer)/\(name)", resources: resources, swiftSettings: strict)
}

/// A C library of Debian: a module map and its shim, imported by its Swift face alone.
func library(_ face: String, _ name: String, pkgConfig: String?, apt: String) -> Target {
  .systemLibrary(name: name, path: "Sources/System/\(face)/\(name)", pkgConfig: pkgConfig, providers: [.apt([apt])])
}

/// C of our own, which no Swift imports.
func ownC(_ face: String, _ name: String) -> Target { .target(name: name, path: "Sources/System/\(face)/\(name)") }

/// The safe Swift face of a C library.
func face(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, path: "Sources/System/\(name)/\(name)", swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
  .testTarget(name: name, dependencies: dependencies, path: "Tests/\(name)", resources: resources, swiftSettings: strict)
}

let package = Package(
  name: "intercom",
  products: [.executable(name: "intercom", targets: ["intercom"])],
  targets: [
    // System
    library("Linux", "CLinux", pkgConfig: nil, apt: "libc6-dev"),
    library("OpenSSL", "COpenSSL", pkgConfig: "libssl", apt: "libssl-dev"),
    library("Curl", "CCurl", pkgConfig: "libcurl", apt: "libcurl4-openssl-dev"),
    library("YAML", "CYAML", pkgConfig: "yaml-0.1", apt: "libyaml-dev"),
    library("NGHTTP2", "CNGHTTP2", pkgConfig: "libnghttp2", apt: "libnghttp2-dev"),
    library("SQLite", "CSQLite", pkgConfig: "sqlite3", apt: "libsqlite3-dev"),
    // The only C of our own: it runs before the Swift runtime does.
    ownC("Linux", "CStart"),
    face("Linux", ["CLinux", "CStart"]),
    face("OpenSSL", ["COpenSSL"]),
    face("NGHTTP2", ["CNGHTTP2"]),
    face("Curl", ["CCurl"]),
    face("YAML", ["CYAML"]),
    face("SQLite", ["CSQLite", "Linux"]),
    // Core
    module("Core", "IntercomCore", ["Linux"]),
    module("Core", "HTTPMessage", ["IntercomCore"]),
    module("Core", "StrictJSON", ["IntercomCore"]),
    module("Core", "Cryptography", ["IntercomCore", "OpenSSL"]),
    module("Core", "JOSE", ["IntercomCore", "StrictJSON", "Cryptography", "OpenSSL"]),
    module("Core", "Telemetry", ["IntercomCore", "Linux"]),
    // Wire
    module("Wire", "HTTP1", ["IntercomCore", "HTTPMessage"]),
    module("Wire", "HTTP2", ["IntercomCore", "HTTPMessage", "HTTP1"]),
    // IO
    module("IO", "Workers", ["IntercomCore", "Linux"]),
    module("IO", "EventLoop", ["IntercomCore", "Linux", "Workers"]),
    module("IO", "TLS", ["EventLoop", "Linux", "OpenSSL"]),
    // Domain
    module("Domain", "OIDC", ["IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry"]),
    module("Domain", "Sessions", ["IntercomCore", "StrictJSON", "Cryptography", "Telemetry"]),
    module("Domain", "Matrix", ["IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "Telemetry", "Sessions"]),
    module("Domain", "Policy", ["IntercomCore", "HTTPMessage"]),
    // Adapters
    module("Adapters", "CurlTransport", ["IntercomCore", "HTTPMessage", "Curl", "Workers"]),
    module("Adapters", "ConfigurationYAML", ["IntercomCore", "YAML"]),
    module(
      "Adapters", "SessionStoreRedis",
      ["IntercomCore", "Telemetry", "Cryptography", "Sessions", "EventLoop", "TLS", "Linux", "OpenSSL"]),
    module("Adapters", "SessionStoreSQLite", ["IntercomCore", "Telemetry", "Sessions", "SQLite", "Linux"]),
    // HTTP
    module(
      "HTTP", "HTTPServer",
      [
        "IntercomCore", "HTTPMessage", "Cryptography", "Telemetry", "HTTP1", "HTTP2", "EventLoop", "TLS", "Workers", "Linux", "OpenSSL",
        "NGHTTP2",
      ]),
    module(
      "HTTP", "ReverseProxy",
      [
        "IntercomCore", "HTTPMessage", "Cryptography", "Telemetry", "HTTP1", "EventLoop", "TLS", "Workers", "Policy", "HTTPServer", "Linux",
        "OpenSSL",
      ]),
    // Features
    module(
      "Features", "Gateway",
      [
        "IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "Telemetry", "HTTP1", "EventLoop", "Workers", "OIDC", "Sessions",
        "Matrix",
        "Policy",
        "HTTPServer", "ReverseProxy",
      ]),
    module(
      "Features", "DemoWorkplace",
      ["IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry", "Linux", "Workers", "HTTPServer", "DemoPages"]),
    module("Features", "DemoPages", [], resources: [.embedInCode("assets")]),
    // App
    module(
      "App", "IntercomApp",
      [
        "IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry", "HTTP1", "EventLoop", "Workers", "OIDC",
        "Sessions", "Matrix", "Policy",
        "CurlTransport", "ConfigurationYAML", "SessionStoreSQLite", "SessionStoreRedis", "HTTPServer", "ReverseProxy", "Gateway",
        "DemoWorkplace", "Linux",
        "OpenSSL",
      ]),
    .executableTarget(name: "intercom", dependencies: ["IntercomApp"], path: "Sources/App/intercom", swiftSettings: strict),
    // Testing
    module(
      "Testing", "IntercomTesting",
      [
        "IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry", "HTTP1", "EventLoop", "Workers", "OIDC",
        "Sessions", "Matrix", "Policy",
        "CurlTransport", "HTTPServer", "ReverseProxy", "Gateway", "DemoWorkplace", "Linux", "OpenSSL", "TLS",
      ]),
    // Writes into a session database until it is killed: what is there afterwards is what tests look at.
    .executableTarget(
      name: "store-writer",
      dependencies: ["IntercomCore", "Telemetry", "Linux", "Sessions", "SessionStoreSQLite", "IntercomTesting"],
      path: "Sources/Testing/store-writer", swiftSettings: strict),
    // What dev/bench runs beside `intercom serve`: a provider, and stores that are full already. It names all modules whose values
    // IntercomApp's `Deployment` holds, imported or not: SwiftPM compiles a target anew only when a module that it names has changed, and
    // one that knows an old layout crashes.
    .executableTarget(
      name: "bench-host",
      dependencies: [
        "IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry", "HTTP1", "Linux", "EventLoop", "OIDC", "Sessions",
        "Matrix",
        "Policy", "CurlTransport", "SessionStoreSQLite", "SessionStoreRedis", "HTTPServer", "ReverseProxy", "Gateway", "DemoWorkplace",
        "IntercomApp", "OpenSSL",
        "IntercomTesting",
      ],
      path: "Sources/Testing/bench-host", swiftSettings: strict),
    tests("CoreTests", ["IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "Telemetry", "Linux", "IntercomTesting"]),
    tests("JOSETests", ["IntercomCore", "OpenSSL", "StrictJSON", "Cryptography", "JOSE", "IntercomTesting"]),
    tests("WireTests", ["IntercomCore", "HTTPMessage", "HTTP1", "HTTP2", "Policy", "ReverseProxy", "IntercomTesting"]),
    tests("IOTests", ["IntercomCore", "EventLoop", "Workers", "Linux", "IntercomTesting"]),
    tests(
      "HTTPTests",
      [
        "IntercomCore", "HTTPMessage", "Telemetry", "HTTP1", "EventLoop", "Workers", "HTTPServer", "ReverseProxy", "Policy", "Linux",
        "OpenSSL", "IntercomTesting",
      ]),
    tests("OIDCTests", ["IntercomCore", "HTTPMessage", "StrictJSON", "JOSE", "OIDC", "Cryptography", "IntercomTesting"]),
    tests("SessionsTests", ["IntercomCore", "HTTPMessage", "Telemetry", "Sessions", "Policy", "Cryptography", "IntercomTesting"]),
    tests(
      "MatrixTests",
      ["IntercomCore", "HTTPMessage", "StrictJSON", "Telemetry", "Sessions", "Matrix", "Cryptography", "IntercomTesting"]),
    tests(
      "AdaptersTests",
      [
        "IntercomCore", "HTTPMessage", "Telemetry", "Sessions", "CurlTransport", "ConfigurationYAML", "YAML", "SessionStoreSQLite",
        "SQLite", "SessionStoreRedis", "EventLoop", "Workers", "OpenSSL",
        "IntercomTesting", "store-writer",
      ]),
    tests(
      "GatewayTests",
      [
        "IntercomCore", "HTTPMessage", "HTTP1", "ReverseProxy", "Gateway", "Sessions", "OIDC", "Policy", "Cryptography", "HTTPServer",
        "IntercomTesting",
      ]),
    tests(
      "DemoTests",
      [
        "IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry", "Workers", "OIDC", "HTTPServer", "DemoWorkplace",
        "DemoPages", "Linux", "IntercomTesting",
      ]),
    tests(
      "AppTests",
      [
        "IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry", "HTTP1", "EventLoop", "Workers", "OIDC",
        "Sessions", "Matrix", "ConfigurationYAML",
        "HTTPServer", "ReverseProxy", "Gateway", "DemoWorkplace", "CurlTransport", "SessionStoreRedis", "IntercomApp", "Linux", "OpenSSL",
        "IntercomTesting",
      ]),
    tests(
      "EndToEndTests",
      [
        "IntercomCore", "HTTPMessage", "StrictJSON", "Cryptography", "JOSE", "Telemetry", "Sessions", "CurlTransport", "SessionStoreSQLite",
        "SQLite", "HTTPServer", "IntercomApp", "DemoWorkplace", "IntercomTesting", "Linux",
        "OpenSSL",
      ]),
    tests("TidyTests", ["IntercomTesting"]),
  ],
  swiftLanguageModes: [.v6]
)
