import CCurl

/// The parts of a URL as libcurl reads it: the same parser that later connects, so the check and the call cannot disagree.
package struct CurlURL: Sendable {
  /// Lower case.
  package let scheme: String
  /// As in the URL, but ASCII letters lower case; IPv6 addresses keep their brackets.
  package let host: String
  package let port: String
  package let hasUserInfo: Bool

  /// nil when libcurl cannot read it.
  package init?(_ url: String) {
    guard !url.utf8.contains(0), let handle = curl_url() else { return nil }
    defer { curl_url_cleanup(handle) }
    guard curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK else { return nil }
    func part(_ part: CURLUPart, _ flags: UInt32 = 0) -> String? {
      var text: UnsafeMutablePointer<CChar>?
      guard curl_url_get(handle, part, &text, flags) == CURLUE_OK, let text else { return nil }
      defer { curl_free(text) }
      return String(cString: text)
    }
    guard let scheme = part(CURLUPART_SCHEME), let host = part(CURLUPART_HOST), let port = part(CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT))
    else { return nil }
    self.scheme = Self.lowercased(scheme)
    self.host = Self.lowercased(host)
    self.port = port
    hasUserInfo = part(CURLUPART_USER) != nil || part(CURLUPART_PASSWORD) != nil
  }

  private static func lowercased(_ text: String) -> String {
    String(decoding: text.utf8.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }, as: UTF8.self)
  }
}
