import CYAML

/// Reads one YAML document into a tree with marks.
///
/// A configuration needs maps, lists and text; what can make two readers disagree, or cost more than its bytes, is refused: duplicate keys,
/// anchors and aliases, merge keys, tags, keys that are no scalars, a second document. These are collected, so that one run shows them all;
/// broken syntax and exceeded limits end the reading.
package func readYAML(_ bytes: [UInt8], limits: YAMLLimits = YAMLLimits()) -> YAMLReading {
  let start = YAMLMark(line: 1, column: 1)
  guard bytes.count <= limits.bytes else {
    let fault = YAMLFault(
      mark: start, path: [], problem: "the file is larger than \(limits.bytes) bytes",
      remedy: "a configuration is a few KiB: is this the right file?"
    )
    return YAMLReading(root: nil, faults: [fault])
  }
  let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
  if let fault = YAMLText.firstFault(in: text) { return YAMLReading(root: nil, faults: [fault]) }
  // libyaml asserts a pointer, which an empty array does not have.
  guard !text.isEmpty else { return YAMLReading(root: YAMLNode(.map([]), start), faults: []) }
  return text.withUnsafeBufferPointer { buffer in
    guard var composer = YAMLComposer(buffer, limits) else {
      return YAMLReading(root: nil, faults: [YAMLFault(mark: start, path: [], problem: "not enough memory", remedy: "free some")])
    }
    return composer.document()
  }
}

/// Drives libyaml's event parser. The buffer must outlive it.
private struct YAMLComposer: ~Copyable {
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let limits: YAMLLimits
  private var event = yaml_event_t()
  private var path: [String] = []
  private var nodes = 0
  private var faults: [YAMLFault] = []

  init?(_ text: UnsafeBufferPointer<UInt8>, _ limits: YAMLLimits) {
    self.limits = limits
    parser = .allocate(capacity: 1)
    guard yaml_parser_initialize(parser) == 1 else {
      parser.deallocate()
      return nil
    }
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    yaml_parser_set_input_string(parser, text.baseAddress, text.count)
  }

  deinit {
    var last = event
    yaml_event_delete(&last)
    yaml_parser_delete(parser)
    parser.deallocate()
  }

  mutating func document() -> YAMLReading {
    do throws(YAMLFault) {
      let root = try wholeDocument()
      return YAMLReading(root: root, faults: faults)
    } catch {
      return YAMLReading(root: nil, faults: faults + [error])
    }
  }

  private mutating func wholeDocument() throws(YAMLFault) -> YAMLNode {
    try next()
    try next()
    guard event.type == YAML_DOCUMENT_START_EVENT else { return YAMLNode(.map([]), YAMLMark(line: 1, column: 1)) }
    try next()
    let root = try node(depth: 0)
    try next()
    try next()
    guard event.type == YAML_STREAM_END_EVENT else {
      throw fault("a second document begins here", "keep one document per file: remove '---' and what follows")
    }
    return root
  }

  // MARK: Events

  private var mark: YAMLMark { YAMLMark(event.start_mark) }

  private func fault(_ problem: String, _ remedy: String, at place: YAMLMark? = nil) -> YAMLFault {
    YAMLFault(mark: place ?? mark, path: path, problem: problem, remedy: remedy)
  }

  private mutating func next() throws(YAMLFault) {
    yaml_event_delete(&event)
    guard yaml_parser_parse(parser, &event) == 1 else {
      let (syntax, place) = YAMLSyntax.of(parser.pointee)
      throw fault(syntax.problem, syntax.remedy, at: place)
    }
  }

  // MARK: Nodes

