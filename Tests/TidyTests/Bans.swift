import IntercomTesting

/// A piece of code that may not stand in the sources, with the reason and what to write instead.
struct Ban: Sendable {
  let pattern: String
  let reason: String
  let instead: String
  /// Path prefixes where it may stand.
  var allowed: [String] = []
  /// Only below these prefixes is it looked for.
  var within: [String] = ["Sources/", "Tests/"]

  static let all: [Ban] =
    [
      Ban(pattern: "Date()", reason: "the clock is injected", instead: "TimeSource.wallNow()"),
      Ban(pattern: "Date.now", reason: "the clock is injected", instead: "TimeSource.wallNow()"),
      Ban(
        pattern: "print(", reason: "output is telemetry or the command line's", instead: "the log of Telemetry",
        allowed: ["Sources/App/", "Sources/Features/DemoWorkplace/"]),
      Ban(pattern: "debugPrint(", reason: "output is telemetry or the command line's", instead: "the log of Telemetry"),
      Ban(pattern: "try!", reason: "no request may end the process", instead: "a typed error, or #require in tests"),
      Ban(pattern: "as!", reason: "no request may end the process", instead: "as? with a guard, or #require in tests"),
      Ban(
        pattern: "fatalError(", reason: "no request may end the process",
        instead: "a typed error; precondition for a mistake of the program"),
      Ban(
        pattern: "Task.detached", reason: "a detached task leaves its executor and its parent",
        instead: "Task(executorPreference:) or a task group"),
      Ban(
        pattern: "@unchecked Sendable", reason: "the compiler checks isolation", instead: "an actor, Mutex, or confinement to a loop",
        allowed: ["Sources/System/"]),
      Ban(pattern: "nonisolated(unsafe)", reason: "the compiler checks isolation", instead: "Mutex or a value handed in"),
      Ban(
        pattern: "JSONDecoder(", reason: "JSON that decides is screened first (duplicate keys, UTF-8, depth, size)", instead: "StrictJSON",
        allowed: ["Sources/Core/StrictJSON/"], within: ["Sources/"]),
      Ban(pattern: "import Foundation\n", reason: "ICU adds 44 MB to the binary", instead: "import FoundationEssentials"),
      Ban(
        pattern: "usleep(", reason: "sleep is injected, and no loop may block", instead: "TimeSource.sleep(for:)",
        allowed: ["Sources/System/"]),
      Ban(pattern: "Thread.sleep", reason: "sleep is injected, and no loop may block", instead: "TimeSource.sleep(for:)"),
      Ban(
        pattern: "-Ounchecked", reason: "a broken precondition must stop the program", instead: "-O",
        within: ["Package.swift", "dev/", ".ci/"]),
    ] + unsafe

  /// Span does it without; where the kernel or a C library wants an address, the face in System has it.
  private static let unsafe: [Ban] = [
    "UnsafePointer", "UnsafeMutablePointer", "UnsafeRawPointer", "UnsafeMutableRawPointer", "UnsafeBufferPointer",
    "UnsafeMutableBufferPointer", "UnsafeRawBufferPointer", "UnsafeMutableRawBufferPointer", "Unmanaged", "unsafeBitCast", "OpaquePointer",
    "withUnsafeBytes", "withUnsafeBufferPointer", "withUnsafeMutableBytes", "withUnsafeMutableBufferPointer",
    "withUnsafeTemporaryAllocation",
  ].map { word in
    Ban(
      pattern: word, reason: "memory safety is the compiler's", instead: "Span, RawSpan or an array; a function of a face in System",
      allowed: ["Sources/System/"] + unsafeFiles)
  }

  /// Files below IO and HTTP that hand buffers to the kernel on the warm path. Each line is a debt: keep it short.
  static let unsafeFiles: [String] = [
    // Copies a Span into an array in one step.
    "Sources/Core/IntercomCore/ByteArrays.swift"
  ]

  /// A pattern that begins with a word's byte must not continue a longer word.
  func violations(in tree: SourceTree) -> [Violation] {
    let needle = Array(pattern.utf8)
    let startsWord = needle.first?.isIdentifierPart ?? false
    let endsWord = needle.last?.isIdentifierPart ?? false
    return tree.files.flatMap { file -> [Violation] in
      guard within.contains(where: file.path.hasPrefix), !allowed.contains(where: file.path.hasPrefix) else { return [] }
      guard file.isSwift || !within.contains("Sources/") else { return [] }
      return file.code.positions(of: needle).compactMap { position in
        if startsWord, position > 0, file.code[position - 1].isIdentifierPart { return nil }
        let end = position + needle.count
        if endsWord, end < file.code.count, file.code[end].isIdentifierPart { return nil }
        let shown = pattern.split(separator: "\n").joined()
        return Violation(path: file.path, line: file.line(of: position), message: "\(shown): \(reason). Instead: \(instead)")
      }
    }
  }
}

/// `x!`, `f()!`, `a[0]!` and types such as `T!`: a nil would end the process.
func forceUnwrapViolations(in tree: SourceTree) -> [Violation] {
  tree.swiftFiles.flatMap { file -> [Violation] in
    file.code.positions(of: [UInt8(ascii: "!")]).compactMap { position -> Violation? in
      guard position > 0 else { return nil }
      let before = file.code[position - 1]
      let ends = before.isIdentifierPart || [UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "\""), UInt8(ascii: ">")].contains(before)
      guard ends, position + 1 >= file.code.count || file.code[position + 1] != UInt8(ascii: "=") else { return nil }
      let word = String(decoding: file.code[..<position].reversed().prefix { $0.isIdentifierPart }.reversed(), as: UTF8.self)
      // They have rules of their own.
      if ["try", "as"].contains(word) { return nil }
      return Violation(
        path: file.path, line: file.line(of: position),
        message: "force unwrap: no request may end the process. Instead: guard let, or #require in tests")
    }
  }
}

/// What makes or shows bytes that an attacker may guess at.
private let secretSources = ["reveal()", "hmacSHA256(", "cookieValue"]
/// What stops at the first byte that differs.
private let hastyComparisons = [" == ", " != ", ".elementsEqual(", ".starts(with:", ".hasPrefix(", ".hasSuffix(", "switch "]

/// Such a comparison takes a time that depends on how much is right (S34).
func secretComparisonViolations(in tree: SourceTree) -> [Violation] {
  tree.swiftFiles.filter { $0.parts.first == "Sources" && $0.parts.dropFirst().first != "Testing" }.flatMap { file -> [Violation] in
    file.codeLines.enumerated().compactMap { index, line in
      guard secretSources.contains(where: { line.contains($0) }), hastyComparisons.contains(where: { line.contains($0) }) else {
        return nil
      }
      return Violation(
        path: file.path, line: index + 1, message: "a secret compared so leaks by time. Instead: constantTimeEqual of Cryptography")
    }
  }
}
