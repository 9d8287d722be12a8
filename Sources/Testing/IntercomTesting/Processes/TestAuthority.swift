import FoundationEssentials
import OpenSSL

/// A private authority whose certificates `openssl` makes, in a folder of its own.
package final class TestAuthority: Sendable {
  private let folder: TestFolder

  /// The authority's own certificate.
  package var path: String { folder.file("ca.pem") }

  package init() async throws {
    folder = try TestFolder()
    try await Self.openssl(
      ["req", "-x509", "-days", "2", "-subj", "/CN=Test authority", "-out", folder.file("ca.pem")] + Self.key(folder.file("ca.key")))
  }

  /// A certificate and its key: the paths of both files.
  ///
  /// - Parameters:
  ///   - names: subject alternative names in the words of `openssl`, such as `DNS:localhost,IP:127.0.0.1`.
  ///   - days: until it expires; negative for one that has.
  package func issue(_ name: String, names: String, days: Int = 2) async throws -> (chain: String, key: String) {
    let (request, extensions) = (folder.file(name + ".csr"), folder.file(name + ".cnf"))
    let issued = (chain: folder.file(name + ".pem"), key: folder.file(name + ".key"))
    try Data("subjectAltName=\(names)\n".utf8).write(to: URL(filePath: extensions))
    try await Self.openssl(["req", "-new", "-subj", "/CN=\(name)", "-out", request] + Self.key(issued.key))
    try await Self.openssl([
      "x509", "-req", "-in", request, "-CA", path, "-CAkey", folder.file("ca.key"), "-CAcreateserial", "-days", String(days), "-extfile",
      extensions, "-out", issued.chain,
    ])
    return issued
  }

  /// A certificate that nobody may accept before the year 2090.
  package func issueEarly(_ name: String, names: String) async throws -> (chain: String, key: String) {
    let issued = try await issue(name, names: names)
    let settings = folder.file(name + ".ca.cnf")
    let lines = [
      "[ca]", "default_ca=own", "[own]", "database=\(folder.file("index"))", "serial=\(folder.file("serial"))", "default_md=sha256",
      "policy=any", "[any]", "commonName=supplied", "",
    ]
    let text = lines.joined(separator: "\n")
    try Data(text.utf8).write(to: URL(filePath: settings))
    try Data().write(to: URL(filePath: folder.file("index")))
    try await Self.openssl([
      "ca", "-batch", "-config", settings, "-startdate", "20900101000000Z", "-enddate", "20910101000000Z", "-cert", path, "-keyfile",
      folder.file("ca.key"), "-in", folder.file(name + ".csr"), "-out", issued.chain, "-extfile", folder.file(name + ".cnf"), "-notext",
      "-rand_serial", "-outdir", folder.path,
    ])
    return issued
  }

  /// A certificate for whose names its own key alone stands.
  package func issueSelfSigned(_ name: String, names: String) async throws -> (chain: String, key: String) {
    let issued = (chain: folder.file(name + ".pem"), key: folder.file(name + ".key"))
    try await Self.openssl(
      ["req", "-x509", "-days", "2", "-subj", "/CN=\(name)", "-addext", "subjectAltName=\(names)", "-out", issued.chain]
        + Self.key(issued.key))
    return issued
  }

  /// The files of a certificate and its key, read.
  package static func identity(_ files: (chain: String, key: String)) throws -> TLSIdentity {
    try TLSIdentity(chain: read(files.chain), key: read(files.key))
  }

  /// The same, read.
  package func identity(_ name: String, names: String, days: Int = 2) async throws -> TLSIdentity {
    try Self.identity(try await issue(name, names: names, days: days))
  }

  /// This authority as somebody to be measured by.
  package func certificates() throws -> TLSCertificates { try TLSCertificates(pem: Self.read(path)) }

  private static func read(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: path))) }

  /// What a file of `issue` holds.
  package static func text(_ path: String) throws -> String { String(decoding: try read(path), as: UTF8.self) }

  private static func key(_ path: String) -> [String] {
    ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]
  }

  /// Runs `openssl` and waits for it.
  package static func openssl(_ arguments: [String]) async throws {
    let child = try ChildProcess("openssl", arguments, log: "openssl")
    guard try await child.waitForExit() == .code(0) else {
      throw WaitFailure("openssl \(arguments.first ?? "")", within: .zero, seen: child.outputTail)
    }
  }
}
