import HTTPMessage
import IntercomCore

/// What kind of request a browser says it makes (behaviour: "Navigation or script",
/// [Fetch Metadata](https://www.w3.org/TR/fetch-metadata/)).
package struct RequestIntent: Sendable, Hashable {
  /// The answer is shown as a page: without a session it is sent to the provider instead of being refused.
  package let isNavigation: Bool
  /// A navigation of the tab itself, not of a frame inside a page.
  package let isTopLevel: Bool
  /// `Sec-Fetch-Site` says that the request comes from our own pages or from the user (address bar, bookmark).
  package let isSameOriginOrUser: Bool

  package init(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) {
    isNavigation = Self.isNavigation(request, head)
    isTopLevel = Self.isTopLevel(request, head)
    let site = request.secFetchSite
    isSameOriginOrUser = site.equals(Self.sameOrigin, in: head) ? true : site.equals(Self.none, in: head)
  }

  /// `isTopLevel` alone, for every request: nothing is allocated.
  static func isTopLevel(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Bool {
    guard isNavigation(request, head) else { return false }
    return request.secFetchDest.isEmpty ? true : request.secFetchDest.equals(document, in: head)
  }

  private static func isNavigation(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Bool {
    guard request.secFetchMode.isEmpty else { return request.secFetchMode.equals(Self.navigate, in: head) }
    guard !request.hasOrigin else { return false }
    switch request.method {
    case .get, .head: return acceptsHTML(request.accept, head)
    default: return false
    }
  }

  private static let navigate = Array("navigate".utf8)
  private static let document = Array("document".utf8)
  private static let sameOrigin = Array("same-origin".utf8)
  private static let none = Array("none".utf8)
  private static let html = Array("text/html".utf8)

  /// `text/html` stands in Accept as a media type of its own; `*/*` is not enough.
  private static func acceptsHTML(_ range: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    guard range.upper <= head.count else { return false }
    var at = range.lower
    while at < range.upper {
      while at < range.upper, isBlank(head[at]) { at &+= 1 }
      var matched = 0
      while at < range.upper, matched < html.count, head[at] | (head[at] &- 65 < 26 ? 0x20 : 0) == html[matched] {
        at &+= 1
        matched &+= 1
      }
      while at < range.upper, isBlank(head[at]) { at &+= 1 }
      if matched == html.count, at == range.upper || head[at] == UInt8(ascii: ",") || head[at] == UInt8(ascii: ";") { return true }
      at = find(UInt8(ascii: ","), head, at, range.upper) &+ 1
    }
    return false
  }

  @inline(__always) private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }
}
