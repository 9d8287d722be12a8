/// Where a browser is sent back to after sign-in or sign-out: a path of ours, or a URL of an allowed origin; anything else is `/` (S8).
///
/// What passes is plain enough for every reader to agree on it: visible ASCII, no backslash, one leading slash or an exact origin.
package enum ReturnTarget {
  /// Longer targets become `/`: they travel in a stored login.
  package static let mostBytes = 2 << 10

  /// The value for `Location`, always a path beginning with a single `/` or an absolute URL of `base`'s origin or an allowed one.
  package static func validate(_ raw: [UInt8], base: HTTPURL, allowedOrigins: some Sequence<Origin>) -> String {
    validate(raw, base: base) { origin in allowedOrigins.contains { $0 == origin } }
  }

  /// The same with a rule instead of a list.
  package static func validate(_ raw: [UInt8], base: HTTPURL, allows: (Origin) -> Bool) -> String {
    let home = "/"
    guard !raw.isEmpty, raw.count <= mostBytes, raw.allSatisfy({ $0 &- 0x21 <= 0x5d && $0 != UInt8(ascii: "\\") }) else { return home }
    let hash = raw.firstIndex(of: UInt8(ascii: "#")) ?? raw.endIndex
    let resource = Array(raw[..<hash])
    let fragment = raw[hash...]
    guard !fragment.dropFirst().contains(UInt8(ascii: "#")) else { return home }
    if raw.first == UInt8(ascii: "/") {
      guard !raw.dropFirst().starts(with: [UInt8(ascii: "/")]) else { return home }
      let scan = PathSyntax.scan(resource.span, 0, resource.count)
      return scan.fault == nil ? String(decoding: raw, as: UTF8.self) : home
    }
    guard let url = HTTPURL(bytes: resource) else { return home }
    let origin = url.origin
    guard origin == base.origin || allows(origin) else { return home }
    return url.description + String(decoding: fragment, as: UTF8.self)
  }
}
