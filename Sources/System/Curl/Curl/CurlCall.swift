import CCurl
import Synchronization

/// One HTTP call as libcurl shall make it. Strings and lines with NUL, CR or LF are refused: they would be cut or would add a line.
package struct CurlRequest: Sendable, CustomReflectable, CustomStringConvertible {
  package var method: String
  package var url: String
  /// Whole field lines, `Name: value`, without a line end.
  package var fieldLines: [[UInt8]]
  package var body: [UInt8]
  package var maximumBodyBytes: Int
  /// All header bytes of the answer together, 1xx answers and trailers included.
  package var maximumHeaderBytes: Int
  /// When CLOCK_MONOTONIC shows this many nanoseconds, the call has failed.
  package var deadlineNanoseconds: Int64
  /// `host:port:address[,address]` entries that libcurl uses instead of asking a resolver.
  package var resolve: [String]
  /// Fields and body hold secrets: a request prints nothing.
  package var description: String { "CurlRequest(<redacted>)" }
  package var customMirror: Mirror { Mirror(self, children: []) }
  /// libcurl sends a request again by itself when a kept connection closes without an answer, POST included; false prevents it.
  package var isRepeatable: Bool

  package init(
    method: String, url: String, fieldLines: [[UInt8]], body: [UInt8], maximumBodyBytes: Int, maximumHeaderBytes: Int,
    deadlineNanoseconds: Int64, resolve: [String], isRepeatable: Bool
  ) {
    self.method = method
    self.url = url
    self.fieldLines = fieldLines
    self.body = body
    self.maximumBodyBytes = maximumBodyBytes
    self.maximumHeaderBytes = maximumHeaderBytes
    self.deadlineNanoseconds = deadlineNanoseconds
    self.resolve = resolve
    self.isRepeatable = isRepeatable
  }

  var isClean: Bool {
    func clean(_ bytes: some Sequence<UInt8>) -> Bool { !bytes.contains { $0 == 0 || $0 == 10 || $0 == 13 } }
    return clean(method.utf8) && clean(url.utf8) && fieldLines.allSatisfy { clean($0) } && resolve.allSatisfy { clean($0.utf8) }
  }
}

/// The whole answer.
package struct CurlResponse: Sendable, CustomReflectable, CustomStringConvertible {
  /// Like a request.
  package var description: String { "CurlResponse(<redacted>)" }
  package var customMirror: Mirror { Mirror(self, children: []) }
  package var status = 0
  package var fields: [(name: [UInt8], value: [UInt8])] = []
  package var body: [UInt8] = []
}

/// Why there is no answer. Texts are libcurl's fixed sentences: they never hold a URL, a field or a body.
package enum CurlFailure: Error, Sendable, Equatable {
  /// The URL or a line cannot be sent, or libcurl refuses its scheme.
  case refused
  case unreachable(String)
  case tls(String)
  case timedOut
  case tooLarge
  case broken(String)
  case cancelled
  /// More calls are running and waiting than allowed.
  case overloaded
  /// `stop()` was called.
  case stopped
}

/// A submitted call.
///
/// `@unchecked`: everything but `cancelled` belongs to the submitter before `submit` and to the curl thread from then on.
package final class CurlCall: @unchecked Sendable {
  let request: CurlRequest
  let cancelled = Atomic<Bool>(false)
  var completion: (@Sendable (Result<CurlResponse, CurlFailure>) -> Void)?
  var handle: UnsafeMutableRawPointer?
  var lists: [UnsafeMutablePointer<curl_slist>] = []
  var response = CurlResponse()
  var headerBytes = 0
  var tooLarge = false
  var malformed = false

  package init(_ request: CurlRequest) { self.request = request }

  deinit {
    for list in lists { curl_slist_free_all(list) }
  }

  /// Takes a piece of the body; false stops the transfer.
  func takeBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count <= request.maximumBodyBytes - response.body.count else {
      tooLarge = true
      return false
    }
    response.body.append(contentsOf: bytes)
    return true
  }

  /// Takes one line of the head or of the trailers; false stops the transfer.
  func takeLine(_ line: UnsafeRawBufferPointer) -> Bool {
    guard line.count <= request.maximumHeaderBytes - headerBytes else {
      tooLarge = true
      return false
    }
    headerBytes += line.count
    if line.starts(with: "HTTP/".utf8) {
      response.fields.removeAll()  // an interim answer (1xx) went before
      return true
    }
    guard let first = line.first, first != 13, first != 10 else { return true }
    guard first != 32, first != 9, let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
      malformed = true  // a folded line (RFC 9112 §5.2) or none at all
      return false
    }
    var value = line[(colon + 1)...]
    while let byte = value.first, byte == 32 || byte == 9 { value.removeFirst() }
    while let byte = value.last, byte == 32 || byte == 9 || byte == 13 || byte == 10 { value.removeLast() }
    response.fields.append((name: Array(line[..<colon]), value: Array(value)))
    return true
  }
}
