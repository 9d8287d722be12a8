// The names as little-endian words, ASCII letters folded to lower case. Made by a script; `FieldIDTests` checks every name, every case of
// it and its near misses, so a wrong word cannot stay unseen.

extension FieldID {
  /// The id of the name of `length` bytes at `start`, whatever the case of its letters.
  ///
  /// The bytes must be token characters (RFC 9110 §5.6.2): of those only letters share a folded form, so folding never confuses two names.
  package static func lookup(_ bytes: borrowing Span<UInt8>, _ start: Int, _ length: Int) -> FieldID {
    guard start >= 0, length > 1, start <= bytes.count &- length else { return .other }
    if length < 8 { return short(bytes, start, length) }
    let a = fold8(bytes, start)
    let b = fold8(bytes, start &+ length &- 8)
    let known = length < 16 ? medium(a, b, length) : long(bytes, start, length, a, b)
    return known == .other ? family(bytes, start, length, a) : known
  }

  private static func short(_ bytes: borrowing Span<UInt8>, _ start: Int, _ length: Int) -> FieldID {
    if length < 4 {
      let a = fold2(bytes, start)
      if length == 2 { return a == 0x6574 ? .te : .other }
      return a == 0x6976 && fold2(bytes, start &+ 1) == 0x6169 ? .via : .other
    }
    let a = fold4(bytes, start)
    let b = fold4(bytes, start &+ length &- 4)
    switch length {
    case 4:
      if a == 0x7473_6f68, b == 0x7473_6f68 { return .host }
      if a == 0x6574_6164, b == 0x6574_6164 { return .date }
      if a == 0x7972_6176, b == 0x7972_6176 { return .vary }
    case 6:
      if a == 0x6570_7865, b == 0x7463_6570 { return .expect }
      if a == 0x6b6f_6f63, b == 0x6569_6b6f { return .cookie }
      if a == 0x6769_726f, b == 0x6e69_6769 { return .origin }
      if a == 0x6563_6361, b == 0x7470_6563 { return .accept }
      if a == 0x7672_6573, b == 0x7265_7672 { return .server }
    case 7:
      if a == 0x6961_7274, b == 0x7265_6c69 { return .trailer }
      if a == 0x7267_7075, b == 0x6564_6172 { return .upgrade }
      if a == 0x6566_6572, b == 0x7265_7265 { return .referer }
      if a == 0x2d74_6c61, b == 0x6376_732d { return .altSvc }
    default: break
    }
    return .other
  }

  private static func medium(_ a: UInt64, _ b: UInt64, _ length: Int) -> FieldID {
    switch length {
    case 8:
      if a == 0x6e6f_6974_6163_6f6c, b == 0x6e6f_6974_6163_6f6c { return .location }
    case 9:
      if a == 0x6564_7261_7772_6f66, b == 0x6465_6472_6177_726f { return .forwarded }
      if a == 0x692d_6c61_6572_2d78, b == 0x7069_2d6c_6165_722d { return .xRealIP }
      if a == 0x692d_746e_6569_6c63, b == 0x7069_2d74_6e65_696c { return .clientIP }
    case 10:
      if a == 0x6974_6365_6e6e_6f63, b == 0x6e6f_6974_6365_6e6e { return .connection }
      if a == 0x696c_612d_7065_656b, b == 0x6576_696c_612d_7065 { return .keepAlive }
      if a == 0x6b6f_6f63_2d74_6573, b == 0x6569_6b6f_6f63_2d74 { return .setCookie }
      if a == 0x6567_612d_7265_7375, b == 0x746e_6567_612d_7265 { return .userAgent }
    case 11:
      if a == 0x7461_6e69_7473_6564, b == 0x6e6f_6974_616e_6974 { return .destination }
      if a == 0x746e_6569_6c63_2d78, b == 0x7069_2d74_6e65_696c { return .xClientIP }
    case 12:
      if a == 0x742d_6672_7363_2d78, b == 0x6e65_6b6f_742d_6672 { return .csrfToken }
      if a == 0x2d74_6e65_746e_6f63, b == 0x6570_7974_2d74_6e65 { return .contentType }
      if a == 0x7772_6f66_2d78_616d, b == 0x7364_7261_7772_6f66 { return .maxForwards }
    case 13:
      if a == 0x7a69_726f_6874_7561, b == 0x6e6f_6974_617a_6972 { return .authorization }
      if a == 0x7469_7277_6572_2d78, b == 0x6c72_752d_6574_6972 { return .xRewriteURL }
      if a == 0x6f63_2d65_6863_6163, b == 0x6c6f_7274_6e6f_632d { return .cacheControl }
    case 14:
      if a == 0x2d74_6e65_746e_6f63, b == 0x6874_676e_656c_2d74 { return .contentLength }
      if a == 0x6374_6566_2d63_6573, b == 0x6564_6f6d_2d68_6374 { return .secFetchMode }
      if a == 0x6374_6566_2d63_6573, b == 0x6574_6973_2d68_6374 { return .secFetchSite }
      if a == 0x6374_6566_2d63_6573, b == 0x7473_6564_2d68_6374 { return .secFetchDest }
      if a == 0x6374_6566_2d63_6573, b == 0x7265_7375_2d68_6374 { return .secFetchUser }
      if a == 0x696c_632d_6575_7274, b == 0x7069_2d74_6e65_696c { return .trueClientIP }
    case 15:
      if a == 0x7261_7772_6f66_2d78, b == 0x726f_662d_6465_6472 { return .xForwardedFor }
      if a == 0x6973_2d72_6165_6c63, b == 0x6174_6164_2d65_7469 { return .clearSiteData }
    default: break
    }
    return .other
  }

