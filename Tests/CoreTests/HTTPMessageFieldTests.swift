import HTTPMessage
import IntercomCore
import Testing

@Suite("Escapes, forms, cookies, dates")
struct HTTPMessageFieldTests {
  @Test(
    "escapes are decoded once; a broken one is none",
    arguments: [("a%20b", "a b"), ("%252e", "%2e"), ("%C3%a9", "é"), ("a+b", "a+b"), ("", "")])
  func decode(text: String, expected: String) { #expect(PercentCoding.decode(text.utf8) == Array(expected.utf8)) }

  @Test("broken escapes", arguments: ["%", "%2", "%zz", "a%2", "%%20", "%2 0"])
  func broken(text: String) { #expect(PercentCoding.decode(text.utf8) == nil) }

  @Test("encoding and decoding every byte gives it back")
  func everyByte() {
    let all = (0...255).map { UInt8($0) }
    #expect(PercentCoding.decode(PercentCoding.encode(all)) == all)
    #expect(PercentCoding.encode("a/b c~é") == "a%2Fb%20c~%C3%A9")
    #expect(PercentCoding.encode("a/b", keeping: "/") == "a/b")
  }

  @Test("a form's fields, and how often each comes (S19)")
  func forms() throws {
    let form = try FormFields(parsing: Array("state=a%26b&code=x+y&state=c&empty=&bare&&%C3%A9=1".utf8))
    #expect(form.occurrence("state") == .repeated)
    #expect(form.single("state") == nil)
    #expect(form.single("code") == "x y")
    #expect(form.occurrence("empty") == .once([]))
    #expect(form.occurrence("bare") == .once([]))
    #expect(form.occurrence("absent") == .absent)
    #expect(form.single("é") == "1")
    #expect(form.hasRepeatedNames)
    #expect(form.all.count == 6)
  }

  @Test("a repeated field is seen through its escapes")
  func disguisedRepeat() throws {
    let form = try FormFields(parsing: Array("logout_token=a&logout%5Ftoken=b".utf8))
    #expect(form.occurrence("logout_token") == .repeated)
  }

  @Test("forms are bounded, and broken ones refused")
  func boundedForms() {
    #expect(throws: FormError.tooManyFields) { try FormFields(parsing: Array(String(repeating: "a&", count: 65).utf8)) }
    #expect(throws: FormError.tooLong) { try FormFields(parsing: [UInt8](repeating: 97, count: 11), maximumBytes: 10) }
    #expect(throws: FormError.badEscape) { try FormFields(parsing: Array("a=%zz".utf8)) }
  }

  @Test("what is encoded is read back")
  func roundTrip() throws {
    var form = FormFields()
    form.append("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
    form.append("a b", "é&=+%/\n")
    #expect(form.encodedString == "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&a+b=%C3%A9%26%3D%2B%25%2F%0A")
    #expect(try FormFields(parsing: form.encoded).all == form.all)
  }

  @Test("cookies of several fields, duplicates in order (S10)")
  func cookieHeader() {
    var fields = Fields(["Cookie": "a=1; intercom=x;b"])
    fields.append("cookie", "intercom=\"y;z\"; =n")
    let cookies = CookieHeader(fields)
    #expect(cookies.values("intercom").map { String(decoding: $0.reveal(), as: UTF8.self) } == ["x", "\"y"])
    #expect(cookies.all.map { String(decoding: $0.name, as: UTF8.self) } == ["a", "intercom", "", "intercom", "", ""])
    #expect(!String(describing: cookies).contains("\"y"))
  }

  @Test("a cookie of ours, and its deletion with the same attributes (S11)")
  func setCookie() throws {
    let cookie = try SetCookie("__Host-intercom", Secret("abc"), isSecure: true)
    #expect(cookie.headerValue == "__Host-intercom=abc; Path=/; Secure; HttpOnly; SameSite=Lax")
    #expect(cookie.deletion == "__Host-intercom=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
    let other = try SetCookie(
      "x", Secret("1"), path: "/a", isSecure: true, isHTTPOnly: false, sameSite: .none, isPartitioned: true, maxAge: 60)
    #expect(other.headerValue == "x=1; Path=/a; Max-Age=60; Secure; SameSite=None; Partitioned")
    #expect(!String(reflecting: cookie).contains("abc"))
  }

  @Test("cookies that browsers would drop are refused")
  func badCookies() {
    #expect(throws: SetCookieError.prefixRule) { try SetCookie("__Host-a", Secret("1"), isSecure: false) }
    #expect(throws: SetCookieError.prefixRule) { try SetCookie("__Host-a", Secret("1"), path: "/a", isSecure: true) }
    #expect(throws: SetCookieError.prefixRule) { try SetCookie("__secure-a", Secret("1"), isSecure: false) }
    #expect(throws: SetCookieError.needsSecure) { try SetCookie("a", Secret("1"), isSecure: false, sameSite: .none) }
    #expect(throws: SetCookieError.needsSecure) { try SetCookie("a", Secret("1"), isSecure: false, isPartitioned: true) }
    for name in ["", "a b", "a=b", "a;b", "é", "a\r\n"] {
      #expect(throws: SetCookieError.badName) { try SetCookie(name, Secret("1"), isSecure: true) }
    }
    for value in ["a;b", "a b", "a\r\nSet-Cookie: x", "é", "\"", "a,b"] {
      #expect(throws: SetCookieError.badValue) { try SetCookie("a", Secret(value), isSecure: true) }
    }
    for path in ["", "a", "/a;b", "/a b"] {
      #expect(throws: SetCookieError.badPath) { try SetCookie("a", Secret("1"), path: path, isSecure: true) }
    }
  }

  @Test(
    "dates are written and read back",
    arguments: [
      (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
      (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"), (1_795_219_200, "Sat, 21 Nov 2026 00:00:00 GMT"),
      (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] as [(Int64, String)])
  func dates(seconds: Int64, text: String) {
    #expect(HTTPDate.format(WallInstant(seconds: seconds)) == text)
    #expect(HTTPDate.parse(text) == WallInstant(seconds: seconds))
  }

  @Test("every day of four centuries comes back")
  func everyDay() {
    for day in stride(from: Int64(0), to: 146_097, by: 1) {
      let instant = WallInstant(seconds: day * 86_400 + 86_399)
      if HTTPDate.parse(HTTPDate.format(instant)) != instant { Issue.record("day \(day)") }
    }
  }

  @Test(
    "dates that do not exist are nil",
    arguments: [
      "", "Sun, 06 Nov 1994 08:49:37", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
      "Sun, 06 nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 UTC",
      "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, -6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1969 08:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
    ])
  func badDates(text: String) { #expect(HTTPDate.parse(text) == nil) }

  @Test("instants before 1970 and after 9999 are moved inside")
  func clampedDates() {
    #expect(HTTPDate.format(WallInstant(seconds: .min)) == "Thu, 01 Jan 1970 00:00:00 GMT")
    #expect(HTTPDate.format(WallInstant(seconds: .max)) == "Fri, 31 Dec 9999 23:59:59 GMT")
  }
}
