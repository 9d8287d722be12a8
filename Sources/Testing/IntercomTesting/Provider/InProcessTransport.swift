import HTTPMessage
import HTTPServer
import IntercomCore
import Synchronization

/// Calls out that stay in the process: each origin is an endpoint. Redirects are answers, sizes and deadlines are kept, as `CurlTransport`
/// does.
package final class InProcessTransport: HTTPTransport {
  private let time: any TimeSource
  private let origins = Mutex<[Identifier: Endpoint]>([:])
  private let log = Mutex<[OutboundRequest]>([])

  package init(time: any TimeSource = SystemTime()) { self.time = time }

  /// Serves an origin such as `http://id.intercom.localhost:8008`; nil makes it unreachable again.
  package func serve(_ origin: String, _ endpoint: Endpoint?) { origins.withLock { $0[Identifier(origin)] = endpoint } }

  /// What was sent so far, to any origin.
  package var requests: [OutboundRequest] { log.withLock { $0 } }

  package func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse {
    guard let target = SplitURL(request.url) else { throw .badURL }
    log.withLock { $0.append(request) }
    guard let endpoint = origins.withLock({ $0[Identifier(target.origin)] }) else { throw .unreachable(target.origin) }
    let inbound = target.request(request.method, request.fields, body: request.body)
    let limit = request.maximumResponseBytes
    let wait = time.monotonicNow().duration(to: deadline)
    let time = time
    let result = await withTaskGroup(of: Result<OutboundResponse, TransportError>.self) { group in
      group.addTask { await Self.answer(endpoint, inbound, request.body, limit: limit) }
      group.addTask {
        do { try await time.sleep(for: wait) } catch { return .failure(.cancelled) }
        return .failure(.timedOut)
      }
      let first = await group.next() ?? .failure(.cancelled)
      group.cancelAll()
      return first
    }
    return try result.get()
  }

  private static func answer(
    _ endpoint: Endpoint, _ request: Request, _ body: [UInt8], limit: Int
  ) async -> Result<OutboundResponse, TransportError> {
    do {
      let response = try await endpoint(request, RequestBody(bytes: body))
      let bytes = try await response.collectedBody()
      guard bytes.count <= limit else { return .failure(.tooLarge) }
      return .success(OutboundResponse(status: response.status, fields: response.fields, body: bytes))
    } catch is CancellationError { return .failure(.cancelled) } catch { return .failure(.broken("\(error)")) }
  }
}

/// An absolute http or https URL in the parts a request is made of.
package struct SplitURL: Sendable {
  /// `scheme://authority`
  package let origin: String
  package let authority: String
  package let path: String
  /// Without the `?`.
  package let query: String?

  package init?(_ url: String) {
    guard url.hasPrefix("http://") || url.hasPrefix("https://"), let scheme = url.firstIndex(of: ":") else { return nil }
    let rest = url[url.index(scheme, offsetBy: 3)...]
    let withoutFragment = rest.prefix { $0 != "#" }
    authority = String(withoutFragment.prefix { $0 != "/" && $0 != "?" })
    guard !authority.isEmpty else { return nil }
    origin = url[..<scheme] + "://" + authority
    let target = withoutFragment.dropFirst(authority.count)
    let path = String(target.prefix { $0 != "?" })
    self.path = path.isEmpty ? "/" : path
    query = target.contains("?") ? String(target.drop { $0 != "?" }.dropFirst()) : nil
  }

  /// The parameters of the query, decoded; of repeated ones the first.
  package var parameters: [String: String] {
    var found: [String: String] = [:]
    for pair in (query ?? "").split(separator: "&") {
      let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { Self.decode(String($0)) }
      guard let name = halves.first, found[name] == nil else { continue }
      found[name] = halves.count > 1 ? halves[1] : ""
    }
    return found
  }

  /// Text of a form or query.
  package static func decode(_ text: String) -> String {
    var out: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
        out.append(value)
        rest = rest.dropFirst(2)
      } else {
        out.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// `name=value&…`, everything escaped but letters, digits and `-._~`.
  package static func encode(_ pairs: [(String, String)]) -> String {
    func escape(_ text: String) -> String {
      text.utf8.map { byte in
        let plain = byte &- 48 < 10 || (byte | 0x20) &- 97 < 26 || Array("-._~".utf8).contains(byte)
        return plain ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
      }.joined()
    }
    return pairs.map { "\(escape($0.0))=\(escape($0.1))" }.joined(separator: "&")
  }

  /// The request as an endpoint sees it.
  package func request(_ method: Method, _ fields: Fields, body: [UInt8]) -> Request {
    let host = authority.prefix { $0 != ":" }
    return Request(
      method: method, rawPath: Array(path.utf8), query: query.map { Array($0.utf8) }, host: Identifier(String(host)),
      authority: Identifier(authority), fields: fields)
  }
}

extension Response {
  /// The whole body, streamed or not.
  package func collectedBody() async throws -> [UInt8] {
    switch body {
    case .bytes(let bytes): return bytes
    case .stream(_, let write):
      let collector = Collector()
      try await write(collector)
      return await collector.bytes
    }
  }
}

private actor Collector: ResponseWriter {
  var bytes: [UInt8] = []
  func write(_ more: [UInt8]) async throws(BodyError) { bytes += more }
}
