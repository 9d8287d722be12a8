import CPeer
import FoundationEssentials
import Synchronization

/// The entry points. SwiftPM calls `main` of an executable `<module>_main`; libFuzzer's own is left aside.
@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
  _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutableRawPointer, _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// `wirefuzz unpack|describe|pack TARGET FOLDER`, `wirefuzz differences`, or libFuzzer's arguments with `WIREFUZZ_TARGET` set.
@_cdecl("wirefuzz_main")
package func wirefuzzMain(_ count: CInt, _ arguments: UnsafeMutableRawPointer) -> CInt {
  let words = CommandLine.arguments.dropFirst()
  if let command = Command(rawValue: words.first ?? "") { return command.run(Array(words.dropFirst())) }
  guard fuzzed != nil else {
    print("WIREFUZZ_TARGET: one of \(WireProperty.allCases.map(\.rawValue).joined(separator: ", "))")
    return 2
  }
  var count = count
  var arguments = arguments
  return withUnsafeMutablePointer(to: &count) { count in
    withUnsafeMutablePointer(to: &arguments) { arguments in
      runFuzzer(count, UnsafeMutableRawPointer(arguments)) { fuzzOne($0, $1) }
    }
  }
}

private let fuzzed = ProcessInfo.processInfo.environment["WIREFUZZ_TARGET"].flatMap(WireProperty.init(rawValue:))

/// libFuzzer's own driver refers to it.
@_cdecl("LLVMFuzzerTestOneInput")
package func fuzzOne(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let fuzzed else { return -1 }
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  #if PLANTED
    // `dev/fuzz --canary` must find it: two bytes that no corpus holds side by side.
    if zip(bytes, bytes.dropFirst()).contains(where: { $0 == 0x51 && $1 == 0x7a }) {
      finding(Broken("the planted fault"), bytes)
      fatalError("planted")
    }
  #endif
  do throws(Broken) {
    try fuzzed.check(bytes)
    _ = try Peer.differences(fuzzed, bytes)
  } catch {
    finding(error, bytes)
  }
  return 0
}

/// What has been said already.
private let said = Mutex<Set<String>>([])

/// Says each finding once and goes on: a run that ended here would not see what lies behind. The input stands there as a line of a corpus.
private func finding(_ broken: Broken, _ bytes: [UInt8]) {
  let (isNew, count) = said.withLock { ($0.insert(broken.description).inserted, $0.count) }
  guard isNew else { return }
  let text = "FINDING \(broken): \(Corpus.line(bytes))\n"
  for byte in text.utf8 { peer_say(byte) }
  // libFuzzer takes the trap for a crash.
  precondition(count < 20, "too many findings")
}
