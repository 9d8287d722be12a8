import EventLoop
import HTTP1
import HTTPMessage
import IntercomCore

/// Endpoints by path and method, for listeners without a gateway: the administrative one, and tests.
package struct EndpointTable: Sendable {
  private struct Entry: Sendable {
    var path: [UInt8]
    var isPrefix: Bool
    var endpoints: [(method: Method, endpoint: Endpoint)]
  }
  private var entries: [Entry] = []

  package init() {}

  /// Adds an endpoint. `path` is compared byte for byte with the path as sent; with a final `*` everything that begins like it matches.
  /// The first path that matches decides. GET serves HEAD too.
  package mutating func add(_ method: Method, _ path: String, _ endpoint: @escaping Endpoint) {
    let isPrefix = path.hasSuffix("*")
    let bytes = Array(isPrefix ? path.utf8.dropLast() : path.utf8[...])
    if let index = entries.firstIndex(where: { $0.path == bytes && $0.isPrefix == isPrefix }) {
      entries[index].endpoints.append((method, endpoint))
    } else {
      entries.append(Entry(path: bytes, isPrefix: isPrefix, endpoints: [(method, endpoint)]))
    }
  }

  /// What a path and a method lead to.
  package enum Match {
    case endpoint(Endpoint)
    case notFound
    /// The methods that the path takes.
    case notAllowed([Method])
  }

  /// What a method and a path, as sent, lead to.
  package func match(_ method: Method, path: [UInt8]) -> Match {
    guard let entry = entries.first(where: { $0.isPrefix ? path.starts(with: $0.path) : path == $0.path }) else { return .notFound }
    let wanted = method == .head && !entry.endpoints.contains { $0.method == .head } ? .get : method
    if let found = entry.endpoints.first(where: { $0.method == wanted }) { return .endpoint(found.endpoint) }
    let methods = entry.endpoints.map(\.method)
    return .notAllowed(methods.contains(.get) && !methods.contains(.head) ? methods + [.head] : methods)
  }
}

/// Answers from an `EndpointTable`.
package final class EndpointHandler: RequestHandler {
  private let table: EndpointTable

  package init(_ table: EndpointTable) { self.table = table }

  package func handle(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<EndpointHandler>) {
    switch table.match(head.request.method, path: head.request.path.bytes(in: bytes)) {
    case .endpoint(let endpoint): exchange.run(endpoint, Request(head, bytes, peer: exchange.client(head, bytes).text))
    case .notFound: exchange.answer(Problem(404, "not_found", "There is nothing at this address."))
    case .notAllowed(let methods):
      let allow = methods.map(\.name).joined(separator: ", ")
      exchange.answer(
        Problem(405, "method_not_allowed", "This address takes \(allow)."), lines: Array("Allow: \(allow)\r\n".utf8))
    }
  }
}
