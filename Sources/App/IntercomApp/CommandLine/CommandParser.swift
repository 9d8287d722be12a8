import ConfigurationYAML

/// Reads a command line by the grammar. Options may stand before or after arguments, as `--name value` or `--name=value`; `--` ends them.
package enum CommandParser {
  /// What the words after the program's name ask for. Throws what is wrong with them and what to write instead.
  package static func parse(_ words: [String]) throws(UsageFault) -> Invocation {
    guard let first = words.first else { return .help(nil) }
    if isHelp(first) { return .help(nil) }
    if first == "help" { return .help(CommandGrammar.all.first { $0.words == Array(words.dropFirst()) }) }
    if first == "--version" || first == "-V" || first == "version" { return .version }
    let command = try command(words)
    let rest = Array(words.dropFirst(command.words.count))
    let given = try Given(rest, command)
    return given.wantsHelp ? .help(command) : try invocation(command, given)
  }

  private static func isHelp(_ word: String) -> Bool { word == "--help" || word == "-h" }

  /// The longest command whose words begin the line.
  private static func command(_ words: [String]) throws(UsageFault) -> CommandGrammar {
    let fitting = CommandGrammar.all.filter { words.starts(with: $0.words) }
    if let best = fitting.max(by: { $0.words.count < $1.words.count }) { return best }
    let first = words.first ?? ""
    let group = CommandGrammar.all.filter { $0.words.count > 1 && $0.words.first == first }
    if !group.isEmpty {
      let choices = group.compactMap(\.words.last)
      guard words.count > 1, !isHelp(words[1]) else {
        throw UsageFault(problem: "'\(first)' needs one more word", remedy: "write \(list(choices.map { "\(first) \($0)" }))")
      }
      throw UsageFault(
        problem: "unknown command '\(first) \(shown(words[1]))'", remedy: hint(words[1], choices.map { "\(first) \($0)" }, last: choices))
    }
    let names = CommandGrammar.all.compactMap(\.words.first)
    let what = first.hasPrefix("-") ? "unknown option" : "unknown command"
    throw UsageFault(problem: "\(what) '\(shown(first))'", remedy: hint(first, names + ["--help", "--version"]))
  }

  private static func hint(_ word: String, _ names: [String], last: [String]? = nil) -> String {
    if let near = suggestion(for: word, among: last ?? names), let index = (last ?? names).firstIndex(of: near) {
      return "did you mean '\(names[index])'?"
    }
    return "run 'intercom --help'"
  }

  private static func list(_ words: [String]) -> String { words.joined(separator: " or ") }

  static func shown(_ word: String) -> String { String(quoted(word).dropFirst().dropLast()) }

  private static func invocation(_ command: CommandGrammar, _ given: Given) throws(UsageFault) -> Invocation {
    switch command {
    case .serve:
      let file = given.options["--config"]
      guard let text = given.options["--threads"] else { return .serve(configuration: file) }
      let range = ConfigurationKeys.Limits.loopRange
      guard let threads = wholeNumber(text), range.contains(threads) else {
        throw UsageFault(
          problem: "'\(shown(text))' is no number of threads",
          remedy: "write a number from \(range.lowerBound) to \(range.upperBound); 0 chooses by the cores")
      }
      return .serve(configuration: file, threads: threads)
    case .check:
      let text = given.options["--format"] ?? Invocation.Format.text.rawValue
      guard let format = Invocation.Format(rawValue: text) else {
        throw UsageFault(problem: "'\(shown(text))' is no format", remedy: "write --format text or --format json")
      }
      return .checkConfiguration(file: given.arguments.first, format)
    case .fromEnvironment: return .configurationFromEnvironment(secrets: given.options["--secrets"])
    case .demo:
      guard let text = given.options["--port"] else { return .demo(DemoOptions()) }
      guard let port = wholeNumber(text), (1...65535).contains(port) else {
        throw UsageFault(problem: "'\(shown(text))' is no port", remedy: "write a number from 1 to 65535")
      }
      return .demo(DemoOptions(port: port))
    default: return .configurationReference
    }
  }

  /// What stands after the command's words.
  private struct Given {
    var options: [String: String] = [:]
    var arguments: [String] = []
    var wantsHelp = false

    init(_ words: [String], _ command: CommandGrammar) throws(UsageFault) {
      var index = 0
      var areOptionsOver = false
      while index < words.count {
        let word = words[index]
        index += 1
        if areOptionsOver || !word.hasPrefix("-") || word == "-" {
          arguments.append(word)
        } else if word == "--" {
          areOptionsOver = true
        } else if CommandParser.isHelp(word) {
          wantsHelp = true
          return
        } else {
          try takeOption(word, words, &index, command)
        }
      }
      guard command.areArgumentsOptional || arguments.count >= command.arguments.count else {
        throw UsageFault(problem: "'\(command.name)' needs \(command.arguments[arguments.count])", remedy: "write \(command.usage)")
      }
      if arguments.count > command.arguments.count {
        throw UsageFault(
          problem: "'\(command.name)' does not take '\(CommandParser.shown(arguments[command.arguments.count]))'",
          remedy: "write \(command.usage)")
      }
    }

    private mutating func takeOption(_ word: String, _ words: [String], _ index: inout Int, _ command: CommandGrammar) throws(UsageFault) {
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let name = parts[0]
      guard command.options.contains(where: { $0.name == name }) else {
        let near = suggestion(for: name, among: command.options.map(\.name) + ["--help"]).map { "did you mean \($0)?" }
        throw UsageFault(
          problem: "'\(command.name)' has no option '\(CommandParser.shown(name))'", remedy: near ?? "run 'intercom \(command.name) --help'"
        )
      }
      guard options[name] == nil else { throw UsageFault(problem: "\(name) is given twice", remedy: "keep one") }
      if parts.count == 2 {
        options[name] = parts[1]
      } else if index < words.count {
        options[name] = words[index]
        index += 1
      }
      guard let value = options[name], !value.isEmpty else {
        throw UsageFault(problem: "\(name) needs a value", remedy: "write \(command.usage)")
      }
    }
  }
}
