import HTTPMessage
import IntercomCore
import Synchronization

/// Hears every answer of one server that test clients read while a test runs, whoever of its tasks reads it: at the end the test looks for
/// what must be in none of them (S28).
///
/// `AnswerWatch.$current.withValue(watch) { … }` makes it hear; `RawConnection` tells it.
package final class AnswerWatch: Sendable {
  @TaskLocal package static var current: AnswerWatch?

  /// Where something was found.
  package struct Finding: Sendable, CustomStringConvertible {
    package let what: String
    /// The beginning of the answer, up to the find.
    package let answer: String

    package var description: String { "\(what) is in an answer: \(answer)" }
  }

  private struct State {
    var heard: Set<[UInt8]> = []
    var cookies: Set<[UInt8]> = []
    var count = 0
  }
  private let port: Int
  private let ownCookies: [String]
  private let mayCarry: @Sendable (_ name: String, _ value: String) -> String
  private let state = Mutex(State())

  /// - Parameters:
  ///   - port: of the server whose answers are watched.
  ///   - ownCookies: names whose `Set-Cookie` lines are how a browser gets its cookie; their values may stand nowhere else.
  ///   - mayCarry: gives what is left of a field's value when what it may carry is taken out.
  package init(port: Int, ownCookies: [String], mayCarry: @escaping @Sendable (_ name: String, _ value: String) -> String = { $1 }) {
    self.port = port
    self.ownCookies = ownCookies
    self.mayCarry = mayCarry
  }

  /// How many answers were heard.
  package var count: Int { state.withLock { $0.count } }

  /// Every answer once: status, fields, body; without what it may carry and without the lines that set own cookies.
  package var answers: [[UInt8]] { state.withLock { Array($0.heard) } }
  /// The values of own cookies that were set.
  package var cookieValues: [[UInt8]] { state.withLock { Array($0.cookies) } }

  func hear(_ answer: HTTPAnswer, from port: Int) {
    guard port == self.port else { return }
    var lines = "\(answer.status) \(answer.reason)\n"
    var cookies: [[UInt8]] = []
    for (name, value) in (answer.fields.all + answer.trailers.all).map({ ($0.name, String(decoding: $0.value, as: UTF8.self)) }) {
      if FieldName(name) == "set-cookie", let own = ownValue(value) {
        if own.count >= 20 { cookies.append(own) }
        continue
      }
      lines += "\(name): \(mayCarry(name, value))\n"
    }
    let text = Array(lines.utf8) + answer.body
    state.withLock { state in
      state.count += 1
      state.heard.insert(text)
      state.cookies.formUnion(cookies)
    }
  }

  private func ownValue(_ line: String) -> [UInt8]? {
    let pair = line.prefix { $0 != ";" }
    guard let equals = pair.firstIndex(of: "=") else { return nil }
    let name = Identifier(String(pair[..<equals]))
    guard ownCookies.contains(where: { Identifier($0) == name }) else { return nil }
    return Array(pair[pair.index(after: equals)...].utf8)
  }

  /// Looks through everything that was heard: for these secrets, for own cookies outside of their `Set-Cookie`, and for anything that is
  /// shaped like a signed token.
  package func findings(_ secrets: [String: [UInt8]]) -> [Finding] {
    let (heard, cookies) = state.withLock { ($0.heard, $0.cookies) }
    var found: [Finding] = []
    for text in heard {
      func note(_ what: String, _ position: Int) {
        found.append(Finding(what: what, answer: String(decoding: text[..<position].suffix(600), as: UTF8.self)))
      }
      for (name, secret) in secrets where secret.count >= 8 {
        if let position = text.positions(of: secret).first { note(name, position) }
      }
      for cookie in cookies {
        if let position = text.positions(of: cookie).first { note("an own cookie's value", position) }
      }
      if let position = Self.signedToken(in: text) { note("something shaped like a JWT", position) }
    }
    return found
  }

  /// Where `eyJ….….…` begins: the base64url of `{"`, two dots ([RFC 7515 §3.1](https://www.rfc-editor.org/rfc/rfc7515#section-3.1)).
  package static func signedToken(in text: [UInt8]) -> Int? {
    text.positions(of: Array("eyJ".utf8)).first { start in
      let parts = text[start...].prefix { isDigit($0) || $0 == UInt8(ascii: ".") }.split(
        separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      return parts.count >= 3 && parts[0].count >= 10 && parts[1].count >= 4
    }
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
  }
}
