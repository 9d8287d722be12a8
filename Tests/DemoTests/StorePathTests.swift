import DemoWorkplace
import Testing

@Suite struct StorePathTests {
  @Test(
    "a path is read segment by segment, each decoded once",
    arguments: [
      ("/", []), ("/Notes.txt", ["Notes.txt"]), ("/Contracts/", ["Contracts"]), ("/R%C3%A4ume/a%20b", ["Räume", "a b"]),
      ("/%2525", ["%25"]),
      ("/a+b&c=d", ["a+b&c=d"]),
    ] as [(String, [String])])
  func reads(raw: String, segments: [String]) throws {
    let path = try #require(StorePath(raw: raw.utf8))
    #expect(path.segments == segments.map { Array($0.utf8) })
    #expect(path.hasTrailingSlash == raw.hasSuffix("/"))
  }

  @Test(
    "path traversal and names that no file can have are refused",
    arguments: [
      "", "a", "//a", "/a//b", "/.", "/..", "/../x", "/a/..", "/%2e%2e/x", "/%2E./x", "/a%2fb", "/a%2Fb", "/%00", "/a%00.txt", "/a%0ab",
      "/%7f", "/%c3%28", "/%ff", "/%", "/%2", "/%zz", "/%ef%bf%be", "/%c2%85", "/" + String(repeating: "a", count: 256),
      String(repeating: "/d", count: 33),
    ])
  func refuses(raw: String) { #expect(StorePath(raw: raw.utf8) == nil) }

  @Test("a reference escapes everything but unreserved characters and reads back as the same path")
  func href() throws {
    let path = try #require(StorePath(raw: "/Photos%20%26%20drawings/Logo%20100%25.svg".utf8))
    #expect(path.href(isFolder: false) == "/Photos%20%26%20drawings/Logo%20100%25.svg")
    #expect(StorePath(raw: path.href(isFolder: false).utf8) == path)
    #expect(StorePath.root.href(isFolder: true) == "/")
  }

  @Test(
    "a range is one range of bytes, and what cannot be read is the whole file",
    arguments: [
      ("bytes=0-4", .part(0..<5)), ("bytes=5-", .part(5..<10)), ("bytes=-3", .part(7..<10)), ("bytes=0-99", .part(0..<10)),
      ("bytes=-99", .part(0..<10)), ("bytes=10-", .unsatisfiable), ("bytes=-0", .unsatisfiable), ("bytes=10-20", .unsatisfiable),
      ("bytes=4-2", .whole), ("bytes=a-b", .whole), ("bytes=", .whole), ("bytes=-", .whole), ("items=0-1", .whole),
      ("bytes=0-1,3-4", .whole),
      ("bytes=+1-2", .whole), ("bytes=9-99999999999999999999999", .part(9..<10)), ("bytes=99999999999999999999999-", .unsatisfiable),
    ] as [(String, RequestedRange)])
  func ranges(value: String, expected: RequestedRange) { #expect(RequestedRange(value, size: 10) == expected) }

  @Test("every range of an empty file is unsatisfiable")
  func emptyFile() { #expect(RequestedRange("bytes=0-0", size: 0) == .unsatisfiable) }

  @Test(
    "a user name is a folder name and nothing else",
    arguments: [
      ("alice", true), ("bob.smith-2", true), ("", false), (".", false), ("..", false), ("../alice", false), ("a/b", false),
      ("Alice", false),
      ("alicé", false), ("a\0", false), (".hidden", false), (String(repeating: "a", count: 65), false),
    ])
  func userNames(name: String, isValid: Bool) { #expect(UserFolders.isUserName(name) == isValid) }

  @Test(
    "Destination is a path, or a URL of this very authority",
    arguments: [
      ("/a/b", "/a/b"), ("http://files.test:8008/a%20b", "/a%20b"), ("HTTP://files.test:8008/a", nil), ("http://FILES.test:8008/a", "/a"),
      ("http://files.test:8008", "/"), ("http://files.test/a", nil), ("http://other.test:8008/a", nil), ("//files.test:8008/a", nil),
      ("http://files.test:8008@evil.test/a", nil), ("a/b", nil), ("/a?b", nil), ("/a#b", nil), ("", nil), ("ftp://files.test:8008/a", nil),
    ] as [(String, String?)])
  func destinations(value: String, path: String?) {
    #expect(Destination.path(of: value, authority: "files.test:8008") == path.map { Array($0.utf8) })
  }
}

@Suite struct XMLReaderTests {
  @Test("names carry their namespace, whatever prefix a client chose")
  func namespaces() throws {
    let body =
      #"<?xml version="1.0"?><!-- c --><p:propfind xmlns:p="DAV:"><p:prop><p:getetag/><z xmlns="urn:z&amp;y"/><n/></p:prop></p:propfind>"#
    let query = try PropertyQuery.read(Array(body.utf8))
    #expect(
      query
        == .these([.dav("getetag"), XMLName(namespace: Array("urn:z&y".utf8), local: [0x7a]), XMLName(namespace: [], local: [0x6e])]))
  }

  @Test(
    "allprop, propname and an empty body are told apart",
    arguments: [
      ("", .all), (#"<propfind xmlns="DAV:"><allprop/></propfind>"#, .all), (#"<propfind xmlns="DAV:"><propname/></propfind>"#, .names),
      ("\u{feff}<D:propfind xmlns:D='DAV:'>\n<D:prop></D:prop><![CDATA[x]]> &lt;&#x41; </D:propfind >", .these([])),
    ] as [(String, PropertyQuery)])
  func queries(body: String, query: PropertyQuery) throws { #expect(try PropertyQuery.read(Array(body.utf8)) == query) }

  @Test(
    "what is not well-formed, or more than the store reads, is an error",
    arguments: [
      "<", "<a", "<a>", "<a/><b/>", "<a></b>", "text", "<D:propfind/>", #"<D:propfind xmlns:D=""><D:allprop/></D:propfind>"#,
      #"<propfind xmlns="DAV:"/>"#, #"<a x="1" x="2"/>"#, #"<a x="<"/>"#, "<a x=1/>", #"<a x="1"y="2"/>"#, "<a>&unknown;</a>",
      "<a>&#0;</a>",
      "<a>&#x110000;</a>", "<a>&#-5;</a>", "<a><!-- -- --></a>", "<a>\u{1}</a>", "<1a/>", "<p:1a xmlns:p='u'/>", "<a:b:c/>",
      "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>", #"<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>"#,
      String(repeating: "<a>", count: 17) + String(repeating: "</a>", count: 17), "<a>" + String(repeating: "<b/>", count: 513) + "</a>",
    ])
  func refuses(body: String) {
    #expect(throws: XMLError.self) { try PropertyQuery.read(Array(body.utf8)) }
  }

  @Test("no cut of a good body ends the process, and none is read as complete")
  func cuts() throws {
    let body = Array(#"<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:getetag/>&amp;</D:prop></D:propfind>"#.utf8)
    _ = try PropertyQuery.read(body)
    for count in 1..<body.count { #expect(throws: XMLError.self) { try PropertyQuery.read(Array(body.prefix(count))) } }
  }
}
