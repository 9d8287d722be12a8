/// The field names that the engine knows by number: it reads them, sets them, drops them or guards them. Everything else is `other` and is
/// passed on.
///
/// Fewer than 64, so that a set of them is one word (`FieldIDSet`).
public enum FieldID: UInt8, Sendable, CaseIterable {
  case other
  case host, contentLength, transferEncoding, connection, keepAlive, te, trailer, upgrade, proxyConnection, proxyAuthorization
  case proxyAuthenticate, proxyAuthenticationInfo, expect, cookie, setCookie, authorization, origin, referer, accept
  case secFetchMode, secFetchSite, secFetchDest, secFetchUser, csrfToken, accessControlRequestMethod, accessControlRequestHeaders
  case destination, forwarded, xForwardedFor, xForwardedProto, xForwardedHost, xRealIP, xRewriteURL, xEnvoyOriginalPath
  case xClientIP, clientIP, trueClientIP, xClusterClientIP, via, location, contentLocation, contentType, contentEncoding, date
  case server, vary, cacheControl, wwwAuthenticate, maxForwards, userAgent, clearSiteData, altSvc
  /// Any further `Sec-Fetch-…`, `Access-Control-…`, `X-Forwarded-…`, `X-Original-…`.
  case secFetchOther, accessControlOther, xForwardedOther, xOriginalOther

  /// The name as it is usually written; that of a family is its beginning.
  package var name: String {
    switch self {
    case .other: ""
    case .host: "Host"
    case .contentLength: "Content-Length"
    case .transferEncoding: "Transfer-Encoding"
    case .connection: "Connection"
    case .keepAlive: "Keep-Alive"
    case .te: "TE"
    case .trailer: "Trailer"
    case .upgrade: "Upgrade"
    case .proxyConnection: "Proxy-Connection"
    case .proxyAuthorization: "Proxy-Authorization"
    case .proxyAuthenticate: "Proxy-Authenticate"
    case .proxyAuthenticationInfo: "Proxy-Authentication-Info"
    case .expect: "Expect"
    case .cookie: "Cookie"
    case .setCookie: "Set-Cookie"
    case .authorization: "Authorization"
    case .origin: "Origin"
    case .referer: "Referer"
    case .accept: "Accept"
    case .secFetchMode: "Sec-Fetch-Mode"
    case .secFetchSite: "Sec-Fetch-Site"
    case .secFetchDest: "Sec-Fetch-Dest"
    case .secFetchUser: "Sec-Fetch-User"
    case .csrfToken: "X-CSRF-Token"
    case .accessControlRequestMethod: "Access-Control-Request-Method"
    case .accessControlRequestHeaders: "Access-Control-Request-Headers"
    case .destination: "Destination"
    case .forwarded: "Forwarded"
    case .xForwardedFor: "X-Forwarded-For"
    case .xForwardedProto: "X-Forwarded-Proto"
    case .xForwardedHost: "X-Forwarded-Host"
    case .xRealIP: "X-Real-IP"
    case .xRewriteURL: "X-Rewrite-URL"
    case .xEnvoyOriginalPath: "X-Envoy-Original-Path"
    case .xClientIP: "X-Client-IP"
    case .clientIP: "Client-IP"
    case .trueClientIP: "True-Client-IP"
    case .xClusterClientIP: "X-Cluster-Client-IP"
    case .via: "Via"
    case .location: "Location"
    case .contentLocation: "Content-Location"
    case .contentType: "Content-Type"
    case .contentEncoding: "Content-Encoding"
    case .date: "Date"
    case .server: "Server"
    case .vary: "Vary"
    case .cacheControl: "Cache-Control"
    case .wwwAuthenticate: "WWW-Authenticate"
    case .maxForwards: "Max-Forwards"
    case .userAgent: "User-Agent"
    case .clearSiteData: "Clear-Site-Data"
    case .altSvc: "Alt-Svc"
    case .secFetchOther: "Sec-Fetch-"
    case .accessControlOther: "Access-Control-"
    case .xForwardedOther: "X-Forwarded-"
    case .xOriginalOther: "X-Original-"
    }
  }
}

/// A set of known field names in one word.
public struct FieldIDSet: Sendable, Hashable, ExpressibleByArrayLiteral {
  public var bits: UInt64 = 0

  @inlinable public init() {}
  @inlinable public init(bits: UInt64) { self.bits = bits }
  @inlinable public init(arrayLiteral ids: FieldID...) { for id in ids { insert(id) } }

  @inlinable public func contains(_ id: FieldID) -> Bool { (bits &>> UInt64(id.rawValue)) & 1 == 1 }
  @inlinable public mutating func insert(_ id: FieldID) { bits |= 1 &<< UInt64(id.rawValue) }
  @inlinable public func union(_ other: FieldIDSet) -> FieldIDSet {
    var both = self
    both.bits |= other.bits
    return both
  }

  /// What belongs to one connection only and is never passed on (RFC 9110 §7.6.1, §11.7). `Trailer` is not among them: trailers are passed.
  @inlinable public static var hopByHop: FieldIDSet {
    [
      .connection, .keepAlive, .proxyConnection, .proxyAuthorization, .proxyAuthenticate, .proxyAuthenticationInfo, .te, .transferEncoding,
      .upgrade,
    ]
  }
  /// Fields by which a client could claim to be someone or somewhere else (S3): only Intercom may set them.
  @inlinable public static var forwarding: FieldIDSet {
    [
      .forwarded, .xForwardedFor, .xForwardedProto, .xForwardedHost, .xForwardedOther, .xOriginalOther, .xRealIP, .xRewriteURL,
      .xEnvoyOriginalPath, .xClientIP, .clientIP, .trueClientIP, .xClusterClientIP,
    ]
  }
  /// Refused when repeated: a decision reads them, and two values are two decisions.
  @inlinable public static var singular: FieldIDSet {
    [
      .host, .contentLength, .transferEncoding, .authorization, .origin, .referer, .secFetchMode, .secFetchSite, .secFetchDest,
      .secFetchUser, .csrfToken, .accessControlRequestMethod, .accessControlRequestHeaders, .destination, .expect,
    ]
  }
  /// Never as a trailer: framing, routing, authentication and what a decision reads (RFC 9110 §6.5.1).
  @inlinable public static var forbiddenTrailers: FieldIDSet {
    hopByHop.union(forwarding).union(singular).union([
      .cookie, .setCookie, .via, .accessControlOther, .secFetchOther, .trailer, .location, .contentType, .contentEncoding, .contentLocation,
      .wwwAuthenticate, .cacheControl, .vary, .maxForwards,
    ])
  }
}
