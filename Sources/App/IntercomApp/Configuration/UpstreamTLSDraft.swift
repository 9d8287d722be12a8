import ConfigurationYAML
import OpenSSL

/// What was written of a route's `upstreamTLS`, with places.
struct UpstreamTLSDraft: Sendable {
  let caFile: Located<String>?
  let chain: Located<String>?
  let key: Located<String>?
  let serverName: Located<String>?

  /// Reads the files too: what cannot be used is a fault at the start, not a 502 later.
  func model(_ files: TLSFiles) -> Configuration.UpstreamTLS {
    var model = Configuration.UpstreamTLS(caFile: caFile?.value, chain: chain?.value, serverName: serverName?.value)
    model.authorities = caFile.flatMap(files.certificates)
    switch (chain, key) {
    case (nil, nil): break
    case (let chain?, nil): files.reader.refuse(chain, "a certificate without its key", "write 'key: file' beside it")
    case (nil, let key?): files.reader.refuse(key, "a key without its certificate", "write 'chain: file' beside it")
    case (let chain?, let key?): model.identity = files.identity(chain: chain, key: key, refusedBy: "upstreams refuse it")
    }
    return model
  }
}

extension ValueShape where Value == UpstreamTLSDraft {
  static var upstreamTLS: ValueShape {
    ValueShape(type: "map") { value in
      guard let section = value.section(expected: "a map", example: "{caFile: ca.pem}") else { return nil }
      typealias Keys = ConfigurationKeys.UpstreamTLS
      let draft = UpstreamTLSDraft(
        caFile: section[Keys.caFile], chain: section[Keys.chain], key: section[Keys.key], serverName: section[Keys.serverName])
      if section.isEmpty { value.refuse("an empty map", "write caFile, chain and key, or serverName, or remove it") }
      return draft
    }
  }
}
