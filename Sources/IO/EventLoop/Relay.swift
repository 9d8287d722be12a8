import Linux

/// Bytes on their way from one connection's socket to another's through a pipe in the kernel: the rest of a long body, which nobody has to see.
/// Made by `TCPConnection.relay`.
final class Relay {
  let source: TCPConnection
  let target: TCPConnection
  let pipe: SplicePipe
  /// Bytes that are still to be taken from the source; `.max`: up to its end.
  var left: Int
  /// Bytes in the pipe.
  var held = 0
  /// The target's socket takes no more for now.
  var isBlocked = false

  /// Bytes that are taken at once, and so the most that a slow target makes the kernel hold in the pipe.
  static let step = 262_144

  init(from source: TCPConnection, to target: TCPConnection, pipe: SplicePipe, count: Int) {
    self.source = source
    self.target = target
    self.pipe = pipe
    left = count
  }

  func took(_ count: Int) {
    held = count
    if left != .max { left &-= count }
  }
}
