import FoundationEssentials
import IntercomCore
import Linux

/// A real server or program that some tests need and `dev/services up` or `dev/test` provides.
package enum TestService: String, Sendable, CaseIterable {
  /// Keycloak 26 with the realm of services/keycloak.
  case keycloak
  /// Apache with mod_dav; it takes tokens of Keycloak for the audience `files` only.
  case files
  /// Two applications behind Apache's mod_auth_mellon, whose users Keycloak signs in by SAML.
  case saml
  /// slapd, whose people are users of Keycloak's realm.
  case ldap
  /// Synapse, at which Intercom is an application service; alice and bob have accounts, umlaut has none.
  case synapse
  /// Headless Chromium and its WebDriver.
  case chromium
}

/// A service that a test needs is not there.
package struct MissingService: Error, CustomStringConvertible {
  package let description: String
}

/// The test servers' addresses, as `dev/services up` wrote them to `.build/services/env`.
///
/// A test is `.enabled(if: Services.available(.keycloak))` and begins with `try Services.require(.keycloak)`: without the server it is skipped,
/// and with `INTERCOM_REQUIRE_SERVICES=1` (as in CI) it fails.
package struct Services: Sendable {
  /// The issuer, byte for byte.
  package let issuer: String
  /// Keycloak's port on 127.0.0.1.
  package let keycloakPort: Int
  /// The root of the file store, with a slash at its end.
  package let filesURL: String
  /// Where Keycloak expects Intercom: its redirect and back-channel addresses are registered for this port.
  package let intercomURL: String
  package let intercomPort: Int
  /// Where the tests' mail page may be served.
  package let mailPort: Int

  /// Above the SAML applications `/wiki/` and `/notes/`, without a slash at its end; empty when they are not there.
  package let samlURL: String
  /// The directory, such as `ldap://127.0.0.1:28089`; empty when it is not there.
  package let ldapURL: String
  /// The Matrix homeserver without a slash at its end, its name, and the file with the application service's secret; empty when it is not
  /// there.
  package let matrixURL: String
  package let matrixServerName: String
  package let matrixSecretFile: String

  /// Must every service be there?
  package static var areRequired: Bool {
    environmentStrings().contains { $0.utf8.starts(with: "INTERCOM_REQUIRE_SERVICES=".utf8) && !$0.hasSuffix("=") }
  }

  /// True also when a service is missing that must be there: then the test runs and fails.
  package static func available(_ services: [TestService]) -> Bool {
    areRequired || services.allSatisfy { isUp($0) }
  }

  /// The addresses, when all these services are up.
  @discardableResult
  package static func require(_ services: TestService...) throws -> Services {
    for service in services where !isUp(service) {
      throw MissingService(
        description: "\(service.rawValue) is not there: \(service == .chromium ? "dev/test installs it" : "run dev/services up")")
    }
    return try Services(environment: readEnvironment())
  }

  private init(environment: [String: String]) throws(MissingService) {
    func value(_ name: String) throws(MissingService) -> String {
      guard let value = environment[name] else {
        throw MissingService(description: "no \(name) in .build/services/env: run dev/services up")
      }
      return value
    }
    issuer = try value("KEYCLOAK_ISSUER")
    keycloakPort = Int(try value("KEYCLOAK_PORT")) ?? 0
    filesURL = try value("FILES_URL")
    intercomURL = try value("INTERCOM_URL")
    intercomPort = Int(try value("INTERCOM_PORT")) ?? 0
    mailPort = Int(try value("MAIL_PORT")) ?? 0
    samlURL = environment["SAML_URL"] ?? ""
    ldapURL = environment["LDAP_URL"] ?? ""
    matrixURL = environment["MATRIX_URL"] ?? ""
    matrixServerName = environment["MATRIX_SERVER_NAME"] ?? ""
    matrixSecretFile = environment["MATRIX_AS_TOKEN_FILE"] ?? ""
  }

  private static func isUp(_ service: TestService) -> Bool {
    let environment = readEnvironment()
    switch service {
    case .chromium: return Chromium.driverPath != nil
    case .keycloak: return listens(environment["KEYCLOAK_PORT"].flatMap { UInt16($0) })
    case .files: return listens(environment["FILES_URL"].flatMap { try? LoopbackURL($0) }.flatMap { UInt16(exactly: $0.port) })
    case .saml: return listens(environment["SAML_URL"].flatMap { try? LoopbackURL($0) }.flatMap { UInt16(exactly: $0.port) })
    case .ldap: return listens(environment["LDAP_URL"]?.split(separator: ":").last.flatMap { UInt16($0) })
    case .synapse: return listens(environment["MATRIX_URL"]?.split(separator: ":").last.flatMap { UInt16($0) })
    }
  }

  private static func listens(_ port: UInt16?) -> Bool {
    guard let port else { return false }
    return (try? BlockingSocket(loopbackPort: port, deadline: monotonicNanoseconds() &+ 1_000_000_000)) != nil
  }

  private static func readEnvironment() -> [String: String] {
    let bytes = FileManager.default.contents(atPath: PackageRoot.build + "/services/env") ?? Data()
    var values: [String: String] = [:]
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      let parts = line.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { values[String(decoding: parts[0], as: UTF8.self)] = String(decoding: parts[1], as: UTF8.self) }
    }
    return values
  }
}
