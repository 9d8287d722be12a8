import FoundationEssentials

/// What a program uses, as `/proc` tells it.
extension ChildProcess {
  /// A line of `/proc/…/status`, in KiB, such as `VmRSS`; 0 when the program has ended.
  package func memory(_ name: String) -> Int {
    let status = (try? String(contentsOfFile: "/proc/\(identifier)/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line?.split(separator: " ").compactMap { Int($0) }.first ?? 0
  }

  /// By how many KiB the program grew at most while `body` ran.
  package func growth(_ body: () async throws -> Void) async throws -> Int {
    // The high-water mark begins anew (proc(5), clear_refs), where this user may say so; else it goes on from where it is.
    try? Data("5".utf8).write(to: URL(filePath: "/proc/\(identifier)/clear_refs"))
    let before = memory("VmHWM")
    try await body()
    return memory("VmHWM") - before
  }

  /// Processor time so far, user and system (proc(5), stat: in hundredths of a second on Linux).
  package var processorTime: Duration {
    let stat = (try? String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .utf8)) ?? ""
    // The second field is the name in parentheses, which may hold blanks.
    let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else { return .zero }
    return .milliseconds(10 * (user + system))
  }
}
