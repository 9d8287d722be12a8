import Cryptography
import DemoPages
import HTTPMessage
import HTTPServer
import IntercomCore
import StrictJSON

/// The addresses of the demo, all on one port.
package struct DemoAddresses: Sendable {
  package let port: Int
  package init(port: Int) { self.port = port }

  /// `intercom.localhost`, and the hosts below it.
  package static let intercomHost: Identifier = "intercom.localhost"
  package static func host(_ label: String) -> Identifier { Identifier("\(label).intercom.localhost") }

  /// An origin without a final slash. The port is left out when it is http's own, as browsers do.
  package func origin(_ host: Identifier) -> String { port == 80 ? "http://\(host)" : "http://\(host):\(port)" }
  package var intercom: String { origin(Self.intercomHost) }
  package func site(_ label: String) -> String { origin(Self.host(label)) }
}

/// Pages and their parts, with the fields that keep them from running or loading anything else.
struct SitePages: Sendable {
  let addresses: DemoAddresses

  /// Everything from the own origin only; Intercom may be called and framed, and the provider framed, because the hidden frame of the silent
  /// sign-in passes it.
  private var contentSecurityPolicy: String {
    [
      "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data: blob:",
      "connect-src 'self' \(addresses.intercom)", "frame-src \(addresses.intercom) \(addresses.site("id"))", "form-action 'self'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].joined(separator: "; ")
  }

  func route(_ path: Identifier, _ asset: DemoAsset) -> DemoSite.Route {
    // The bytes never change while the process runs: one hash serves every answer.
    let tag = "\"\(Base64URL.encode(Array(sha256(asset.content).prefix(12))))\""
    let fields = Fields([
      "Content-Type": asset.mediaType, "Cache-Control": "no-cache", "ETag": tag, "Content-Security-Policy": contentSecurityPolicy,
      "X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin-when-cross-origin",
      "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
    ])
    return DemoSite.Route(MethodSet([.get, .head]), .exactly(path)) { request, _ in
      let known = EntityTagList(request.fields.values("if-none-match"))
      guard known?.contains(tag) != true else { return Response(304, fields) }
      return Response(200, fields, asset.content)
    }
  }

  func routes(_ prefix: String, _ assets: [DemoAsset]) -> [DemoSite.Route] {
    assets.map { route(Identifier(prefix + $0.rawValue), $0) }
  }

  /// The addresses that scripts need.
  var configuration: DemoSite.Route {
    let addresses: JSONObject = [
      "intercom": .string(addresses.intercom), "portal": .string(addresses.site("portal")), "mail": .string(addresses.site("mail")),
      "files": .string(addresses.site("files")),
    ]
    let body = addresses.serialized
    return DemoSite.Route(MethodSet([.get, .head]), .exactly("/config.json")) { _, _ in
      Response(200, ["Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"], body)
    }
  }
}
