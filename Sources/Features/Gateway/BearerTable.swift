import HTTPMessage
import IntercomCore
import OIDC
import Policy
import Sessions

/// A bearer token as it came, known by its digest.
package struct PresentedBearer: Sendable, Hashable {
  let key: SessionKey
  let text: Secret<[UInt8]>

  init(_ text: [UInt8]) {
    key = SessionKey(bearer: text)
    self.text = Secret(text)
  }

  package static func == (left: Self, right: Self) -> Bool { left.key == right.key }
  package func hash(into hasher: inout Hasher) { hasher.combine(key) }

  /// The longest token that is looked at: 8 KiB.
  private static let maximumBytes = 8_192
  private static let scheme = Array("bearer ".utf8)

  /// The token of an Authorization field ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)); nil for another scheme, and for
  /// what is no token.
  init?(_ field: ByteRange, _ head: borrowing Span<UInt8>) {
    let bytes = field.bytes(in: head)
    guard bytes.count > Self.scheme.count, bytes.count <= Self.maximumBytes else { return nil }
    guard zip(bytes, Self.scheme).allSatisfy({ ($0 &- 65 < 26 ? $0 | 0x20 : $0) == $1 }) else { return nil }
    let token = bytes.dropFirst(Self.scheme.count)
    guard token.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
    self.init(Array(token))
  }
}

/// What one loop knows of a bearer token that was verified: enough to decide without asking anybody until its time is over. Confined to its
/// loop.
package final class BearerView {
  let key: SessionKey
  let verified: VerifiedAccessToken
  let text: Secret<String>
  let identity: Identity
  private var credentials: [CredentialView?] = []

  init(_ presented: PresentedBearer, _ verified: VerifiedAccessToken) {
    key = presented.key
    self.verified = verified
    text = Secret(String(decoding: presented.text.reveal(), as: UTF8.self))
    identity = Identity(issuer: verified.issuer, subject: verified.subject)
  }

  var subject: BearerSubject {
    BearerSubject(key: key, token: text, issuer: verified.issuer, subject: verified.subject, sessionID: verified.sessionID)
  }

  func isGood(at now: WallInstant) -> Bool { now < verified.expires }

  /// The credential of this route while it is fresh.
  func credential(route: RouteMark, now: WallInstant) -> CredentialView? {
    guard route.index < credentials.count, let view = credentials[route.index], view.route === route, now < view.freshUntil else {
      return nil
    }
    return view
  }

  func setCredential(_ view: CredentialView?, route: RouteMark) {
    guard route.index < 4_096 else { return }
    while credentials.count <= route.index { credentials.append(nil) }
    credentials[route.index] = view
  }
}

/// The bearer tokens that one loop has verified lately.
package final class BearerTable {
  private var views: [SessionKey: BearerView] = [:]
  private let capacity: Int

  /// - Parameter capacity: tokens kept at most; one takes its own size and a few KB.
  init(capacity: Int = 1_024) { self.capacity = max(1, capacity) }

  subscript(key: SessionKey) -> BearerView? { views[key] }

  /// When it is full those go that are over; when none is, half of all, which are verified again when they come.
  func insert(_ view: BearerView, now: WallInstant) {
    if views.count >= capacity {
      views = views.filter { $0.value.isGood(at: now) }
      if views.count >= capacity { for key in Array(views.keys.prefix(capacity / 2 + 1)) { views[key] = nil } }
    }
    views[view.key] = view
  }
}
