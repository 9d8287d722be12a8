import Linux
import Testing

@Suite("Processors that a process may use")
struct ProcessorShareTests {
  private func limit(_ files: [String: String]) -> Int? { ProcessorShare.limit { files[$0].map { Array($0.utf8) } } }

  static let maxima: [(String, Int?)] = [
    ("50000 100000\n", 1), ("100000 100000\n", 1), ("100001 100000\n", 2), ("250000 100000", 3), ("400000 100000\n", 4), ("1 1000000\n", 1),
    ("9223372036854775807 1\n", Int.max), ("max 100000\n", nil), ("max\n", nil), ("", nil), ("0 100000\n", nil), ("100000 0\n", nil),
    ("-1 100000\n", nil), ("100000\n", nil), ("99999999999999999999 100000\n", nil), ("1e5 100000\n", nil), ("100000 100000 1\n", nil),
  ]

  @Test("cpu.max of cgroup v2, rounded up", arguments: maxima)
  func maximum(_ text: String, _ expected: Int?) { #expect(ProcessorShare.processors(maximum: Array(text.utf8)) == expected) }

  @Test("a container sees its group at the root of the mount, or by its whole path; the smallest of all ancestors counts")
  func groups() {
    let root = "/sys/fs/cgroup/cpu.max"
    let pod = "/sys/fs/cgroup/kubepods.slice/pod1"
    #expect(limit([:]) == nil)
    #expect(limit(["/proc/self/cgroup": "0::/\n", root: "50000 100000\n"]) == 1)
    // Without /proc too.
    #expect(limit([root: "200000 100000\n"]) == 2)
    let names = ["/proc/self/cgroup": "0::/kubepods.slice/pod1/c:1\n"]
    #expect(limit(names) == nil)
    #expect(limit(names.merging(["\(pod)/c:1/cpu.max": "150000 100000\n"]) { $1 }) == 2)
    #expect(limit(names.merging(["\(pod)/c:1/cpu.max": "max 100000\n", "\(pod)/cpu.max": "300000 100000\n"]) { $1 }) == 3)
    #expect(limit(names.merging(["\(pod)/c:1/cpu.max": "800000 100000\n", "\(pod)/cpu.max": "300000 100000\n"]) { $1 }) == 3)
    #expect(limit(names.merging(["\(pod)/c:1/cpu.max": "100000 100000\n", "\(pod)/cpu.max": "300000 100000\n"]) { $1 }) == 1)
    // Of another group nothing is taken.
    #expect(limit(names.merging(["\(pod)/c:2/cpu.max": "100000 100000\n"]) { $1 }) == nil)
    #expect(limit(["/proc/self/cgroup": "0::/../other\n", "/sys/fs/cgroup/../other/cpu.max": "1 1\n", root: "400000 100000\n"]) == 4)
  }

  @Test("cgroup v1: quota and period in files of their own, below either name of the mount; -1 is no limit")
  func old() {
    let file = "11:memory:/m\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/s\n0::/\n"
    func files(_ folder: String, _ quota: String, _ period: String = "100000\n") -> [String: String] {
      ["/proc/self/cgroup": file, "\(folder)/cpu.cfs_quota_us": quota, "\(folder)/cpu.cfs_period_us": period]
    }
    for mount in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"] {
      for folder in [mount, mount + "/docker", mount + "/docker/abc"] {
        #expect(limit(files(folder, "50000\n")) == 1 && limit(files(folder, "250000\n")) == 3)
        #expect(limit(files(folder, "-1\n")) == nil && limit(files(folder, "50000\n", "0\n")) == nil)
      }
      #expect(limit(files(mount + "/m", "50000\n")) == nil && limit(files(mount + "/s", "50000\n")) == nil)
    }
    #expect(limit(["/proc/self/cgroup": file, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n"]) == nil)
    // Both hierarchies at once, as systemd mounts them.
    let both = files("/sys/fs/cgroup/cpu/docker", "300000\n").merging(["/sys/fs/cgroup/unified/cpu.max": "200000 100000\n"]) { $1 }
    #expect(limit(both) == 2)
  }

  @Test("this process has at least one")
  func here() { #expect(Threads.processors >= 1) }
}
