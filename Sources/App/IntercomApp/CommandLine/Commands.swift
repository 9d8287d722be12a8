import ConfigurationYAML
import Linux

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
  /// Of the admin listener, from `ADMIN_HOST` and `ADMIN_PORT`; nil: 127.0.0.1:8009, or any free port when that is taken.
  package var admin: ListenAddress?

  package init(port: Int = 8008, admin: ListenAddress? = nil) {
    self.port = port
    self.admin = admin
  }
}

/// The commands that need the whole application, given to the command line so that it can be tested without starting a server. Each
/// returns the exit code.
package struct Commands: Sendable {
  package var serve: @Sendable (ServedConfiguration) async throws -> Int32
  package var demo: @Sendable (DemoOptions) async throws -> Int32

  package init(
    serve: @escaping @Sendable (ServedConfiguration) async throws -> Int32, demo: @escaping @Sendable (DemoOptions) async throws -> Int32
  ) {
    self.serve = serve
    self.demo = demo
  }
}

extension Commands {
  /// What the executable runs.
  package static let built = Commands(
    serve: { served in try await Run.serve(served) },
    demo: { options in try await Run.demo(options) { line in _ = writeAll(Array((line + "\n").utf8), to: 1) } })
}
