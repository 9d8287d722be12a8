import ConfigurationYAML
import HTTPMessage
import IntercomCore
import OpenSSL

/// Reads the certificates and keys that a configuration names, and says what is wrong with them. What files hold never reaches a message.
struct TLSFiles {
  let reader: ConfigurationReader
  let readFile: ReadConfigurationFile
  let now: WallInstant

  /// Sooner than this the end of a certificate is reported.
  private static let notice = Duration.seconds(14 * 86_400)

  /// All certificates of a PEM file; nil after a fault.
  func certificates(_ file: Located<String>) -> TLSCertificates? { certificates(file, unless: nil) }

  /// - Parameter consequence: what follows when they cannot be read, where that is no fault: then it is a warning.
  func certificates(_ file: Located<String>, unless consequence: String?) -> TLSCertificates? {
    guard let bytes = read(file, unless: consequence)?.bytes else { return nil }
    do throws(OpenSSLError) { return try TLSCertificates(pem: bytes) } catch {
      let holdsOne = bytes.contains("-----BEGIN CERTIFICATE-----".utf8)
      refuse(
        file, "\(quoted(file.value)) holds \(holdsOne ? "a certificate that cannot be read" : "no certificate")",
        "name a PEM file with '-----BEGIN CERTIFICATE-----'", unless: consequence)
      return nil
    }
  }

  private func refuse(_ file: Located<String>, _ problem: String, _ remedy: String, unless consequence: String?) {
    guard let consequence else { return reader.refuse(file, problem, remedy) }
    reader.warn(file, "\(problem): \(consequence)", "\(remedy), or unset it")
  }

  /// A certificate with its key; nil after a fault. Warns of one that is not good now, or not for long.
  ///
  /// - Parameter refusedBy: what becomes of one that is not good now.
  func identity(chain: Located<String>, key: Located<String>, refusedBy consequence: String = "clients refuse it") -> TLSIdentity? {
    let (certificates, privateKey) = (certificates(chain), self.key(key))
    guard let certificates else { return nil }
    warnOfTime(certificates, chain, consequence)
    guard let privateKey else { return nil }
    do throws(OpenSSLError) {
      return try TLSIdentity(chain: certificates, key: privateKey)
    } catch {
      reader.refuse(
        key, "\(quoted(key.value)) is not the key of the first certificate in \(quoted(chain.value))",
        "name the key that the certificate was asked for with, and put that certificate first")
      return nil
    }
  }

  private func key(_ file: Located<String>) -> TLSPrivateKey? {
    guard let found = read(file) else { return nil }
    if found.isReadableByOthers {
      reader.warn(file, "every user of this machine may read the private key", "write: chmod 600 \(file.value)")
    }
    do throws(OpenSSLError) { return try TLSPrivateKey(pem: found.bytes) } catch {
      if found.bytes.contains("ENCRYPTED".utf8) {
        reader.refuse(
          file, "the key in \(quoted(file.value)) has a passphrase", "take it off with: openssl pkey -in FILE -out FILE2, and chmod 600")
      } else {
        let holdsOne = found.bytes.contains("PRIVATE KEY-----".utf8)
        reader.refuse(
          file, "\(quoted(file.value)) holds \(holdsOne ? "a private key that cannot be read" : "no private key")",
          "name a PEM file with '-----BEGIN PRIVATE KEY-----'")
      }
      return nil
    }
  }

  private func read(_ file: Located<String>, unless consequence: String? = nil) -> ConfigurationFile? {
    do throws(ConfigurationFileError) { return try readFile(file.value) } catch {
      refuse(
        file, "cannot read \(quoted(file.value)): \(error.reason)", "name a PEM file that this process may read", unless: consequence)
      return nil
    }
  }

  /// No fault: a service whose certificate has expired must come up again after a restart, for those who look past it.
  private func warnOfTime(_ certificates: TLSCertificates, _ file: Located<String>, _ consequence: String) {
    guard let facts = certificates.facts else { return }
    let (begin, end) = (WallInstant(seconds: facts.notBefore), WallInstant(seconds: facts.notAfter))
    if end <= now {
      reader.warn(file, "the certificate expired on \(HTTPDate.format(end)): \(consequence)", "put a new one in its place")
    } else if now < begin {
      reader.warn(
        file, "the certificate is not valid before \(HTTPDate.format(begin)): \(consequence)", "look at this machine's clock, or wait")
    } else if end < now.advanced(by: Self.notice) {
      reader.warn(file, "the certificate expires on \(HTTPDate.format(end))", "put a new one in its place before")
    }
  }
}
