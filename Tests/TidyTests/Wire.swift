import IntercomTesting

/// Where the wire lives: what anybody sends is read here first, and it shall be read by a person in an hour (docs/wire.md).
private let wireFolders = ["Sources/Wire/HTTP1/", "Sources/Core/HTTPMessage/"]
private let wireImports: Set<String> = ["IntercomCore", "HTTPMessage"]

/// Words with `unsafe` or `unchecked` in them, and the files that may have them: each is a debt, with its reason.
private let wireDebts: [String: Set<String>] = [
  // A bounds-checked load from a RawSpan of a type whose bits may be anything.
  "Sources/Core/HTTPMessage/ByteWords.swift": ["unsafeLoadUnaligned"],
  "Sources/Wire/HTTP1/HeadBuffer.swift": ["unsafeLoadUnaligned"],
]

/// The wire imports nothing beyond Core, and touches memory through Span alone.
func wireViolations(in tree: SourceTree) -> [Violation] {
  tree.swiftFiles.filter { file in wireFolders.contains { file.path.hasPrefix($0) } }.flatMap { file -> [Violation] in
    let foreign = imports(of: file).filter { !wireImports.contains($0.module) }.map {
      Violation(
        path: file.path, line: $0.line, message: "import \($0.module): the wire reads bytes with nothing but \(wireImports.sorted())")
    }
    let debts = wireDebts[file.path] ?? []
    let unsafe = file.codeLines.enumerated().flatMap { index, line in
      line.split(whereSeparator: { !$0.isIdentifierPart }).map { String(decoding: $0, as: UTF8.self) }
        .filter { ($0.lowercased().contains("unsafe") || $0.lowercased().contains("unchecked")) && !debts.contains($0) }
        .map { Violation(path: file.path, line: index + 1, message: "\($0): Span does it, or the file is listed here with its reason") }
    }
    return foreign + unsafe
  }
}

extension Plant {
  static let wire: [Plant] = [
    Plant(
      "the wire", line: 1, [SourceFile("Sources/Core/HTTPMessage/Sample.swift", "import FoundationEssentials\n")],
      what: "a module beyond Core"),
    Plant(
      "the wire", line: 2,
      [SourceFile("Sources/Wire/HTTP1/Sample.swift", "import HTTPMessage\nlet a = bytes.span[unchecked: 1]\n")],
      what: "a load without bounds"),
    Plant(
      "the wire", line: 1,
      [SourceFile("Sources/Wire/HTTP1/Bytes.swift", "let a = bytes.unsafeLoad(as: Int.self)\n")], what: "another debt than the listed one"),
  ]
}
