import IntercomCore

extension ValueShape where Value == Bool {
  package static var boolean: ValueShape {
    scalar(type: "boolean", range: "true, false", example: "true or false") { (text: String) throws(ValueFault) -> Bool in
      switch text {
      case "true": return true
      case "false": return false
      default: throw ValueFault("expected true or false, found \(quoted(text))", "write true or false")
      }
    }
  }
}

extension ValueShape where Value == Int {
  /// A whole number in decimal digits.
  package static func integer(_ range: ClosedRange<Int>) -> ValueShape {
    let words = "\(range.lowerBound)…\(range.upperBound)"
    return scalar(type: "integer", range: words, example: "a whole number") { (text: String) throws(ValueFault) -> Int in
      guard let number = wholeNumber(text) else {
        throw ValueFault("expected a whole number, found \(quoted(text))", "write one from \(range.lowerBound) to \(range.upperBound)")
      }
      guard range.contains(number) else {
        throw ValueFault("\(number) is out of range", "write a number from \(range.lowerBound) to \(range.upperBound)")
      }
      return number
    }
  }

  /// A size in bytes, written with its unit: `512B`, `64KiB`, `1MiB`, `1GiB`.
  package static func size(_ range: ClosedRange<Int>) -> ValueShape {
    let words = "\(showSize(range.lowerBound))…\(showSize(range.upperBound))"
    return scalar(type: "size", range: words, example: "a size such as 64KiB", show: { showSize($0) }, parse: sizeParser(range))
  }

  private static func sizeParser(_ range: ClosedRange<Int>) -> @Sendable (String) throws(ValueFault) -> Int {
    { (text: String) throws(ValueFault) -> Int in
      guard let bytes = parseSize(text) else {
        throw ValueFault("expected a size with its unit, found \(quoted(text))", "write 512B, 64KiB or 1MiB")
      }
      guard range.contains(bytes) else {
        throw ValueFault("\(text) is out of range", "write a size from \(showSize(range.lowerBound)) to \(showSize(range.upperBound))")
      }
      return bytes
    }
  }
}

extension ValueShape where Value == Duration {
  /// A time with its unit: `500ms`, `5s`, `10m`, `24h`, `7d`.
  package static func duration(_ range: ClosedRange<Duration>) -> ValueShape {
    let words = "\(showDuration(range.lowerBound))…\(showDuration(range.upperBound))"
    return scalar(type: "duration", range: words, example: "a time such as 5s", show: { showDuration($0) }, parse: durationParser(range))
  }

  private static func durationParser(_ range: ClosedRange<Duration>) -> @Sendable (String) throws(ValueFault) -> Duration {
    { (text: String) throws(ValueFault) -> Duration in
      guard let duration = parseDuration(text) else {
        throw ValueFault("expected a time with its unit, found \(quoted(text))", "write 500ms, 5s, 10m, 24h or 7d")
      }
      guard range.contains(duration) else {
        throw ValueFault(
          "\(text) is out of range", "write a time from \(showDuration(range.lowerBound)) to \(showDuration(range.upperBound))")
      }
      return duration
    }
  }
}

extension ValueShape where Value == String {
  /// Text of one line that is not empty, without spaces around it, at most `maximum` bytes.
  package static func text(type: String = "text", maximum: Int = 1024) -> ValueShape {
    scalar(type: type, example: "a text") { (text: String) throws(ValueFault) -> String in
      guard !text.isEmpty else { throw ValueFault("is empty", "write a text, or remove the key") }
      guard text.utf8.count <= maximum else { throw ValueFault("longer than \(maximum) bytes", "write a shorter text") }
      guard trimmed(text[...]).utf8.count == text.utf8.count, !text.utf8.contains(UInt8(ascii: "\n")) else {
        throw ValueFault("begins or ends with a space, or goes over several lines", "write one line without spaces around it")
      }
      return text
    }
  }

  /// A file's path; a relative one is resolved from the directory of the configuration file.
  package static var file: ValueShape {
    ValueShape(type: "file") { value in text().read(value).map { value.resolvedFile($0) } }
  }
}

extension ValueShape where Value == Secret<String> {
  /// A secret of one line: inline, `{fromFile: path}`, or from the file that the variable `…_FILE` names.
  ///
  /// Spaces around it are a mistake in a file; the variables of an Intercom Service always counted them.
  package static func secret(minimum: Int = 1) -> ValueShape {
    let redacted: @Sendable (Secret<String>) -> String = { $0.description }
    return ValueShape(type: "secret", isSecret: true, show: redacted) { value in
      guard let secret = value.secret() else { return nil }
      let text = secret.reveal()
      let bare = trimmed(text[...]).utf8.count
      let isSpaced = bare != text.utf8.count
      guard bare >= minimum, !isSpaced || value.reader.isEnvironment, !text.utf8.contains(UInt8(ascii: "\n")) else {
        value.refuse(
          minimum > 1
            ? "the secret is shorter than \(minimum) bytes, or has spaces or lines around it"
            : "the secret is empty, or has spaces or lines around it", "write it without them, on one line")
        return nil
      }
      if isSpaced {
        value.warn("the spaces around the secret count; a configuration file refuses them", "remove them unless that is meant")
      }
      return secret
    }
  }
}

extension ValueShape where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
  /// One of the cases by its raw value.
  package static var choice: ValueShape {
    let names = Value.allCases.map(\.rawValue)
    return scalar(
      type: "choice", range: names.joined(separator: ", "), example: "one of \(names.joined(separator: ", "))", show: \.rawValue
    ) {
      (text: String) throws(ValueFault) -> Value in
      if let value = Value.allCases.first(where: { $0.rawValue.utf8.elementsEqual(text.utf8) }) { return value }
      throw unknownChoice(text, names)
    }
  }
}

/// The fault of a text that is none of `names`.
package func unknownChoice(_ text: String, _ names: [String]) -> ValueFault {
  let near = suggestion(for: text, among: names).map { "did you mean \($0)?" }
  return ValueFault("\(quoted(text)) is none of \(names.joined(separator: ", "))", near ?? "write one of them")
}

extension ValueShape {
  /// A list of such values without doubles (by how they show); every faulty item is a fault of its own.
  ///
  /// - Parameter mapsAlone: items may be maps, and a single one may stand without a list.
  package static func list<Item>(
    of item: ValueShape<Item>, _ count: ClosedRange<Int>, mapsAlone: Bool = false
  ) -> ValueShape where Value == [Item] {
    let words =
      item.range.isEmpty
      ? "\(count.lowerBound)…\(count.upperBound) items" : "\(count.lowerBound)…\(count.upperBound) items of \(item.range)"
    let show: @Sendable ([Item]) -> String = { "[" + $0.map(item.show).joined(separator: ", ") + "]" }
    return ValueShape(type: "list of \(item.type)", range: words, isSecret: item.isSecret, show: show) { value in
      guard let all = value.items(mapsAlone: mapsAlone) else { return nil }
      guard count.contains(all.count) else {
        value.refuse("a list of \(all.count) items", "write \(count.lowerBound) to \(count.upperBound)")
        return nil
      }
      var seen: Set<[UInt8]> = []
      var items: [Item] = []
      for one in all {
        guard let read = item.read(one) else { continue }
        if !item.isSecret, !seen.insert(Array(item.show(read).utf8)).inserted {
          one.refuse("stands in the list twice", "keep one")
          continue
        }
        items.append(read)
      }
      return items.count == all.count ? items : nil
    }
  }
}