  private static func long(_ bytes: borrowing Span<UInt8>, _ start: Int, _ length: Int, _ a: UInt64, _ b: UInt64) -> FieldID {
    switch length {
    case 16:
      if a == 0x6f63_2d79_786f_7270, b == 0x6e6f_6974_6365_6e6e { return .proxyConnection }
      if a == 0x7261_7772_6f66_2d78, b == 0x7473_6f68_2d64_6564 { return .xForwardedHost }
      if a == 0x2d74_6e65_746e_6f63, b == 0x6e6f_6974_6163_6f6c { return .contentLocation }
      if a == 0x2d74_6e65_746e_6f63, b == 0x676e_6964_6f63_6e65 { return .contentEncoding }
      if a == 0x6874_7561_2d77_7777, b == 0x6574_6163_6974_6e65 { return .wwwAuthenticate }
    case 17:
      if a == 0x7265_6673_6e61_7274, b == 0x676e_6964_6f63_6e65, fold8(bytes, start &+ 8) == 0x6e69_646f_636e_652d {
        return .transferEncoding
      }
      if a == 0x7261_7772_6f66_2d78, b == 0x6f74_6f72_702d_6465, fold8(bytes, start &+ 8) == 0x746f_7270_2d64_6564 {
        return .xForwardedProto
      }
    case 18:
      if a == 0x7561_2d79_786f_7270, b == 0x6574_6163_6974_6e65, fold8(bytes, start &+ 8) == 0x6163_6974_6e65_6874 {
        return .proxyAuthenticate
      }
    case 19:
      if a == 0x7561_2d79_786f_7270, b == 0x6e6f_6974_617a_6972, fold8(bytes, start &+ 8) == 0x7461_7a69_726f_6874 {
        return .proxyAuthorization
      }
      if a == 0x6574_7375_6c63_2d78, b == 0x7069_2d74_6e65_696c, fold8(bytes, start &+ 8) == 0x746e_6569_6c63_2d72 {
        return .xClusterClientIP
      }
    case 21:
      if a == 0x2d79_6f76_6e65_2d78, b == 0x6874_6170_2d6c_616e, fold8(bytes, start &+ 8) == 0x6c61_6e69_6769_726f {
        return .xEnvoyOriginalPath
      }
    case 25:
      if a == 0x7561_2d79_786f_7270, b == 0x6f66_6e69_2d6e_6f69,
        fold8(bytes, start &+ 8) == 0x6163_6974_6e65_6874, fold8(bytes, start &+ 16) == 0x666e_692d_6e6f_6974
      {
        return .proxyAuthenticationInfo
      }
    case 29:
      if a == 0x632d_7373_6563_6361, b == 0x646f_6874_656d_2d74,
        fold8(bytes, start &+ 8) == 0x722d_6c6f_7274_6e6f, fold8(bytes, start &+ 16) == 0x6d2d_7473_6575_7165
      {
        return .accessControlRequestMethod
      }
    case 30:
      if a == 0x632d_7373_6563_6361, b == 0x7372_6564_6165_682d,
        fold8(bytes, start &+ 8) == 0x722d_6c6f_7274_6e6f, fold8(bytes, start &+ 16) == 0x682d_7473_6575_7165
      {
        return .accessControlRequestHeaders
      }
    default: break
    }
    return .other
  }

  /// Families whose members are treated alike, known and unknown ones.
  private static func family(_ bytes: borrowing Span<UInt8>, _ start: Int, _ length: Int, _ a: UInt64) -> FieldID {
    guard length > 10 else { return .other }
    switch a {
    case 0x6374_6566_2d63_6573: return fold2(bytes, start &+ 8) == 0x2d68 ? .secFetchOther : .other
    case 0x7261_7772_6f66_2d78: return length > 12 && fold4(bytes, start &+ 8) == 0x2d64_6564 ? .xForwardedOther : .other
    case 0x6e69_6769_726f_2d78: return length > 11 && fold4(bytes, start &+ 7) == 0x2d6c_616e ? .xOriginalOther : .other
    case 0x632d_7373_6563_6361: return length > 15 && fold8(bytes, start &+ 7) == 0x2d6c_6f72_746e_6f63 ? .accessControlOther : .other
    default: return .other
    }
  }
}
