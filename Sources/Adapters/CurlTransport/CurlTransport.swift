import Curl
import HTTPMessage
import IntercomCore

/// `HTTPTransport` through libcurl: redirects are answers, only http and https, no proxy but the configured one, sizes and times bounded.
package final class CurlTransport: HTTPTransport {
  package struct Configuration: Sendable {
    /// Name resolution, TCP and TLS together.
    package var connectTimeout: Duration
    /// PEM file of the only authorities trusted for https; nil: the system's.
    package var authorityFile: String?
    /// PEM of all that is trusted without `authorityFile`: the system's and others; nil: the system's.
    package var authorities: [UInt8]?
    /// `http://host:port`; nil: none, whatever the environment says. Loopback is never asked for through a proxy.
    package var proxy: String?
    /// Calls that run at once; more wait within their deadlines.
    package var maximumRunning: Int
    /// Calls that run and wait together; more are `unreachable` at once.
    package var maximumOutstanding: Int

    package init(
      connectTimeout: Duration = .seconds(2), authorityFile: String? = nil, authorities: [UInt8]? = nil, proxy: String? = nil,
      maximumRunning: Int = 128, maximumOutstanding: Int = 1_024
    ) {
      self.authorities = authorities
      self.connectTimeout = connectTimeout
      self.authorityFile = authorityFile
      self.proxy = proxy
      self.maximumRunning = maximumRunning
      self.maximumOutstanding = maximumOutstanding
    }
  }

  /// Where the system's authorities stand; nil when libcurl does not know.
  package static var systemAuthorityFile: String? { Curl.systemAuthorityFile() }

  /// All header bytes of an answer, as for upstreams (behaviour: "Limits").
  private static let maximumHeaderBytes = 64 * 1_024
  private let client: CurlClient

  /// Starts the thread; throws `unreachable` when libcurl or the thread cannot be started.
  package init(_ configuration: Configuration = Configuration()) throws(TransportError) {
    var options = CurlOptions()
    options.connectTimeoutMilliseconds = Int(max(1, configuration.connectTimeout.wholeNanoseconds / 1_000_000))
    options.authorityFile = configuration.authorityFile
    options.authorities = configuration.authorities
    options.proxy = configuration.proxy
    options.maximumRunning = max(1, configuration.maximumRunning)
    options.maximumOutstanding = max(1, configuration.maximumOutstanding)
    guard let client = CurlClient(options) else { throw .unreachable("libcurl cannot be started") }
    self.client = client
  }

  /// Ends all calls as `unreachable` and waits for the thread. Calls made later are `unreachable`.
  package func stop() { client.stop() }

  package func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse {
    let call = CurlCall(try Self.translate(request, deadline))
    let outcome = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        client.submit(call) { continuation.resume(returning: $0) }
      }
    } onCancel: {
      client.cancel(call)
    }
    switch outcome {
    case .success(let response):
      var fields = Fields()
      for field in response.fields { fields.append(String(decoding: field.name, as: UTF8.self), bytes: field.value) }
      return OutboundResponse(status: Status(response.status), fields: fields, body: response.body)
    case .failure(let failure): throw Self.translate(failure)
    }
  }

  private static func translate(_ request: OutboundRequest, _ deadline: MonotonicInstant) throws(TransportError) -> CurlRequest {
    let url = try checked(request.url)
    guard request.method != .other, request.method != .connect else { throw .badField }
    var lines: [[UInt8]] = []
    for field in request.fields.all { lines.append(try line(field)) }
    // Without this libcurl calls every body a form.
    if !request.body.isEmpty, request.fields.values("content-type").isEmpty { lines.append(Array("Content-Type:".utf8)) }
    return CurlRequest(
      method: request.method.name, url: request.url, fieldLines: lines, body: request.body,
      maximumBodyBytes: max(0, request.maximumResponseBytes), maximumHeaderBytes: maximumHeaderBytes,
      deadlineNanoseconds: deadline.nanoseconds, resolve: loopback(url), isRepeatable: request.isRepeatable)
  }

  /// http or https, printable ASCII, no user information, at most 16 KiB, not a link-local address.
  private static func checked(_ text: String) throws(TransportError) -> CurlURL {
    guard text.utf8.count <= 16_384, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") }), let url = CurlURL(text),
      Identifier(url.scheme) == "http" || Identifier(url.scheme) == "https", !url.host.isEmpty, !url.hasUserInfo, !isLinkLocal(url.host)
    else { throw .badURL }
    return url
  }

  /// 169.254.0.0/16 and fe80::/10, in whatever spelling: libcurl has brought numbers into one. There a cloud keeps the machine's own
  /// credentials, and what Intercom calls is named by others (S26).
  private static func isLinkLocal(_ host: String) -> Bool {
    let name = host.utf8.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
    if ["169.254.", "[::ffff:169.254.", "[::ffff:a9fe:"].contains(where: { name.starts(with: $0.utf8) }) { return true }
    return ["[fe8", "[fe9", "[fea", "[feb"].contains { name.starts(with: $0.utf8) }
  }

  /// `localhost` and every name below it is this machine ([RFC 6761 §6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)): most
  /// resolvers do not know `*.localhost`.
  private static func loopback(_ url: CurlURL) -> [String] {
    var name = Array(url.host.utf8)
    if name.last == UInt8(ascii: ".") { name.removeLast() }
    let suffix = Array(".localhost".utf8)
    guard name.elementsEqual(suffix.dropFirst()) || name.suffix(suffix.count).elementsEqual(suffix) else { return [] }
    return ["\(url.host):\(url.port):127.0.0.1,[::1]"]
  }

  /// The field line, or `badField` for what may not be sent: no token as name, control bytes in the value
  /// ([RFC 9110 §5.5](https://www.rfc-editor.org/rfc/rfc9110#section-5.5)), or framing, which is libcurl's.
  private static func line(_ field: Fields.Field) throws(TransportError) -> [UInt8] {
    let framing: Set<FieldName> = ["content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"]
    guard !field.name.isEmpty, field.name.utf8.allSatisfy(isTokenByte), !framing.contains(FieldName(field.name)),
      field.value.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 9 })
    else { throw .badField }
    let name = Array(field.name.utf8)
    // libcurl sends a field without a value only when the line ends in a semicolon.
    return field.value.allSatisfy { $0 == 32 || $0 == 9 } ? name + [UInt8(ascii: ";")] : name + [UInt8(ascii: ":"), 32] + field.value
  }

  private static func translate(_ failure: CurlFailure) -> TransportError {
    switch failure {
    case .refused: .badURL
    case .unreachable(let text): .unreachable(text)
    case .tls(let text): .tls(text)
    case .timedOut: .timedOut
    case .tooLarge: .tooLarge
    case .broken(let text): .broken(text)
    case .cancelled: .cancelled
    case .overloaded: .unreachable("too many calls are waiting")
    case .stopped: .unreachable("the transport is stopped")
    }
  }
}
