import HTTP1
import HTTPMessage
import IntercomCore
import Policy
import ReverseProxy

/// What is known of a route also when its table is not in force any more: requests that began under it refer to it. An object, so that no route of
/// another table can be taken for it.
package final class RouteMark: Sendable {
  /// Its position in its table.
  package let index: Int
  let name: String
  let credential: CredentialRule
  /// Its position in the metrics.
  let place: Int

  package init(_ index: Int, _ route: Route, place: Int) {
    self.index = index
    self.place = place
    name = route.name
    credential = route.credential
  }
}

/// A route in its table, with what each of its requests needs ready. An object: a request refers to it and copies nothing.
package final class RouteEntry: Sendable {
  /// Its position in the table.
  package let index: Int
  package let route: Route
  package let mark: RouteMark
  let policy: RoutePolicy
  /// Its methods without those that no route takes.
  let takenMethods: MethodSet
  /// The endpoint that answers; nil for a route that is forwarded.
  let own: EndpointID?
  let needsCredential: Bool
  /// An access token may stand in for a session.
  let takesBearer: Bool
  /// For requests that need no credential, or are public.
  let bare: CredentialView

  init(_ index: Int, _ route: Route, place: Int) {
    self.index = index
    self.route = route
    mark = RouteMark(index, route, place: place)
    bare = CredentialView(Credential(lines: FieldLines(), freshUntil: WallInstant(seconds: .max)), route: mark, session: nil)
    policy = RoutePolicy(route: index, methods: route.methods, rule: route.needsSession ? .identified : .publicRoute)
    takenMethods = route.methods.subtracting(MethodSet([.trace, .connect]))
    takesBearer = route.bearer != nil && !route.isPublic
    if case .own(let endpoint) = route.kind { own = endpoint } else { own = nil }
    if case .none = route.credential { needsCredential = false } else { needsCredential = true }
  }
}

