import IntercomTesting

/// Where `public` may stand: small types that every request touches in several modules (docs/decisions/0014-public-where-it-inlines.md).
/// Each line is a cost that was measured: keep the list short.
let publicFiles: Set<String> = [
  "Sources/Core/IntercomCore/Identifier.swift",
  "Sources/Core/IntercomCore/Secret.swift",
  "Sources/Core/IntercomCore/Time.swift",
  "Sources/Core/HTTPMessage/ByteWords.swift",
  "Sources/Core/HTTPMessage/CanonicalRequest.swift",
  "Sources/Core/HTTPMessage/FieldName.swift",
  "Sources/Core/HTTPMessage/Method.swift",
  "Sources/Wire/HTTP1/FieldID.swift",
  "Sources/Wire/HTTP1/FieldNameSet.swift",
  "Sources/Wire/HTTP1/FieldTable.swift",
  "Sources/Wire/HTTP1/HeadBuffer.swift",
  "Sources/Wire/HTTP1/RequestHead.swift",
]

/// The layers whose types a warm request passes through.
private let publicLayers = ["Sources/Core/", "Sources/Wire/", "Sources/IO/", "Sources/HTTP/", "Sources/Domain/"]

/// An application has no API: `package` between targets. `public` is the compiler's condition for inlining across modules and stands for that
/// alone: in the files of the list, where each function, computed property, initialiser and subscript is `@inlinable`. (`open` is how a class of one target is
/// subclassed in another.)
func publicViolations(in tree: SourceTree) -> [Violation] {
  let declarations: Set<String> = [
    "func", "struct", "enum", "class", "actor", "protocol", "let", "var", "init", "static", "final", "extension", "typealias", "subscript",
    "import", "mutating", "nonisolated", "private", "internal", "consuming", "borrowing",
  ]
  return tree.swiftFiles.flatMap { file -> [Violation] in
    let isListed = publicFiles.contains(file.path) && publicLayers.contains(where: file.path.hasPrefix)
    var attributes: [String] = []
    return file.codeLines.enumerated().compactMap { index, line in
      let words = line.split(whereSeparator: { !$0.isIdentifierPart }).map { String(decoding: $0, as: UTF8.self) }
      // Attributes may stand on lines of their own.
      let isAttribute = line.trimmed.first == UInt8(ascii: "@")
      defer { attributes = isAttribute ? attributes + words : [] }
      guard let at = words.firstIndex(of: "public"), at + 1 < words.count, declarations.contains(words[at + 1]) else { return nil }
      guard isListed else {
        return Violation(path: file.path, line: index + 1, message: "public: an application has no API. Instead: package")
      }
      let kind = words[at...].first { ["func", "init", "subscript", "var", "let"].contains($0) }
      let isCode = kind == "var" ? line.contains(UInt8(ascii: "{")) : kind != nil && kind != "let"
      if !isCode || (attributes + words).contains("inlinable") { return nil }
      return Violation(
        path: file.path, line: index + 1, message: "public is for what is @inlinable. Instead: package, or @inlinable public")
    }
  }
}
