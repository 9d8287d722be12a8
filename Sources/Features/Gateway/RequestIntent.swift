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
    let method = request.method
    let reads = method == .get || method == .head
    if request.secFetchMode.isEmpty {
      let hasOrigin = request.hasOrigin
      let isScript = hasOrigin || !reads
      isNavigation = isScript ? false : Self.acceptsHTML(request.accept, head)
    } else {
      isNavigation = request.secFetchMode.equals(Self.navigate, in: head)
    }
    let isDocument = request.secFetchDest.isEmpty ? true : request.secFetchDest.equals(Self.document, in: head)
    isTopLevel = isNavigation && isDocument
    let site = request.secFetchSite
    isSameOriginOrUser = site.equals(Self.sameOrigin, in: head) ? true : site.equals(Self.none, in: head)
  }

  private static let navigate = Array("navigate".utf8)
  private static let document = Array("document".utf8)
  private static let sameOrigin = Array("same-origin".utf8)
  private static let none = Array("none".utf8)
  private static let html = Array("text/html".utf8)

  /// `text/html` stands in Accept as a media type of its own; `*/*` is not enough.
  private static func acceptsHTML(_ range: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    range.bytes(in: head).split(separator: UInt8(ascii: ",")).contains { entry in
      let type = entry.prefix { $0 != UInt8(ascii: ";") }.filter { $0 != 32 && $0 != 9 }.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
      return type == html
    }
  }
}
