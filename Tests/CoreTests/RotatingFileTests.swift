import FoundationEssentials
import IntercomCore
import IntercomTesting
import Linux
import Testing

@testable import Telemetry

@Suite("Log files")
struct RotatingFileTests {
  private func lines(_ path: String) throws -> [String] {
    String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self).split(separator: "\n").map(String.init)
  }

  @Test("a full file is put aside, the oldest goes, and standard error has every line")
  func rotation() throws {
    let folder = try TestFolder()
    let (path, memory) = (folder.file("intercom.log"), MemorySink())
    let sink = try RotatingFileSink(path: path, size: 20, files: 3, first: memory)
    for number in 1...9 { sink.write(Array("line \(number)xx\n".utf8)) }
    sink.finish()
    #expect(memory.lines.count == 9 && sink.dropped == 0)
    #expect(try lines(path) == ["line 9xx"])
    #expect(try lines(path + ".1") == ["line 7xx", "line 8xx"])
    #expect(try lines(path + ".2") == ["line 5xx", "line 6xx"])
    #expect(!FileManager.default.fileExists(atPath: path + ".3"))
  }

  @Test("a file that is there already is continued, and counts")
  func continued() throws {
    let folder = try TestFolder()
    let path = folder.file("intercom.log")
    try Data("before, and long enough\n".utf8).write(to: URL(filePath: path))
    let sink = try RotatingFileSink(path: path, size: 30, files: 2, first: NoLog())
    sink.write(Array("after\n".utf8))
    sink.write(Array("and more\n".utf8))
    sink.finish()
    #expect(try lines(path) == ["and more"])
    #expect(try lines(path + ".1") == ["before, and long enough", "after"])
  }

  @Test("a file that cannot be opened is an error; one that takes no more is counted (fault 60)")
  func failures() throws {
    #expect(throws: (any Error).self) { try RotatingFileSink(path: "/nowhere/intercom.log", size: 100, files: 2) }
    let memory = MemorySink()
    let sink = try RotatingFileSink(path: "/dev/full", size: 1 << 20, files: 2, first: memory)
    sink.write(Array("a line\n".utf8))
    sink.finish()
    #expect(sink.dropped == 1 && memory.lines == ["a line"])
  }

  /// What stands below a name, links not followed.
  private func entry(_ path: String) -> FileAttributeType? {
    (try? FileManager.default.attributesOfItem(atPath: path))?[.type] as? FileAttributeType
  }
  private func size(_ path: String) throws -> Int { try Data(contentsOf: URL(filePath: path)).count }

  @Test("a file that cannot be put aside begins anew: never larger than it may be, said once; it is put aside again when that works")
  func cannotBePutAside() async throws {
    let folder = try TestFolder()
    let (path, memory) = (folder.file("intercom.log"), MemorySink())
    try FileManager.default.createDirectory(atPath: path + ".1/taken", withIntermediateDirectories: true)
    let sink = try RotatingFileSink(path: path, size: 1_000, files: 2, first: memory)
    for number in 1_000..<1_200 {
      sink.write(Array("line \(number)\n".utf8))
      sink.finish()
      #expect(try size(path) <= 1_000)
    }
    #expect(sink.dropped == 0 && entry(path + ".1") == .typeDirectory)
    #expect(try lines(path).last == "line 1199")
    let told = memory.lines.filter { $0.contains("log_file_not_rotated") }
    #expect(told.count == 1 && told[0].contains(path), "\(told)")
    try FileManager.default.removeItem(atPath: path + ".1")
    for number in 1_200..<1_300 { sink.write(Array("line \(number)\n".utf8)) }
    sink.finish()
    #expect(try lines(path).last == "line 1299" && entry(path + ".1") == .typeRegular)
    #expect(try lines(path + ".1").last.map { $0 < "line 1299" } == true)
    // The next outage is told of anew.
    try FileManager.default.removeItem(atPath: path + ".1")
    try FileManager.default.createDirectory(atPath: path + ".1/taken", withIntermediateDirectories: true)
    for number in 1_300..<1_400 { sink.write(Array("line \(number)\n".utf8)) }
    sink.finish()
    #expect(memory.lines.filter { $0.contains("log_file_not_rotated") }.count == 2 && sink.dropped == 0)
  }

  @Test("with one file alone nothing is put aside")
  func alone() throws {
    let folder = try TestFolder()
    let path = folder.file("intercom.log")
    let sink = try RotatingFileSink(path: path, size: 20, files: 1, first: NoLog())
    for number in 1...9 { sink.write(Array("line \(number)xx\n".utf8)) }
    sink.finish()
    #expect(try lines(path) == ["line 9xx"] && sink.dropped == 0)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["intercom.log"])
  }

  @Test("what is no regular file is written to and never renamed: a device behind a link, as /dev/stdout may be one, and a pipe")
  func noRegularFile() async throws {
    let folder = try TestFolder()
    let (device, memory) = (folder.file("device"), MemorySink())
    try FileManager.default.createSymbolicLink(atPath: device, withDestinationPath: "/dev/null")
    let pipe = folder.file("pipe")
    #expect(try await ChildProcess("mkfifo", [pipe]).waitForExit() == .code(0))
    // It reads, and writes nothing: so it never comes to an end.
    let reader = try ChildProcess("sh", ["-c", "exec cat <> \"$0\"", pipe])
    try await waitUntilTrue("the pipe has its reader") { (try? RotatingFileSink(path: pipe, size: 20, files: 2, first: NoLog())) != nil }
    for path in [device, pipe] {
      let sink = try RotatingFileSink(path: path, size: 20, files: 2, first: memory)
      for number in 1...9 { sink.write(Array("line \(number)xx\n".utf8)) }
      sink.finish()
      #expect(sink.dropped == 0 && entry(path + ".1") == nil, "\(path)")
    }
    #expect(entry(device) == .typeSymbolicLink && memory.lines.count == 18)
    try await waitUntilTrue("the lines at the reader") { reader.lines.contains("line 9xx") }
    await reader.terminate()
  }

  @Test("what standard error goes to gets each line once")
  func twin() throws {
    let pipe = try #require(makePipe())
    defer { pipe.close() }
    let sink = try RotatingFileSink(
      path: "/proc/self/fd/\(pipe.write)", size: 20, files: 2, first: StandardErrorSink(descriptor: pipe.write))
    // Nobody reads: a pipe has room for these, and not for these twice.
    for _ in 0..<15 { sink.write([UInt8](repeating: 0x61, count: 4_000)) }
    let began = SystemTime().monotonicNow()
    sink.finish()
    #expect(sink.dropped == 0 && began.duration(to: SystemTime().monotonicNow()) < .seconds(1))
  }

  @Test("where the name is a link, files are put aside beside what it leads to, and the link stays")
  func link() throws {
    let folder = try TestFolder()
    let (path, target) = (folder.file("link"), folder.file("target"))
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
    let sink = try RotatingFileSink(path: path, size: 20, files: 2, first: NoLog())
    for number in 1...5 { sink.write(Array("line \(number)xx\n".utf8)) }
    sink.finish()
    #expect(entry(path) == .typeSymbolicLink && entry(path + ".1") == nil)
    #expect(try lines(target) == ["line 5xx"] && lines(target + ".1") == ["line 3xx", "line 4xx"])
  }

  @Test("a pipe that nobody reads is an error at once, and holds the start up no more", .timeLimit(.minutes(1)))
  func pipeWithoutReader() async throws {
    let folder = try TestFolder()
    let pipe = folder.file("pipe")
    #expect(try await ChildProcess("mkfifo", [pipe]).waitForExit() == .code(0))
    let isRefused = Monitor(false)
    // A thread of its own: the call would hold one of the test's for ever.
    try Threads.spawn(name: "opens") {
      if (try? RotatingFileSink(path: pipe, size: 20, files: 2)) == nil { isRefused.withLock { $0 = true } }
    }
    #expect(await eventually(within: .seconds(5)) { isRefused.withLock { $0 } })
    // Lets go of whoever waits all the same.
    if !isRefused.withLock({ $0 }) { _ = try await ChildProcess("dd", ["if=\(pipe)", "iflag=nonblock", "of=/dev/null"]).waitForExit() }
  }

  @Test("where neither works, lines are counted and it is tried again once a minute; standard error has them all, and is told once")
  func folderGone() throws {
    let folder = try TestFolder()
    let (inner, memory, time) = (folder.file("logs"), MemorySink(), ManualTime())
    let path = inner + "/intercom.log"
    func makeFolder() throws { try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: true) }
    try makeFolder()
    let sink = try RotatingFileSink(path: path, size: 20, files: 2, first: memory, time: time)
    func write(_ numbers: ClosedRange<Int>) {
      for number in numbers { sink.write(Array("line \(number)xx\n".utf8)) }
      sink.finish()
    }
    write(1...2)
    try FileManager.default.removeItem(atPath: inner)
    write(3...5)
    #expect(sink.dropped == 3)
    // It would work again, but nobody looks yet.
    try makeFolder()
    time.advance(by: .seconds(59))
    write(6...6)
    #expect(sink.dropped == 4 && entry(path) == nil)
    time.advance(by: .seconds(1))
    write(7...7)
    #expect(sink.dropped == 4)
    #expect(try lines(path) == ["line 7xx"])
    #expect(memory.lines.count == 8 && memory.lines.filter { $0.contains("log_file_stopped") }.count == 1)
  }

  @Test("who moved the file away gets no more lines in it, and nothing of it is moved once more")
  func movedAway() throws {
    let folder = try TestFolder()
    let path = folder.file("intercom.log")
    let sink = try RotatingFileSink(path: path, size: 20, files: 2, first: NoLog())
    func write(_ numbers: ClosedRange<Int>) {
      for number in numbers { sink.write(Array("line \(number)xx\n".utf8)) }
      sink.finish()
    }
    write(1...1)
    try FileManager.default.moveItem(atPath: path, toPath: path + ".old")
    try Data("new line\n".utf8).write(to: URL(filePath: path))
    write(2...4)
    #expect(try lines(path + ".old") == ["line 1xx", "line 2xx"])
    #expect(try lines(path) == ["line 4xx"] && lines(path + ".1") == ["new line", "line 3xx"])
  }
}
