// swift-tools-version: 6.2
import PackageDescription

// The wire under libFuzzer: a package of its own, so that the build of the root knows nothing of it. Its modules are links to the root's
// folders, and those below the wire are all there is. Build it with dev/fuzz: without `-sanitize=fuzzer` it does not link. docs/fuzzing.md
let package = Package(
  name: "fuzzing",
  targets: [
    .systemLibrary(name: "CLinux", path: "Sources/CLinux"),
    .target(name: "Linux", dependencies: ["CLinux"]),
    .target(name: "IntercomCore", dependencies: ["Linux"]),
    .target(name: "HTTPMessage", dependencies: ["IntercomCore"]),
    .target(name: "HTTP1", dependencies: ["IntercomCore", "HTTPMessage"]),
    // Debian's http-parser (libhttp-parser-dev), a parser of other hands.
    .target(name: "CPeer", linkerSettings: [.linkedLibrary("http_parser")]),
    .executableTarget(
      name: "wirefuzz", dependencies: ["IntercomCore", "HTTPMessage", "HTTP1", "CPeer"], swiftSettings: [.treatAllWarnings(as: .error)]),
  ],
  swiftLanguageModes: [.v6]
)
