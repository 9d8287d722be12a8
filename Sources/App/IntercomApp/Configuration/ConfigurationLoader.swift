import ConfigurationYAML
import IntercomCore
import Linux

/// What became of a configuration file.
package struct ConfigurationReading: Sendable {
  /// Nil when there is at least one error.
  package let configuration: Configuration?
  /// Errors, in the order of the file.
  package let errors: [ConfigurationFault]
  package let warnings: [ConfigurationFault]

  /// The same with so many event loops, whatever the file says of them.
  func with(threads: Int?) -> ConfigurationReading {
    guard var configuration, let threads else { return self }
    configuration.limits.loops = threads
    return ConfigurationReading(configuration: configuration, errors: errors, warnings: warnings)
  }
}

/// What stands in the way of opening the session database of this path, and what to do about it; nil when nothing can be told.
package typealias ForeseeStore = @Sendable (String) -> (problem: String, remedy: String)?

/// What stands in the way of writing the log file of this path, in words, and whether that is a folder in its place; nil when nothing can be told.
package typealias ForeseeLog = @Sendable (String) -> (problem: String, isFolder: Bool)?

/// From a file and the environment to a configuration, or to everything that is wrong with it.
package struct ConfigurationLoader: Sendable {
  /// No configuration and no secret of one is larger.
  static let largestFile = 1 << 20
  static let largestSecret = 1 << 16

  private let environment: [String: String]
  private let readFile: ReadConfigurationFile
  private let foresee: ForeseeStore
  private let foreseeLog: ForeseeLog
  private let time: any TimeSource

  /// - Parameters:
  ///   - foresee: for `config check`; `serve` opens the database, and that tells more.
  ///   - foreseeLog: the same for the log file.
  ///   - time: by which certificates are good or have expired.
  package init(
    environment: [String: String], readFile: @escaping ReadConfigurationFile = ConfigurationLoader.readFromDisk,
    foresee: @escaping ForeseeStore = { _ in nil }, foreseeLog: @escaping ForeseeLog = { _ in nil }, time: any TimeSource = SystemTime()
  ) {
    self.environment = environment
    self.readFile = readFile
    self.foresee = foresee
    self.foreseeLog = foreseeLog
    self.time = time
  }

  /// Reads at most one MiB.
  @Sendable package static func readFromDisk(_ path: String) throws(ConfigurationFileError) -> ConfigurationFile {
    do throws(NamedFileError) {
      let file = try readNamedFile(path, limit: largestFile)
      return ConfigurationFile(file.bytes, isReadableByOthers: file.isReadableByOthers)
    } catch {
      throw ConfigurationFileError(error.reason)
    }
  }

  /// Reads the file of this name.
  package func load(_ path: String) -> ConfigurationReading {
    do throws(NamedFileError) {
      let file = try readNamedFile(path, limit: Self.largestFile)
      return read(file.bytes, file: path, isReadableByOthers: file.isReadableByOthers)
    } catch {
      let fault = ConfigurationFault(
        .start(of: path), "", "cannot read the file: \(error.reason)", "name a file that this process may read")
      return ConfigurationReading(configuration: nil, errors: [fault], warnings: [])
    }
  }

  /// Reads `bytes`, which `file` names in messages.
  package func read(_ bytes: [UInt8], file: String, isReadableByOthers: Bool = false) -> ConfigurationReading {
    read(ConfigurationReader(file: file, bytes: bytes, environment: environment, readFile: readFile), file, isReadableByOthers)
  }

  func read(
    _ reader: ConfigurationReader, _ file: String, _ isReadableByOthers: Bool, isFile: Bool = true
  ) -> ConfigurationReading {
    var configuration: Configuration?
    if reader.isReadable {
      var draft = ConfigurationDraft(reader)
      (draft.admin, draft.adminAddress) = admin(draft.admin, reader)
      draft.check(reader, readFile, foresee: foresee)
      checkLogFile(draft.log.file, reader)
      let files = TLSFiles(reader: reader, readFile: readFile, now: time.wallNow())
      let (tls, redis) = (ListenerChecks(draft, files).run(), RedisChecks(draft, files).run())
      configuration = draft.configuration(
        tls, redis, upstreams: draft.routes.map { $0.upstreamTLS?.value.model(files) }, draft.compatibilityModel(reader),
        extra: extraAuthorities(draft, files))
    }
    if reader.holdsInlineSecrets, isReadableByOthers {
      reader.add(
        ConfigurationFault(
          .start(of: file), "", "the file holds secrets and every user of this machine may read it",
          "write 'fromFile: path' for secrets, or: chmod 600 \(file)", severity: .warning))
    }
    if isFile { addIgnoredVariables(reader) }
    let faults = reader.finish()
    var errors = faults.filter { $0.severity == .error }
    if errors.isEmpty, configuration == nil {
      // Every part that is missing has its fault; should one lack it, nothing starts all the same.
      errors = [ConfigurationFault(.start(of: file), "", "the file cannot be used", "compare it with Examples/intercom.yaml")]
    }
    return ConfigurationReading(
      configuration: errors.isEmpty ? configuration : nil, errors: errors, warnings: faults.filter { $0.severity == .warning })
  }

  private func checkLogFile(_ file: Located<String>?, _ reader: ConfigurationReader) {
    guard let file, let obstacle = foreseeLog(file.value) else { return }
    let problem = "the log file \(quoted(file.value)) cannot be written: \(obstacle.problem)"
    let remedy = "name one in a folder that this process may write to"
    // A file may be checked on another machine or as another user than `serve` will run; the variables are those of this process.
    if obstacle.isFolder || reader.isEnvironment { reader.refuse(file, problem, remedy) } else { reader.warn(file, problem, remedy) }
  }

  /// Nil when none are named, or they cannot be used: that is a fault, but for the variable of which Node only warns.
  private func extraAuthorities(_ draft: ConfigurationDraft, _ files: TLSFiles) -> Configuration.ExtraAuthorities? {
    guard let file = draft.extraAuthorities else { return nil }
    var consequence: String?
    if file.place == .variable(ServiceEnvironment.extraAuthorities) {
      consequence = "certificates are verified without it, by the system's authorities alone"
    }
    return files.certificates(file, unless: consequence).map { Configuration.ExtraAuthorities(file: file.value, certificates: $0) }
  }

  /// The address of the admin listener with what `ADMIN_HOST` and `ADMIN_PORT` say of it; beside it the address without the port, with its
  /// own place.
  private func admin(
    _ written: Located<ListenAddress>, _ reader: ConfigurationReader
  ) -> (listen: Located<ListenAddress>, address: Located<AddressLiteral>) {
    var result = written
    var host = Located(written.value.address, written.place, written.path)
    if let text = environment["ADMIN_HOST"], !text.isEmpty {
      let place = ConfigurationPlace.variable("ADMIN_HOST")
      if let address = AddressLiteral(text) {
        result = Located(ListenAddress(address: address, port: result.value.port), place, written.path)
        host = Located(address, place, written.path)
      } else {
        reader.add(ConfigurationFault(place, written.path, "\(quoted(text)) is no address", "write 127.0.0.1 or 0.0.0.0"))
      }
    }
    if let text = environment["ADMIN_PORT"], !text.isEmpty {
      let place = ConfigurationPlace.variable("ADMIN_PORT")
      if let port = wholeNumber(text), port <= 65535 {
        result = Located(ListenAddress(address: result.value.address, port: port), place, written.path)
      } else {
        reader.add(ConfigurationFault(place, written.path, "\(quoted(text)) is no port", "write a number from 1 to 65535"))
      }
    }
    return (result, host)
  }

  private func addIgnoredVariables(_ reader: ConfigurationReader) {
    let found = ServiceVariables.found(in: environment)
    guard let first = found.first else { return }
    reader.add(
      ConfigurationFault(
        .variable(first), "",
        "ignored, since a configuration file is given" + (found.count > 1 ? " (\(found.joined(separator: ", ")))" : ""),
        "write the setting into the file, or as INTERCOM_CFG_<SECTION>__<KEY>", severity: .warning))
  }

  // MARK: Without a file

  /// What messages call the environment where a file has its name.
  static let environmentName = "environment"

  /// Reads this file, or the environment when there is none.
  package func read(_ file: String?) -> ConfigurationReading { file.map(load) ?? loadEnvironment() }

  /// Reads the variables of an Intercom Service.
  package func loadEnvironment() -> ConfigurationReading {
    let service = ServiceEnvironment(environment)
    let reader = ConfigurationReader(
      service.tree, environment: environment, variableNames: ServiceVariables.names, readFile: readFile)
    for fault in service.faults { reader.add(fault) }
    let reading = read(reader, Self.environmentName, false, isFile: false)
    guard service.faults.contains(where: { $0.severity == .error }) else { return reading }
    // What a missing variable stands for has its fault, which says more than the one for the setting.
    let errors = reading.errors.filter { !$0.problem.hasPrefix("missing") || !service.missing.contains($0.path) }
    return ConfigurationReading(configuration: nil, errors: errors, warnings: reading.warnings)
  }

  /// The same as the text of a file, and the secrets by the names of their files. Paths in it are whole ones.
  ///
  /// - Parameters:
  ///   - secretFolder: where the files with the secrets are.
  ///   - workingFolder: where relative paths begin.
  package func exportEnvironment(secretFolder: String, workingFolder: String) -> (
    yaml: String, secrets: [(file: String, variable: String, secret: Secret<String>)]
  ) {
    let tree = ServiceEnvironment(environment).tree
    return (tree.yaml(secretFolder: secretFolder, workingFolder: workingFolder), tree.secrets)
  }
}
