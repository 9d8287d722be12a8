/// The numbers with which the process ends; those above 63 are of sysexits.h.
package enum ExitCode {
  package static let success: Int32 = 0
  package static let failure: Int32 = 1
  /// EX_USAGE: the command line is wrong.
  package static let usage: Int32 = 64
  /// EX_CONFIG: the configuration is wrong.
  package static let configuration: Int32 = 78
}

/// What `intercom demo` was asked for.
package struct DemoOptions: Sendable, Equatable {
  package var port: Int
  package init(port: Int = 8008) { self.port = port }
}

/// The commands that need the whole application, given to the command line so that it can be tested without starting a server. Each
/// returns the exit code.
package struct Commands: Sendable {
  package var serve: @Sendable (Configuration) async throws -> Int32
  package var demo: @Sendable (DemoOptions) async throws -> Int32

  package init(
    serve: @escaping @Sendable (Configuration) async throws -> Int32, demo: @escaping @Sendable (DemoOptions) async throws -> Int32
  ) {
    self.serve = serve
    self.demo = demo
  }
}

/// A command that this build does not have.
struct NotInThisBuild: Error, CustomStringConvertible {
  let command: String
  var description: String { "'intercom \(command)' is not in this build" }
}

extension Commands {
  /// What the executable runs.
  package static let built = Commands(
    serve: { _ in throw NotInThisBuild(command: "serve") }, demo: { _ in throw NotInThisBuild(command: "demo") })
}
