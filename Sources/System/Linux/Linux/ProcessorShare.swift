/// How many processors the control groups of this process leave it ([cgroup v2, CPU](https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu);
/// [v1](https://docs.kernel.org/scheduler/sched-bwc.html)): containers get their CPU limits so, and see all processors of the machine all the same.
package enum ProcessorShare {
  /// Where v2 is mounted, alone or beside v1.
  private static let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
  /// Where the `cpu` controller of v1 is mounted.
  private static let oldMounts = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]

  /// The smallest limit of all groups that this process is in, their ancestors included, in whole processors, rounded up; nil: there is none.
  ///
  /// A container sees its own group at the root of the mount, whatever `/proc/self/cgroup` calls it: the root is looked at in any case.
  /// - Parameter read: a whole file; nil when it is not there.
  package static func limit(_ read: (String) -> [UInt8]?) -> Int? {
    let groups = groups(read("/proc/self/cgroup") ?? [])
    var limits: [Int] = []
    for folder in mounts.flatMap({ folders(groups.group, below: $0) }) {
      if let text = read(folder + "/cpu.max"), let limit = processors(maximum: text) { limits.append(limit) }
    }
    for folder in oldMounts.flatMap({ folders(groups.oldGroup, below: $0) }) {
      if let quota = read(folder + "/cpu.cfs_quota_us"), let period = read(folder + "/cpu.cfs_period_us"),
        let limit = processors(quota: number(quota[...]), period: number(period[...]))
      {
        limits.append(limit)
      }
    }
    return limits.min()
  }

  /// `cpu.max`: quota and period in µs, or `max` and the period. Nil: no limit, or nothing that can be read.
  package static func processors(maximum text: [UInt8]) -> Int? {
    let parts = text.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
    guard parts.count == 2 else { return nil }
    return processors(quota: number(parts[0]), period: number(parts[1]))
  }

  /// Rounded up, at least 1; nil without a quota (v1 says -1).
  package static func processors(quota: Int?, period: Int?) -> Int? {
    guard let quota, let period, quota > 0, period > 0 else { return nil }
    let (whole, rest) = quota.quotientAndRemainder(dividingBy: period)
    return rest == 0 ? whole : whole + 1
  }

  /// Lines are `number:controllers:path`; the line of v2 names no controllers.
  private static func groups(_ file: [UInt8]) -> (group: ArraySlice<UInt8>, oldGroup: ArraySlice<UInt8>) {
    var groups: (ArraySlice<UInt8>, ArraySlice<UInt8>) = ([], [])
    for line in file.split(separator: UInt8(ascii: "\n")) {
      let parts = line.split(separator: UInt8(ascii: ":"), maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      if parts[1].isEmpty { groups.0 = parts[2] }
      if parts[1].split(separator: UInt8(ascii: ",")).contains(where: { $0.elementsEqual("cpu".utf8) }) { groups.1 = parts[2] }
    }
    return groups
  }

  /// The mount, and each folder on the way from there to the group. A group outside of what is mounted here (`/../…`) has none.
  private static func folders(_ group: ArraySlice<UInt8>, below mount: String) -> [String] {
    let segments = group.split(separator: UInt8(ascii: "/")).map { String(decoding: $0, as: UTF8.self) }
    guard !segments.contains("..") else { return [mount] }
    return segments.reduce(into: [mount]) { $0.append(($0.last ?? mount) + "/" + $1) }
  }

  private static func number(_ text: ArraySlice<UInt8>) -> Int? {
    Int(String(decoding: text.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
  }
}