  /// Made from the current event; afterwards the current event is the node's last.
  private mutating func node(depth: Int) throws(YAMLFault) -> YAMLNode {
    guard depth <= limits.depth else {
      throw fault("nested deeper than \(limits.depth) levels", "no setting is nested that deep: remove levels")
    }
    nodes &+= 1
    guard nodes <= limits.nodes else { throw fault("more than \(limits.nodes) keys and values", "is this the right file?") }
    let place = mark
    switch event.type {
    case YAML_SCALAR_EVENT: return scalar(place)
    case YAML_SEQUENCE_START_EVENT:
      let start = event.data.sequence_start
      let fits = accepts(anchor: start.anchor, tag: start.tag, place)
      let items = try list(depth: depth)
      return YAMLNode(fits ? .list(items) : .refused, place)
    case YAML_MAPPING_START_EVENT:
      let start = event.data.mapping_start
      let fits = accepts(anchor: start.anchor, tag: start.tag, place)
      let entries = try map(depth: depth)
      return YAMLNode(fits ? .map(entries) : .refused, place)
    case YAML_ALIAS_EVENT:
      faults.append(fault("an alias (*name)", "write the value out; anchors and aliases are not supported"))
      return YAMLNode(.refused, place)
    default: throw fault("not YAML", "write 'key: value' lines; see docs/configuration.md")
    }
  }

  private mutating func scalar(_ place: YAMLMark) -> YAMLNode {
    let scalar = event.data.scalar
    guard accepts(anchor: scalar.anchor, tag: scalar.tag, place) else { return YAMLNode(.refused, place) }
    let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
    // An escape in double quotes can still make a control character.
    guard !text.unicodeScalars.contains(where: YAMLText.isForbidden) else {
      faults.append(fault("the value holds a control character", "remove the escape", at: place))
      return YAMLNode(.refused, place)
    }
    return YAMLNode(.scalar(text, plain: scalar.style == YAML_PLAIN_SCALAR_STYLE), place)
  }

  private mutating func list(depth: Int) throws(YAMLFault) -> [YAMLNode] {
    var items: [YAMLNode] = []
    try next()
    while event.type != YAML_SEQUENCE_END_EVENT {
      path.append("[\(items.count)]")
      items.append(try node(depth: depth + 1))
      path.removeLast()
      try next()
    }
    return items
  }

  private mutating func map(depth: Int) throws(YAMLFault) -> [YAMLNode.Entry] {
    var entries: [YAMLNode.Entry] = []
    // Keys are compared as bytes: Swift Strings would take "é" composed and decomposed for one.
    var firstPlace: [[UInt8]: YAMLMark] = [:]
    try next()
    while event.type != YAML_MAPPING_END_EVENT {
      let place = mark
      let key = try self.key(depth: depth)
      path.append(key ?? "?")
      try next()
      let value = try node(depth: depth + 1)
      path.removeLast()
      if let key {
        if let first = firstPlace[Array(key.utf8)] {
          faults.append(
            fault("the key '\(printable(key))' stands here a second time, first at line \(first.line)", "keep one of the two", at: place))
        } else {
          firstPlace[Array(key.utf8)] = place
          entries.append(YAMLNode.Entry(key: key, mark: place, value: value))
        }
      }
      try next()
    }
    return entries
  }

  /// Nil when the key is refused; its value is read all the same, so that its faults show too.
  private mutating func key(depth: Int) throws(YAMLFault) -> String? {
    let place = mark
    let known = faults.count
    switch try node(depth: depth + 1).value {
    case .scalar("<<", plain: true):
      faults.append(fault("a merge key (<<)", "write the keys out; merging is not supported", at: place))
      return nil
    case .scalar(let key, _): return key
    case .refused where faults.count > known: return nil
    case .list, .map, .refused:
      faults.append(fault("a key that is no plain text", "write 'key: value'", at: place))
      return nil
    }
  }

  private mutating func accepts(anchor: UnsafeMutablePointer<yaml_char_t>?, tag: UnsafeMutablePointer<yaml_char_t>?, _ place: YAMLMark)
    -> Bool
  {
    if anchor != nil { faults.append(fault("an anchor (&name)", "remove it; anchors and aliases are not supported", at: place)) }
    if tag != nil { faults.append(fault("a tag (!name)", "remove it; quote a value that is meant as text", at: place)) }
    return anchor == nil && tag == nil
  }
}

/// A key as it may stand in a message: at most 40 characters.
package func printable(_ key: String) -> String {
  let short = String(key.prefix(40))
  return short.utf8.count < key.utf8.count ? short + "…" : short
}
