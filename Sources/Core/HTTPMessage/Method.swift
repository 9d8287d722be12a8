import IntercomCore

/// The methods that Intercom can name in a rule: those of RFC 9110 §9, PATCH (RFC 5789) and of WebDAV and its extensions.
///
/// A method that is none of these is `other`; no route allows it.
public enum Method: UInt8, Sendable, CaseIterable {
  case get, head, post, put, patch, delete, options, trace, connect
  case propfind, proppatch, mkcol, copy, move, lock, unlock, report, search, acl, mkcalendar
  case other

  /// The name as it stands in a request line.
  package var name: String {
    switch self {
    case .get: "GET"
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .patch: "PATCH"
    case .delete: "DELETE"
    case .options: "OPTIONS"
    case .trace: "TRACE"
    case .connect: "CONNECT"
    case .propfind: "PROPFIND"
    case .proppatch: "PROPPATCH"
    case .mkcol: "MKCOL"
    case .copy: "COPY"
    case .move: "MOVE"
    case .lock: "LOCK"
    case .unlock: "UNLOCK"
    case .report: "REPORT"
    case .search: "SEARCH"
    case .acl: "ACL"
    case .mkcalendar: "MKCALENDAR"
    case .other: "(other)"
    }
  }

  private static let byName: [Identifier: Method] = Dictionary(
    uniqueKeysWithValues: Method.allCases.filter { $0 != .other }.map { (Identifier($0.name), $0) })

  /// The method of this exact name: methods are case-sensitive (RFC 9110 §9.1).
  package init(named name: String) { self = Self.byName[Identifier(name)] ?? .other }
}

/// A set of methods in one word.
public struct MethodSet: OptionSet, Sendable, Hashable {
  public let rawValue: UInt32
  @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
  @inlinable public init(_ methods: [Method]) { self.init(rawValue: methods.reduce(0) { $0 | 1 << UInt32($1.rawValue) }) }

  @inlinable public func contains(_ method: Method) -> Bool { rawValue & (1 << UInt32(method.rawValue)) != 0 }

  /// Its methods in the order of `Method`.
  package var methods: [Method] { Method.allCases.filter { contains($0) } }

  package static let read = MethodSet([.get, .head, .options])
  package static let plain = MethodSet([.get, .head, .post, .put, .patch, .delete, .options])
  /// The methods of a route of kind `webdav` (behaviour: "Requests and paths").
  package static let webdav = MethodSet([
    .get, .head, .post, .put, .patch, .delete, .options, .propfind, .proppatch, .mkcol, .copy, .move, .lock, .unlock, .report, .search,
    .acl,
    .mkcalendar,
  ])
}
