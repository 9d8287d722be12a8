import IntercomTesting

private let maximumFileLines = 500
private let maximumFunctionLines = 70

/// Files and functions that a reader can hold in the head.
func sizeViolations(in tree: SourceTree) -> [Violation] {
  tree.swiftFiles.filter { $0.path != "Package.swift" }.flatMap { file -> [Violation] in
    var violations = functions(in: file).filter { $0.lines > maximumFunctionLines }.map { function in
      Violation(
        path: file.path, line: function.line,
        message: "function of \(function.lines) lines, at most \(maximumFunctionLines): give its parts names of their own")
    }
    let lines = file.lines.count - (file.bytes.last == 0x0a ? 1 : 0)
    if lines > maximumFileLines {
      violations.append(
        Violation(path: file.path, line: 1, message: "\(lines) lines, at most \(maximumFileLines): split it by what its parts are about"))
    }
    return violations
  }
}

/// Where the functions, initialisers and subscripts with a body begin, and how many lines they take from their first to their last.
func functions(in file: SourceFile) -> [(line: Int, lines: Int)] {
  let code = file.code
  var found: [(line: Int, lines: Int)] = []
  for keyword in ["func ", "init(", "init<", "init?(", "deinit ", "subscript("] {
    for start in code.positions(of: Array(keyword.utf8)) {
      if start > 0, code[start - 1].isIdentifierPart || code[start - 1] == UInt8(ascii: ".") { continue }
      guard let open = bodyStart(code, from: start), let close = closingBrace(code, from: open) else { continue }
      found.append((file.line(of: start), 1 + code[start...close].count { $0 == 0x0a }))
    }
  }
  return found.sorted { $0.line < $1.line }
}

/// The brace that opens the body of the declaration at `start`; nil for a requirement of a protocol or a call.
private func bodyStart(_ code: [UInt8], from start: Int) -> Int? {
  var depth = 0
  for index in start..<code.count {
    switch code[index] {
    case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
    case UInt8(ascii: ")"), UInt8(ascii: "]"):
      depth -= 1
      if depth < 0 { return nil }
    case UInt8(ascii: "{") where depth == 0: return index
    case UInt8(ascii: "}") where depth == 0: return nil
    case 0x0a where depth == 0:
      let next = code[index...].drop { $0 == 0x0a || $0 == 0x20 }
      let continues = ["{", "->", "where", "throws", "async", "rethrows", ")"].contains { next.starts(with: $0.utf8) }
      if !continues { return nil }
    default: break
    }
  }
  return nil
}

private func closingBrace(_ code: [UInt8], from open: Int) -> Int? {
  var depth = 0
  for index in open..<code.count {
    if code[index] == UInt8(ascii: "{") { depth += 1 }
    if code[index] == UInt8(ascii: "}") {
      depth -= 1
      if depth == 0 { return index }
    }
  }
  return nil
}

/// Every `package` or `public` type at the top level says what it is; every such function of more than a few lines says what it gives, in
/// which unit and which errors, once for all its overloads. What implements a protocol is described there.
func documentationViolations(in tree: SourceTree) -> [Violation] {
  let requirements = Set(tree.swiftFiles.flatMap(protocolRequirements))
  let witnesses: Set<String> = ["encode", "hash", "makeIterator", "next", "main", "enqueue"]
  return tree.swiftFiles.filter { $0.parts.first == "Sources" }.flatMap { file -> [Violation] in
    let code = file.codeLines
    let raw = file.lines
    var described: Set<String> = []
    let lengths = Dictionary(functions(in: file).map { ($0.line, $0.lines) }, uniquingKeysWith: max)
    return code.indices.compactMap { index -> Violation? in
      let words = code[index].trimmed.split(whereSeparator: { !$0.isIdentifierPart }).map { String(decoding: $0, as: UTF8.self) }
      let isAttribute: (String) -> Bool = { ["inlinable", "frozen", "inline", "__always"].contains($0) }
      guard let access = words.first(where: { !isAttribute($0) }), ["package", "public"].contains(access) else { return nil }
      guard let kind = words.first(where: { ["func", "struct", "enum", "class", "actor", "protocol"].contains($0) }) else { return nil }
      let name = words.drop { $0 != kind }.dropFirst().first ?? "operator"
      if kind == "func" {
        if witnesses.contains(name) || requirements.contains(name) { return nil }
        if words.contains("override") { return nil }
        let isOperator = code[index].contains("func ") && !code[index].contains("func " + name)
        if isOperator || described.contains(name) { return nil }
        if isDocumented(raw, before: index) { described.insert(name) }
        if (lengths[index + 1] ?? 1) <= 6 { return nil }
      } else if code[index].first == 0x20 {
        return nil
      }
      if isDocumented(raw, before: index) { return nil }
      return Violation(
        path: file.path, line: index + 1, message: "\(kind) \(name) lacks a /// comment: meaning, units, errors, the RFC's section")
    }
  }
}

/// Attributes may stand between the comment and the declaration.
private func isDocumented(_ lines: [[UInt8]], before index: Int) -> Bool {
  for line in lines[..<index].reversed() {
    let text = line.trimmed
    if text.starts(with: "///".utf8) || text.last == UInt8(ascii: "/") && text.dropLast().last == UInt8(ascii: "*") { return true }
    guard text.first == UInt8(ascii: "@") || text.first == UInt8(ascii: "#") else { return false }
  }
  return false
}

/// Names of functions that a protocol of this file demands: the comment stands there, not at each implementation.
private func protocolRequirements(_ file: SourceFile) -> [String] {
  file.code.positions(of: Array("protocol ".utf8)).flatMap { start -> [String] in
    guard let open = file.code[start...].firstIndex(of: UInt8(ascii: "{")), let close = closingBrace(file.code, from: open) else {
      return []
    }
    let body = Array(file.code[open...close])
    return body.positions(of: Array("func ".utf8)).map { String(decoding: body[($0 + 5)...].prefix { $0.isIdentifierPart }, as: UTF8.self) }
  }
}
