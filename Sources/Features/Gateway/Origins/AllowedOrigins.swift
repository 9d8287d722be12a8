import HTTPMessage

/// The origins of the apps: those that are listed, and those that an expression takes.
package struct AllowedOrigins: Sendable {
  package var listed: [Origin]
  package var pattern: OriginPattern?

  package init(_ listed: [Origin], pattern: OriginPattern? = nil) {
    self.listed = listed
    self.pattern = pattern
  }

  package func contains(_ origin: Origin) -> Bool { listed.contains(origin) || pattern?.matches(origin) ?? false }

  /// The same for requests.
  package var cors: CORSPolicy { CORSPolicy(origins: listed, pattern: pattern) }

  /// All of them for `frame-ancestors`; with an expression that cannot be told in its terms, the listed ones alone.
  package var frameSources: [String] { listed.map(\.description) + (pattern?.frameSources ?? []) }
}
