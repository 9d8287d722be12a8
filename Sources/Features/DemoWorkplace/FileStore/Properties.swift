import HTTPMessage
import IntercomCore

/// What a PROPFIND asks for ([RFC 4918 §9.1](https://www.rfc-editor.org/rfc/rfc4918#section-9.1)).
package enum PropertyQuery: Sendable, Equatable {
  case all
  case names
  case these([XMLName])

  /// An empty body means all; a body that asks for nothing known is an error (400).
  package static func read(_ body: [UInt8]) throws(XMLError) -> PropertyQuery {
    guard !body.isEmpty else { return .all }
    let root = try XMLReader.read(body)
    guard root.name == .dav("propfind") else { throw XMLError() }
    if root.first("propname") != nil { return .names }
    if root.first("allprop") != nil { return .all }
    guard let wanted = root.first("prop") else { throw XMLError() }
    return .these(wanted.children.map(\.name))
  }

  /// The properties that a PROPPATCH names ([RFC 4918 §9.2](https://www.rfc-editor.org/rfc/rfc4918#section-9.2)).
  package static func readUpdate(_ body: [UInt8]) throws(XMLError) -> [XMLName] {
    let root = try XMLReader.read(body)
    guard root.name == .dav("propertyupdate") else { throw XMLError() }
    let actions = root.children.filter { $0.name == .dav("set") || $0.name == .dav("remove") }
    let names = actions.flatMap { $0.first("prop")?.children.map(\.name) ?? [] }
    guard !names.isEmpty else { throw XMLError() }
    return names
  }
}

/// The live properties of an entry. There are no dead ones: this store keeps files, not metadata.
enum LiveProperty: String, CaseIterable {
  case displayname, getcontentlength, getcontenttype, getetag, getlastmodified, resourcetype

  init?(_ name: XMLName) {
    guard name.namespace == Array("DAV:".utf8), let local = String(validating: name.local, as: UTF8.self) else { return nil }
    self.init(rawValue: local)
  }

  /// The element's content, or nil where the entry has no such property.
  func value(of entry: StoreEntry, owner: String) -> String? {
    switch self {
    case .displayname: escapedForMarkup(entry.path.name.map { String(decoding: $0, as: UTF8.self) } ?? owner)
    case .getcontentlength: entry.isFolder ? nil : String(entry.status.size)
    case .getcontenttype: entry.isFolder ? nil : MediaType.of(entry.path.name ?? [])
    case .getetag: entry.isFolder ? nil : escapedForMarkup(entry.entityTag)
    case .getlastmodified: entry.lastModified
    case .resourcetype: entry.isFolder ? "<D:collection/>" : ""
    }
  }
}

/// Writes a 207 body ([RFC 4918 §13](https://www.rfc-editor.org/rfc/rfc4918#section-13)).
struct MultiStatus {
  static let contentType = "application/xml; charset=utf-8"
  private var out = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n"

  mutating func append(_ entry: StoreEntry, query: PropertyQuery, owner: String) {
    var found = ""
    var missing = ""
    switch query {
    case .all, .names:
      for property in LiveProperty.allCases {
        guard let value = property.value(of: entry, owner: owner) else { continue }
        found += query == .names ? "<D:\(property.rawValue)/>" : "<D:\(property.rawValue)>\(value)</D:\(property.rawValue)>"
      }
    case .these(let names):
      for name in names {
        if let property = LiveProperty(name), let value = property.value(of: entry, owner: owner) {
          found += "<D:\(property.rawValue)>\(value)</D:\(property.rawValue)>"
        } else {
          missing += Self.emptyElement(name)
        }
      }
    }
    var states: [(String, String)] = []
    if !found.isEmpty || missing.isEmpty { states.append((found, "200 OK")) }
    if !missing.isEmpty { states.append((missing, "404 Not Found")) }
    append(entry.path, isFolder: entry.isFolder, states)
  }

  /// Every property refused: all of them are computed ([RFC 4918 §9.2.1](https://www.rfc-editor.org/rfc/rfc4918#section-9.2.1)).
  mutating func appendRefusal(_ entry: StoreEntry, of names: [XMLName]) {
    append(entry.path, isFolder: entry.isFolder, [(names.map(Self.emptyElement).joined(), "403 Forbidden")])
  }

  func finished() -> [UInt8] { Array((out + "</D:multistatus>\n").utf8) }

  private mutating func append(_ path: StorePath, isFolder: Bool, _ states: [(properties: String, status: String)]) {
    out += "<D:response><D:href>\(path.href(isFolder: isFolder))</D:href>"
    for state in states {
      out += "<D:propstat><D:prop>\(state.properties)</D:prop><D:status>HTTP/1.1 \(state.status)</D:status></D:propstat>"
    }
    out += "</D:response>\n"
  }

  private static func emptyElement(_ name: XMLName) -> String {
    let local = String(decoding: name.local, as: UTF8.self)
    if name.namespace == Array("DAV:".utf8) { return "<D:\(local)/>" }
    if name.namespace.isEmpty { return "<\(local)/>" }
    return "<x:\(local) xmlns:x=\"\(escapedForMarkup(String(decoding: name.namespace, as: UTF8.self)))\"/>"
  }
}

/// Media types by the name's extension; anything else is bytes.
enum MediaType {
  static func of(_ name: [UInt8]) -> String {
    guard let dot = name.lastIndex(of: UInt8(ascii: ".")) else { return "application/octet-stream" }
    let suffix = String(decoding: name[(dot + 1)...], as: UTF8.self).lowercased()
    return known[suffix] ?? "application/octet-stream"
  }

  private static let known = [
    "css": "text/css; charset=utf-8", "csv": "text/csv; charset=utf-8", "gif": "image/gif", "html": "text/html; charset=utf-8",
    "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript; charset=utf-8", "json": "application/json",
    "md": "text/markdown; charset=utf-8", "mp4": "video/mp4", "pdf": "application/pdf", "png": "image/png", "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8", "webp": "image/webp", "xml": "application/xml", "zip": "application/zip",
  ]
}
