import IntercomTesting
import Testing

extension Trait where Self == ConditionTrait {
  /// The test is skipped without these services, and fails without them where they must be there (`INTERCOM_REQUIRE_SERVICES=1`).
  static func needs(_ services: TestService...) -> Self {
    .enabled(
      if: Services.available(services),
      "needs \(services.map(\.rawValue).joined(separator: ", ")): dev/services up starts the servers, dev/test installs the browser")
  }
}