/// All routes in the order in which they are tried: the host's own, longest prefix first.
package struct RouteTable: Sendable {
  /// As configured.
  package let entries: [RouteEntry]
  package var routes: [Route] { entries.map(\.route) }
  /// For requests that no route takes: every origin that some route allows may read the refusal.
  package let fallbackCORS: CORSPolicy
  /// The routes of each host that has its own, and its name.
  private let hosts: [(name: [UInt8], paths: PathTable)]
  private let hostless: PathTable
  private let baseHost: [UInt8]

  /// - Parameters:
  ///   - baseHost: the base URL's host, lower case; with host routes it is the only other host that is served.
  ///   - place: where a route is counted.
  package init(_ routes: [Route], baseHost: Identifier, place: (Route) -> Int = { _ in 0 }) {
    let entries = routes.enumerated().map { RouteEntry($0, $1, place: place($1)) }
    self.entries = entries
    self.baseHost = baseHost.bytes
    fallbackCORS = CORSPolicy(origins: routes.flatMap(\.cors.origins), pattern: routes.lazy.compactMap(\.cors.pattern).first)
    hostless = PathTable(entries.filter { $0.route.host == nil })
    var names: [Identifier] = []
    for host in routes.compactMap(\.host) where !names.contains(host) { names.append(host) }
    hosts = names.map { name in (name.bytes, PathTable(entries.filter { $0.route.host == name })) }
  }

  package enum Lookup: Sendable, Hashable {
    /// The index of the route.
    case found(Int)
    case notFound
    /// 421: host routes are configured and this host is none of them nor the base URL's.
    case misdirected
    /// The decoded path belongs to a route whose prefix is not written literally: no spelling reaches a route but its canonical one.
    case escapedPrefix
  }

  /// The route of this request, by host, then by the longest literal prefix in whole segments.
  package func lookup(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Lookup {
    guard !hosts.isEmpty else { return hostless.lookup(request, head) }
    for index in hosts.indices where Self.equals(hosts[index].name, request.host, head) { return hosts[index].paths.lookup(request, head) }
    return Self.equals(baseHost, request.host, head) ? hostless.lookup(request, head) : .misdirected
  }

  /// Hosts are compared whatever the case of their letters (RFC 3986 §3.2.2); `name` is lower case.
  private static func equals(_ name: [UInt8], _ range: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    guard range.count == name.count, range.upper <= head.count else { return false }
    for offset in 0..<name.count {
      let byte = head[range.lower &+ offset]
      if (byte &- 65 < 26 ? byte | 0x20 : byte) != name[offset] { return false }
    }
    return true
  }
}

/// The routes of one host, found by the first segment of the path.
struct PathTable: Sendable {
  /// A route whose path may be the beginning of a request's.
  private struct Candidate: Sendable {
    /// Of its first segment, see `segment(of:)`.
    let segment: UInt64
    /// Its path is this segment, whole in the word, and what follows may be anything: nothing is left to compare.
    let isWhole: Bool
    let entry: RouteEntry
  }
  /// In the order in which they are tried.
  private let all: [RouteEntry]
  /// Those with a path of their own, by bucket and within a bucket in order.
  private let candidates: [Candidate]
  /// Where each bucket begins in `candidates`, and the end of the last.
  private let starts: [Int]
  private let shift: UInt64
  /// Those of `/`.
  private let roots: [RouteEntry]

  init(_ entries: [RouteEntry]) {
    // Longer before shorter, exact before prefix of the same length, then as configured.
    all = entries.sorted { left, right in
      let (a, b) = (left.route, right.route)
      if a.path.bytes.count != b.path.bytes.count { return a.path.bytes.count > b.path.bytes.count }
      if a.exact != b.exact { return a.exact }
      return left.index < right.index
    }
    roots = all.filter(\.route.path.bytes.isEmpty)
    let deep = all.filter { !$0.route.path.bytes.isEmpty }.map { entry in
      let path = entry.route.path.bytes
      let isWhole = path.count <= 8 && !path.dropFirst().contains(UInt8(ascii: "/")) && !entry.route.exact
      return Candidate(segment: Self.segment(of: path.span, 0, path.count), isWhole: isWhole, entry: entry)
    }
    var bits = 3
    while 1 << bits < deep.count { bits += 1 }
    let shift = UInt64(64 - bits)
    self.shift = shift
    let buckets = (0..<(1 << bits)).map { bucket in deep.filter { Self.bucket(of: $0.segment, shift) == bucket } }
    candidates = buckets.flatMap { $0 }
    starts = buckets.reduce(into: [0]) { starts, bucket in starts.append((starts.last ?? 0) + bucket.count) }
  }

  /// The first eight bytes of the first segment of `bytes[start ..< end]`, which begins with `/`; zeros behind a shorter one.
  @inline(__always) private static func segment(of bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int) -> UInt64 {
    if start &+ 9 <= bytes.count {
      var word = load8(bytes, start &+ 1)
      let left = end &- start &- 1
      if left < 8 { word &= (1 &<< UInt64(left &* 8)) &- 1 }
      let slashes = ByteWord.zeros(word ^ ByteWord.all(UInt8(ascii: "/")))
      // What stands below the first slash.
      return slashes == 0 ? word : word & (((slashes & (0 &- slashes)) &>> 7) &- 1)
    }
    var word: UInt64 = 0
    var at = start &+ 1
    var shift: UInt64 = 0
    while at < end, shift < 64, bytes[at] != UInt8(ascii: "/") {
      word |= UInt64(bytes[at]) &<< shift
      shift &+= 8
      at &+= 1
    }
    return word
  }

  @inline(__always) private static func bucket(of segment: UInt64, _ shift: UInt64) -> Int {
    Int(truncatingIfNeeded: (segment &* 0x9e37_79b9_7f4a_7c15) &>> shift)
  }

  func lookup(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> RouteTable.Lookup {
    let path = request.path
    guard path.upper <= head.count, !path.isEmpty else { return .notFound }
    guard !request.pathHasEscapes, !Self.hasLenientForms(head, path) else { return lookupLeniently(path, head) }
    // The path reads in one way only, so no route can be disguised in it, and only those with its first segment can match.
    let segment = Self.segment(of: head, path.lower, path.upper)
    let bucket = Self.bucket(of: segment, shift)
    for place in starts[bucket]..<starts[bucket &+ 1] where candidates[place].segment == segment {
      let entry = candidates[place].entry
      if candidates[place].isWhole { return .found(entry.index) }
      if case .matched(let rest) = entry.route.path.match(path, in: head), Self.takes(entry, rest) { return .found(entry.index) }
    }
    for entry in roots {
      if case .matched(let rest) = entry.route.path.match(path, in: head), Self.takes(entry, rest) { return .found(entry.index) }
    }
    return .notFound
  }

  /// The same for a path that lenient servers could read in another way: whatever route one of them would see in it must be refused.
  private func lookupLeniently(_ path: ByteRange, _ head: borrowing Span<UInt8>) -> RouteTable.Lookup {
    for entry in all {
      switch entry.route.path.match(path, in: head) {
      case .none: continue
      case .matched(let rest): if Self.takes(entry, rest) { return .found(entry.index) }
      case .disguised: guard entry.route.path.bytes.isEmpty else { return .escapedPrefix }
      }
    }
    return .notFound
  }

  /// The rest of an exact route is nothing, or the one slash of `/`.
  @inline(__always) private static func takes(_ entry: RouteEntry, _ rest: ByteRange) -> Bool {
    !entry.route.exact || rest.count <= (entry.route.path.bytes.isEmpty ? 1 : 0)
  }

  /// Whether the path holds `;` or slashes in a row. (What is escaped is known already.) It may say so of a path without them, which then is
  /// compared with all routes for nothing.
  @inline(__always) private static func hasLenientForms(_ head: borrowing Span<UInt8>, _ path: ByteRange) -> Bool {
    // A head goes on behind its path: " HTTP/1.1" at least.
    guard path.upper &+ 8 <= head.count else { return true }
    var at = path.lower
    var before: UInt64 = 0
    while at < path.upper {
      var word = load8(head, at)
      let left = path.upper &- at
      if left < 8 { word &= (1 &<< UInt64(left &* 8)) &- 1 }
      let slashes = ByteWord.zeros(word ^ ByteWord.all(UInt8(ascii: "/")))
      if (slashes & ((slashes &<< 8) | before)) | ByteWord.zeros(word ^ ByteWord.all(UInt8(ascii: ";"))) != 0 { return true }
      before = slashes &>> 56
      at &+= 8
    }
    return false
  }
}
