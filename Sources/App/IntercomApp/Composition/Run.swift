import DemoWorkplace
import IntercomCore
import Linux
import Telemetry

/// Starts, waits for a signal, drains: the life of the process.
package enum Run {
  /// `intercom serve`.
  package static func serve(_ served: ServedConfiguration) async throws -> Int32 {
    var configuration = served.configuration
    raiseDescriptorLimit()
    let file = try configuration.log.file.map { path in
      do { return try RotatingFileSink(path: path, size: configuration.log.fileSize, files: configuration.log.files) } catch let error
        as FileError
      {
        let reason = error.hasNoReader ? "it is a pipe that nobody reads, or a socket" : error.sentence
        throw DeploymentError(description: "the log file \(path) cannot be opened: \(reason)")
      }
    }
    defer { file?.finish() }
    let log = StructuredLog(to: file ?? StandardErrorSink(), minimum: configuration.log.level)
    if wantsCrashReports() {
      log.warning(
        "crash_reports_on", "SWIFT_BACKTRACE asks for crash reports: as long as it does, processes of this user may read Intercom's memory."
      )
    }
    log.tell(served.warnings)
    let inbox = SignalInbox(try serverSignals())
    let running = try await Composition.start(try Deployment(configuration, log: log, random: SystemRandom()))
    log.info(
      "listening", "Intercom listens.",
      [
        "addresses": .string(running.addresses.map(\.description).joined(separator: " ")),
        "admin": .string(running.adminAddress?.description ?? "off"), "baseURL": .string(configuration.baseURL.text),
      ])
    let reload = Reload(served: served, running: running, log: log)
    while await inbox.next() == .hangup { configuration = await reload.run(from: configuration) }
    log.info("draining", "Asked to end: finishing what is under way.")
    let limit = configuration.timeouts.drain
    let stopping = Task { await running.stop(within: limit) }
    Task {
      await inbox.end()
      log.warning("ending_now", "Asked to end once more: what is under way is cut off.")
      stopping.cancel()
    }
    let isClean = await stopping.value
    log.info("stopped", isClean ? "Everything was finished." : "The time to drain was over: the rest was cut off.")
    return isClean ? ExitCode.success : ExitCode.failure
  }

  /// `intercom demo`: progress and addresses to `say`, and last the line `ready <address>`.
  package static func demo(_ options: DemoOptions, say: @escaping @Sendable (String) -> Void) async throws -> Int32 {
    guard let port = UInt16(exactly: options.port), port > 0 else {
      throw DeploymentError(description: "--port takes a number from 1 to 65535")
    }
    let log = StructuredLog(minimum: .warning)
    let signals = try serverSignals()
    say("Starting Intercom with its demo workplace: OpenID provider, mail, files and portal in one process …")
    let demo = try DemoDeployment(port: port, admin: try adminAddress(options), log: log)
    let running: RunningIntercom
    do { running = try await Composition.start(demo.deployment) } catch {
      demo.remove()
      throw error
    }
    let time = SystemTime()
    let limit = time.monotonicNow().advanced(by: .seconds(15))
    while !running.isProviderReady, time.monotonicNow() < limit { try? await time.sleep(for: .milliseconds(20)) }
    guard running.isProviderReady else {
      _ = await running.stop()
      demo.remove()
      throw DeploymentError(
        description: "the demo's own provider did not answer within 15 s: is a proxy or firewall between loopback ports?")
    }
    let addresses = demo.assembly.workplace.addresses
    say(
      """

      Mail     \(addresses.site("mail"))/     compose a mail, attach a file from Files
      Portal   \(addresses.site("portal"))/
      Files    \(addresses.site("files"))/    takes access tokens only
      Sign-in  \(addresses.site("id"))/       the OpenID provider
      Intercom \(addresses.intercom)/
      Metrics  http://\(running.adminAddress?.description ?? "off")/metrics

      Users: \(DemoWorkplace.users.joined(separator: ", ")) (the password is the name). Everything listens on this machine only. Ctrl-C ends the demo.

      """)
    say("ready \(addresses.site("mail"))/")
    await SignalInbox(signals).end()
    say("Stopping …")
    demo.close()
    let isClean = await running.stop()
    demo.remove()
    return isClean ? ExitCode.success : ExitCode.failure
  }

  /// The usual port, or a free one when another Intercom has it: the demo's promise is one port, and metrics are an extra.
  private static func adminAddress(_ options: DemoOptions) throws -> SocketAddress {
    if let admin = options.admin { return try Deployment.address(admin) }
    let usual = SocketAddress(.loopbackV4, port: 8009)
    return Socket.isFree(usual) && options.port != 8009 ? usual : SocketAddress(.loopbackV4, port: 0)
  }
}
