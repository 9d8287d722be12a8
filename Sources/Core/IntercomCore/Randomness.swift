import Linux

/// Where random bytes come from, given at the composition root so that tests can repeat a run.
package protocol RandomSource: Sendable {
  /// `count` bytes that nobody can predict.
  func bytes(_ count: Int) -> [UInt8]
}

/// The kernel's generator (getrandom(2)).
package struct SystemRandom: RandomSource {
  package init() {}
  package func bytes(_ count: Int) -> [UInt8] { Linux.randomBytes(count) }
}
