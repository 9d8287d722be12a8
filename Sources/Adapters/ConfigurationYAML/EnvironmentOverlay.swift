/// The variables `INTERCOM_CFG_<SECTION>__<KEY>`: they set single keys of maps over what the file says.
///
/// Levels are separated by `__`; inside a level case, `_` and `-` do not count, so `INTERCOM_CFG_PROVIDER__CLIENT_SECRET` is
/// `provider.clientSecret`. A list is written with commas. A secret may come from a file: `…__CLIENT_SECRET_FILE`.
struct EnvironmentOverlay {
  static let prefix = "INTERCOM_CFG_"

  struct Variable {
    let name: String
    let value: String
    /// The levels as written.
    let levels: [String]
  }

  /// By levels, each as `letters`.
  private var variables: [[[UInt8]]: Variable] = [:]
  private var unused: Set<String> = []
  private(set) var faults: [ConfigurationFault] = []

  init(_ environment: [String: String]) {
    for (name, value) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix(Self.prefix) {
      let levels = String(name.dropFirst(Self.prefix.count)).split(separator: "__").map(String.init)
      let key = levels.map(letters)
      guard !levels.isEmpty else {
        refuse(name, "the name ends after the prefix", "write \(Self.prefix)<SECTION>__<KEY>")
        continue
      }
      if let first = variables[key] {
        refuse(name, "names the same setting as \(first.name)", "keep one of the two")
        continue
      }
      guard value.utf8.count <= 1 << 16, !value.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\n" && $0 != "\t" }) else {
        refuse(name, "the value is longer than 64 KiB or holds control characters", "remove them")
        continue
      }
      variables[key] = Variable(name: name, value: value, levels: levels)
      unused.insert(name)
    }
  }

  private mutating func refuse(_ name: String, _ problem: String, _ remedy: String) {
    faults.append(ConfigurationFault(.variable(name), "", problem, remedy))
  }

  /// The variable for exactly this setting; from now on it counts as known.
  mutating func take(_ levels: [[UInt8]]) -> Variable? {
    guard let variable = variables[levels] else { return nil }
    unused.remove(variable.name)
    return variable
  }

  func variable(_ levels: [[UInt8]]) -> Variable? { variables[levels] }

  /// The names of the next level below `levels`, as written.
  func children(of levels: [[UInt8]]) -> [String] {
    variables.values.sorted { $0.name < $1.name }.compactMap { variable in
      variable.levels.count > levels.count && variable.levels.prefix(levels.count).map(letters) == levels
        ? variable.levels[levels.count] : nil
    }
  }

  /// What nobody asked for.
  var unknown: [String] { unused.sorted() }

  /// The usual spelling: `provider.clientSecret` is `INTERCOM_CFG_PROVIDER__CLIENT_SECRET`.
  static func name(of path: [String]) -> String {
    prefix
      + path.map { level in
        var out = ""
        var previousIsLower = false
        for character in level {
          if character.isUppercase, previousIsLower { out += "_" }
          previousIsLower = character.isLowercase
          out += character == "-" ? "_" : character.uppercased()
        }
        return out
      }.joined(separator: "__")
  }
}

/// What the environment lays over a configuration, for those who put one together and must know what is said already.
package struct LaidOver: Sendable {
  private let overlay: EnvironmentOverlay

  package init(_ environment: [String: String]) { overlay = EnvironmentOverlay(environment) }

  /// The variable that sets exactly this; of a secret also the one that names its file.
  package func variable(_ path: [String], isSecret: Bool = false) -> (name: String, value: String)? {
    var found = overlay.variable(path.map(letters))
    if found == nil, isSecret, let last = path.last { found = overlay.variable(path.dropLast().map(letters) + [letters(last + "File")]) }
    return found.map { ($0.name, $0.value) }
  }
}
