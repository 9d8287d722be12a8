/// What the command line says.
package enum Invocation: Sendable, Equatable {
  package enum Format: String, Sendable, CaseIterable { case text, json }

  /// `threads`: event loops; nil as `limits.loops` says.
  /// Without a file the environment is the configuration.
  case serve(configuration: String?, threads: Int? = nil)
  case checkConfiguration(file: String?, Format)
  /// `secrets`: the folder into which secrets are written.
  case configurationFromEnvironment(secrets: String?)
  case configurationReference
  case demo(DemoOptions)
  /// Of one command, or of all.
  case help(CommandGrammar?)
  case version
}

/// Why a command line is no invocation; the exit code is then 64.
package struct UsageFault: Error, Sendable, Equatable, CustomStringConvertible {
  package let problem: String
  package let remedy: String
  package var description: String { "\(problem); \(remedy)" }
}

/// One option of a command.
package struct OptionGrammar: Sendable, Equatable {
  let name: String
  /// What stands for its value in help; nil for a switch.
  let value: String?
  let summary: String

  fileprivate var usage: String { " [" + name + (value.map { " " + $0 } ?? "") + "]" }
}

/// One command: declared once, then parsed and explained from here.
package struct CommandGrammar: Sendable, Equatable {
  package let words: [String]
  let options: [OptionGrammar]
  /// The names of its arguments.
  let arguments: [String]
  /// They may be left out.
  var areArgumentsOptional = false
  let summary: String
  /// What help says below the options: what happens, and what to do next.
  let details: String

  package var name: String { words.joined(separator: " ") }
  var usage: String {
    "intercom \(name)" + options.map(\.usage).joined() + arguments.map { areArgumentsOptional ? " [\($0)]" : " " + $0 }.joined()
  }
}

extension CommandGrammar {
  static let all = [demo, check, fromEnvironment, reference, serve]

  static let demo = CommandGrammar(
    words: ["demo"], options: [OptionGrammar(name: "--port", value: "N", summary: "the port to listen on (8008)")], arguments: [],
    summary: "run a whole workplace on this machine, with a provider, a mail app and a file store",
    details: """
      Everything runs in this process and listens on loopback only. When 'ready http://mail.intercom.localhost:8008/' appears, open that
      address and sign in as alice or bob; the password is the name. Ctrl-C ends it.
      """)

  static let check = CommandGrammar(
    words: ["config", "check"],
    options: [OptionGrammar(name: "--format", value: "text|json", summary: "for people or for programs (text)")], arguments: ["FILE"],
    areArgumentsOptional: true, summary: "show everything that is wrong with a configuration",
    details: """
      Prints every fault as 'file:line:column: key: what is wrong; what to write instead' and ends with 1, or prints what will hold and ends
      with 0; with --format json it is under 'configuration', every setting by its name. Nothing is started, and secrets are not shown.
      Begin with a copy of Examples/intercom.yaml; all settings are explained in docs/configuration.md.

      Without FILE the variables of an Intercom Service are checked, as 'intercom serve' without --config reads them: see
      docs/migrating-from-ics.md.
      """)

  static let fromEnvironment = CommandGrammar(
    words: ["config", "from-env"],
    options: [OptionGrammar(name: "--secrets", value: "FOLDER", summary: "write the secrets into files of this folder")], arguments: [],
    summary: "write the variables of an Intercom Service as a configuration file",
    details: """
      Prints the file that means the same as the variables. No secret is in it: it names files for them, which --secrets writes (each
      readable by its owner alone; a folder that is missing is made in one that is there; files that are there already are kept, and that
      is a failure). Faults and warnings go to standard error. Look at the result with 'intercom config check FILE'.
      """)

  static let reference = CommandGrammar(
    words: ["config", "reference"], options: [], arguments: [], summary: "print every setting with type, default and range (Markdown)",
    details: "The same text as docs/configuration.md.")

  static let serve = CommandGrammar(
    words: ["serve"],
    options: [
      OptionGrammar(name: "--config", value: "FILE", summary: "the configuration file"),
      OptionGrammar(name: "--threads", value: "N", summary: "event loops, whatever limits.loops says; 0 chooses by the cores"),
    ],
    arguments: [],
    summary: "run Intercom",
    details: """
      Without --config the variables of an Intercom Service are the configuration: see docs/migrating-from-ics.md.
      Variables named INTERCOM_CFG_<SECTION>__<KEY> stand over both. A file with faults is refused with exit code 78, and they are
      listed as text; look at it with 'intercom config check FILE'. Log lines go to standard error as JSON, warnings of the configuration
      among them. SIGTERM ends it after the requests in flight.
      """)
}
