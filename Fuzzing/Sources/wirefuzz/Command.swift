import FoundationEssentials
import HTTP1
import HTTPMessage

/// What dev/fuzz and the comparison with Python's parsers ask for beside fuzzing.
enum Command: String {
  /// Corpus file to one file per input, as libFuzzer wants them.
  case unpack
  /// The shortest 25 inputs of a folder that the corpus file does not hold, appended to it: it stays a file that is pleasant to read.
  case pack
  /// A JSON line for each input of the corpus file: what we read, and how http-parser differs.
  case describe
  /// The names of the differences with http-parser that the program knows.
  case differences

  func run(_ words: [String]) -> CInt {
    if case .differences = self {
      print(Difference.allCases.map(\.rawValue).joined(separator: "\n"))
      return 0
    }
    guard words.count >= 2, let target = WireProperty(rawValue: words[0]) else {
      print("\(rawValue) TARGET CORPUS-FILE [FOLDER]")
      return 2
    }
    guard let file = FileManager.default.contents(atPath: words[1]), let inputs = Corpus.inputs(Array(file)) else {
      print("\(words[1]) is missing or has a line that cannot be read")
      return 1
    }
    switch self {
    case .unpack: return words.count > 2 ? unpack(inputs, words[2]) : 2
    case .pack: return words.count > 2 ? pack(Array(file), inputs, words[1], words[2]) : 2
    default: return describe(target, inputs)
    }
  }

  private func unpack(_ inputs: [[UInt8]], _ folder: String) -> CInt {
    for (index, input) in inputs.enumerated() {
      guard (try? Data(input).write(to: URL(filePath: "\(folder)/seed-\(index)"))) != nil else { return 1 }
    }
    return 0
  }

  private func pack(_ file: [UInt8], _ inputs: [[UInt8]], _ path: String, _ folder: String) -> CInt {
    var known = Set(inputs)
    var added: [String] = []
    for name in ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted() {
      guard let data = FileManager.default.contents(atPath: "\(folder)/\(name)"), known.insert(Array(data)).inserted else { continue }
      if !data.isEmpty { added.append(Corpus.line(Array(data))) }
    }
    added.sort { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    added = Array(added.prefix(25))
    let whole = file + Array(added.map { $0 + "\n" }.joined().utf8)
    guard (try? Data(whole).write(to: URL(filePath: path))) != nil else { return 1 }
    print("\(added.count) new inputs")
    return 0
  }

  private func describe(_ target: WireProperty, _ inputs: [[UInt8]]) -> CInt {
    for input in inputs {
      var parts = ["\"input\":\(hex(input))", "\"ours\":\(ours(target, input) ?? "null")"]
      do {
        let differences = try Peer.differences(target, input).map { "\"\($0.rawValue)\"" }.sorted()
        parts.append("\"httpParser\":[\(differences.joined(separator: ","))]")
      } catch {
        parts.append("\"unlisted\":\(hex(Array("\(error)".utf8)))")
      }
      print("{\(parts.joined(separator: ","))}")
    }
    return 0
  }

  /// What we accepted, as a JSON object; nil when it was refused or is not complete.
  private func ours(_ target: WireProperty, _ input: [UInt8]) -> String? {
    switch target {
    case .request:
      let parsed = ParsedRequest(input)
      guard parsed.result == .complete, let naive = NaiveHead(input[..<parsed.head.request.headLength]) else { return nil }
      let words = naive.firstLine.split(separator: 0x20).map(Array.init)
      let request = parsed.head.request
      var framing = "none"
      if case .length(let length) = request.framing { framing = "\(length)" }
      if case .chunked = request.framing { framing = "chunked" }
      return "{\"method\":\(hex(words[0])),\"target\":\(hex(words[1])),\(common(naive, request.isHTTP10, request.keepAlive, framing)),"
        + "\"head\":\(request.headLength)}"
    case .response:
      let parsed = ParsedResponse(input)
      guard parsed.result == .complete, let naive = NaiveHead(input[..<parsed.head.headLength]) else { return nil }
      var framing = "none"
      switch parsed.head.framing {
      case .none: break
      case .length(let length): framing = "\(length)"
      case .chunked: framing = "chunked"
      case .untilClose: framing = "close"
      }
      return "{\"status\":\(parsed.head.status),\"reason\":\(hex(parsed.head.reason.bytes(in: input.span))),"
        + "\(common(naive, parsed.head.isHTTP10, parsed.head.keepAlive, framing)),\"head\":\(parsed.head.headLength)}"
    case .chunked:
      let read = ChunkedProperty.read(input, step: max(1, input.count))
      guard read.isDone, let end = read.consumed else { return nil }
      return "{\"payload\":\(hex(read.payload)),\"end\":\(end)}"
    case .path:
      let scan = PathSyntax.scan(input.span, 0, input.count)
      guard scan.fault == nil, scan.end == input.count || PathSyntax.queryFault(input.span, scan.end + 1, input.count) == nil
      else { return nil }
      let query = scan.end < input.count ? hex(Array(input[(scan.end + 1)...])) : "null"
      return "{\"path\":\(hex(Array(input[..<scan.end]))),\"query\":\(query)}"
    case .host:
      guard let end = AuthoritySyntax.hostEnd(input.span, ByteRange(0, input.count)) else { return nil }
      let port = end < input.count ? AuthoritySyntax.port(input.span, ByteRange(end + 1, input.count)) : nil
      return "{\"host\":\(hex(Array(input[..<end]))),\"port\":\(port.map(String.init) ?? "null")}"
    case .cookie, .forwarded: return nil
    }
  }

  private func common(_ naive: NaiveHead, _ isHTTP10: Bool, _ keepAlive: Bool, _ framing: String) -> String {
    let fields = naive.fields.map { "[\(hex($0.name)),\(hex($0.value))]" }.joined(separator: ",")
    return "\"version\":\"\(isHTTP10 ? "1.0" : "1.1")\",\"keepAlive\":\(keepAlive),\"framing\":\"\(framing)\",\"fields\":[\(fields)]"
  }

  private func hex(_ bytes: [UInt8]) -> String {
    "\"" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "\""
  }
}
