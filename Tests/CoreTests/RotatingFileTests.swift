import FoundationEssentials
import IntercomTesting
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
}
