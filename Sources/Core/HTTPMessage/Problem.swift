/// An error as the client sees it: RFC 9457 problem details. Never holds a token, code, cookie or another user's data.
package struct Problem: Sendable {
  package var status: Status
  /// A short stable word for programs, such as `session_required`: becomes the last part of `type` and the member `code`.
  package var code: String
  /// One sentence for a person: what happened and what to do next.
  package var detail: String

  package init(_ status: Status, _ code: String, _ detail: String) {
    self.status = status
    self.code = code
    self.detail = detail
  }

  /// 405 for TRACE, which would show its own fields, and CONNECT, which names no path: wherever they go.
  package static let methodNeverCarried = Problem(405, "method_refused", "Intercom does not carry TRACE or CONNECT.")

  package static let contentType = "application/problem+json"

  /// `{"type":"about:blank","title":…,"status":…,"code":…,"detail":…}`
  package var json: [UInt8] {
    var out = Array(#"{"type":"about:blank","title":"#.utf8)
    Self.appendString(status.reason, to: &out)
    out += Array(#","status":\#(status.code),"code":"#.utf8)
    Self.appendString(code, to: &out)
    out += Array(#","detail":"#.utf8)
    Self.appendString(detail, to: &out)
    out.append(UInt8(ascii: "}"))
    return out
  }

  /// Appends a JSON string literal; `<`, `>` and `&` are escaped too, so that it may stand in a page.
  package static func appendString(_ string: String, to out: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    out.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        out.append(UInt8(ascii: "\\"))
        out.append(byte)
      case 0..<0x20, UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"), 0x7f:
        out += [UInt8(ascii: "\\"), UInt8(ascii: "u"), 48, 48, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}
