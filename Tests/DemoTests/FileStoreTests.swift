import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import Testing

@Suite struct FileStoreTests {
  @Test("each user starts with at least three files of their own, folders and umlauts among them")
  func seeds() async throws {
    try await StoreFixture.run { fixture in
      for user in ["alice", "bob"] {
        let answer = try await fixture.send(.propfind, "/", [("Depth", "1")], user: user)
        #expect(answer.status == 207)
        #expect(answer.text.contains("<D:href>/R%C3%A4ume%20und%20Schl%C3%BCssel.csv</D:href>"))
        #expect(answer.text.contains("<D:href>/Contracts/</D:href>"))
        #expect(answer.text.contains("<D:displayname>Photos &amp; drawings</D:displayname>"))
        #expect(answer.text.components(separatedBy: "<D:getcontentlength>") >= 4)
      }
      let pdf = try await fixture.send(.get, "/Quarterly%20report.pdf")
      #expect(pdf.text.hasPrefix("%PDF-1.4\n") && pdf.text.hasSuffix("%%EOF\n"))
      #expect(pdf.field("content-type") == "application/pdf")
    }
  }

  @Test("OPTIONS tells class 1 and the methods")
  func options() async throws {
    try await StoreFixture.run { fixture in
      let answer = try await fixture.send(.options, "*")
      #expect(answer.status == 200 && answer.field("dav") == "1")
      #expect(answer.field("allow") == "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, MKCOL, COPY, MOVE")
    }
  }

  @Test("without a user nothing is answered but the challenge, whatever the method", arguments: HTTPMessage.Method.allCases)
  func unauthenticated(method: HTTPMessage.Method) async throws {
    try await StoreFixture.run { fixture in
      let answer = try await fixture.send(method, "/Notes.txt", user: nil)
      #expect(answer.status == 401)
      #expect(answer.field("www-authenticate") == "Bearer")
      #expect(!answer.text.contains("Notes of"))
    }
  }

  @Test("a user without a folder, or with a name that leads elsewhere, gets nothing", arguments: ["carol", "../scratch", "..", ""])
  func strangers(user: String) async throws {
    try await StoreFixture.run { fixture in
      try await fixture.expect(403, .propfind, "/", [("Depth", "1")], user: user)
    }
  }

  @Test("PROPFIND of infinite or unstated depth is refused with the standard's precondition", arguments: [nil, "infinity", "2"])
  func infiniteDepth(depth: String?) async throws {
    try await StoreFixture.run { fixture in
      let answer = try await fixture.send(.propfind, "/", depth.map { [("Depth", $0)] } ?? [])
      #expect(answer.status == 403 && answer.text.contains("propfind-finite-depth"))
    }
  }

  @Test("PROPFIND answers what it has and says 404 for what it has not")
  func namedProperties() async throws {
    try await StoreFixture.run { fixture in
      let body = #"<propfind xmlns="DAV:"><prop><getcontentlength/><owner/><c xmlns="urn:&quot;x"/></prop></propfind>"#
      let answer = try await fixture.send(.propfind, "/Notes.txt", [("Depth", "0")], body: body)
      let size = try await fixture.send(.get, "/Notes.txt").body.count
      #expect(answer.text.contains("<D:getcontentlength>\(size)</D:getcontentlength></D:prop><D:status>HTTP/1.1 200 OK"))
      #expect(answer.text.contains(#"<D:prop><D:owner/><x:c xmlns:x="urn:&quot;x"/></D:prop><D:status>HTTP/1.1 404 Not Found"#))
      #expect(!answer.text.contains("getetag"))
      try await fixture.expect(400, .propfind, "/", [("Depth", "0")], body: "<!DOCTYPE a><a/>")
      try await fixture.expect(413, .propfind, "/", [("Depth", "0")], body: String(repeating: " ", count: 70_000))
      try await fixture.expect(404, .propfind, "/none", [("Depth", "0")])
      try await fixture.expect(404, .propfind, "/Notes.txt/", [("Depth", "0")])
      #expect(try await fixture.send(.propfind, "/Contracts", [("Depth", "0")]).text.contains("<D:href>/Contracts/</D:href>"))
    }
  }

  @Test("PROPPATCH refuses each property, because all of them are computed")
  func proppatch() async throws {
    try await StoreFixture.run { fixture in
      let body = #"<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>x</D:displayname></D:prop></D:set></D:propertyupdate>"#
      let answer = try await fixture.send(.proppatch, "/Notes.txt", body: body)
      #expect(answer.status == 207 && answer.text.contains("<D:displayname/></D:prop><D:status>HTTP/1.1 403 Forbidden"))
    }
  }

  @Test("GET gives ranges, validators and a type, and marks the content as no page")
  func get() async throws {
    try await StoreFixture.run { fixture in
      let whole = try await fixture.send(.get, "/Notes.txt")
      #expect(whole.status == 200 && whole.field("content-type") == "text/plain; charset=utf-8")
      #expect(whole.field("content-security-policy") == "sandbox; default-src 'none'")
      #expect(whole.field("x-content-type-options") == "nosniff")
      #expect(whole.field("content-disposition") == "attachment; filename*=UTF-8''Notes.txt")
      let part = try await fixture.send(.get, "/Notes.txt", [("Range", "bytes=2-5")])
      #expect(part.status == 206 && part.body == Array(whole.body[2...5]))
      #expect(part.field("content-range") == "bytes 2-5/\(whole.body.count)")
      let past = try await fixture.send(.get, "/Notes.txt", [("Range", "bytes=9000-")])
      #expect(past.status == 416 && past.field("content-range") == "bytes */\(whole.body.count)")
      let tag = try #require(whole.field("etag"))
      try await fixture.expect(304, .get, "/Notes.txt", [("If-None-Match", "\"x\", \(tag)")])
      try await fixture.expect(412, .get, "/Notes.txt", [("If-Match", "\"x\"")])
      let date = try #require(whole.field("last-modified"))
      try await fixture.expect(304, .get, "/Notes.txt", [("If-Modified-Since", date)])
      try await fixture.expect(200, .get, "/Notes.txt", [("Range", "bytes=2-5"), ("If-Range", "\"old\"")])
      try await fixture.expect(206, .get, "/Notes.txt", [("Range", "bytes=2-5"), ("If-Range", tag)])
      try await fixture.expect(405, .get, "/Contracts/")
      try await fixture.expect(404, .get, "/None")
    }
  }

  @Test("PUT makes 201, replaces 204, and the new bytes and tag are there")
  func put() async throws {
    try await StoreFixture.run { fixture in
      let created = try await fixture.send(.put, "/Neue%20Datei.txt", body: "eins")
      #expect(created.status == 201)
      let replaced = try await fixture.send(.put, "/Neue%20Datei.txt", body: "zwei!")
      #expect(replaced.status == 204 && replaced.field("etag") != created.field("etag"))
      let read = try await fixture.send(.get, "/Neue%20Datei.txt")
      #expect(read.text == "zwei!" && read.field("etag") == replaced.field("etag"))
      try await fixture.expect(404, .get, "/Neue%20Datei.txt", user: "bob")
    }
  }

  @Test("PUT refuses parts, missing parents, folders, and what the client's conditions exclude")
  func putRefusals() async throws {
    try await StoreFixture.run { fixture in
      try await fixture.expect(400, .put, "/Notes.txt", [("Content-Range", "bytes 0-1/9")], body: "x")
      try await fixture.expect(409, .put, "/no/such/file", body: "x")
      try await fixture.expect(409, .put, "/Notes.txt/below", body: "x")
      try await fixture.expect(405, .put, "/Contracts", body: "x")
      try await fixture.expect(405, .put, "/new/", body: "x")
      try await fixture.expect(405, .put, "/", body: "x")
      try await fixture.expect(412, .put, "/Notes.txt", [("If-None-Match", "*")], body: "x")
      try await fixture.expect(412, .put, "/new.txt", [("If-Match", "*")], body: "x")
      try await fixture.expect(400, .put, "/%2e%2e/x", body: "x")
      #expect(try await fixture.send(.get, "/Notes.txt").text.contains("Notes of Alice"))
    }
  }

  @Test("lost update: of two writers with the same If-Match only one wins")
  func lostUpdate() async throws {
    try await StoreFixture.run { fixture in
      let tag = try #require(try await fixture.send(.get, "/Notes.txt").field("etag"))
      let answers = try await withThrowingTaskGroup(of: Int.self) { group in
        for writer in 0..<8 {
          group.addTask { try await fixture.send(.put, "/Notes.txt", [("If-Match", tag)], body: "writer \(writer)").status }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.filter { $0 == 204 }.count == 1 && answers.filter { $0 == 412 }.count == 7)
    }
  }

  @Test("an upload that breaks off leaves the old file and nothing else")
  func brokenUpload() async throws {
    try await StoreFixture.run { fixture in
      let before = try await fixture.send(.propfind, "/", [("Depth", "1")]).text
      let broken = RequestBody { (_: Int) async throws(BodyError) -> [UInt8]? in throw .incomplete }
      await #expect(throws: BodyError.self) { try await fixture.send(.put, "/Notes.txt", stream: broken) }
      #expect(try await fixture.send(.propfind, "/", [("Depth", "1")]).text == before)
    }
  }

  @Test("MKCOL follows the standard's table")
  func makeCollection() async throws {
    try await StoreFixture.run { fixture in
      try await fixture.expect(201, .mkcol, "/Neu/")
      try await fixture.expect(405, .mkcol, "/Neu/")
      try await fixture.expect(405, .mkcol, "/Notes.txt")
      try await fixture.expect(405, .mkcol, "/")
      try await fixture.expect(409, .mkcol, "/a/b")
      try await fixture.expect(415, .mkcol, "/other", body: "<x/>")
    }
  }

  @Test("DELETE takes a file or a whole folder, never the root")
  func delete() async throws {
    try await StoreFixture.run { fixture in
      try await fixture.expect(412, .delete, "/Contracts/", [("If-Match", "\"x\"")])
      try await fixture.expect(204, .delete, "/Contracts/")
      try await fixture.expect(404, .propfind, "/Contracts/Signed/", [("Depth", "0")])
      try await fixture.expect(404, .delete, "/Notes.txt/")
      try await fixture.expect(204, .delete, "/Notes.txt")
      try await fixture.expect(404, .delete, "/Notes.txt")
      try await fixture.expect(403, .delete, "/")
      try await fixture.expect(200, .get, "/Contracts/Price%20list%202026.csv", user: "bob")
    }
  }

  @Test(
    "COPY and MOVE follow the standard's table",
    arguments: [
      (.copy, "/Notes.txt", "/n.txt", "", 201), (.copy, "/Notes.txt", "/Quarterly%20report.pdf", "", 204),
      (.copy, "/Notes.txt", "/Quarterly%20report.pdf", "F", 412), (.copy, "/Notes.txt", "/Notes.txt", "", 403),
      (.copy, "/Contracts/", "/Contracts/Signed/again/", "", 403), (.copy, "/Contracts/", "/Verträge/", "", 201),
      (.copy, "/Contracts/", "/C2/", "", 201), (.copy, "/Notes.txt", "/no/such/n", "", 409), (.copy, "/none", "/n", "", 404),
      (.copy, "/", "/all/", "", 403), (.move, "/Notes.txt", "http://files.test:8008/n.txt", "", 201),
      (.move, "/Contracts/Signed/", "/Contracts", "", 403), (.move, "/Contracts/", "/Photos%20%26%20drawings/", "T", 204),
      (.move, "/Contracts/", "/Photos%20%26%20drawings/", "F", 412), (.move, "/Notes.txt", "http://other.test/n.txt", "", 502),
      (.move, "/Notes.txt", "/../bob/n.txt", "", 403), (.move, "/Notes.txt", "/%2e%2e/n", "", 403), (.move, "/Notes.txt", "/n", "X", 400),
      (.move, "/", "/all/", "", 403), (.move, "/Notes.txt", "", "", 502),
    ] as [(HTTPMessage.Method, String, String, String, Int)])
  func relocate(method: HTTPMessage.Method, source: String, destination: String, overwrite: String, status: Int) async throws {
    try await StoreFixture.run { fixture in
      var fields = [("Destination", destination)]
      if !overwrite.isEmpty { fields.append(("Overwrite", overwrite)) }
      let before = try await fixture.send(.propfind, source, [("Depth", "1")]).text
      try await fixture.expect(status, method, source, fields)
      let isDone = status == 201 || status == 204
      let after = try await fixture.send(.propfind, source, [("Depth", "1")])
      if isDone, method == .move { #expect(after.status == 404) } else if !isDone { #expect(after.text == before) }
      if isDone {
        let path = destination.replacing("http://files.test:8008", with: "")
        try await fixture.expect(207, .propfind, path, [("Depth", "0")])
      }
    }
  }

  @Test("a copied folder has everything below it, with depth 0 only itself")
  func copyDepth() async throws {
    try await StoreFixture.run { fixture in
      try await fixture.expect(201, .copy, "/Contracts/", [("Destination", "/all/")])
      try await fixture.expect(200, .get, "/all/Signed/Lease%2C%20B%C3%BCrohaus%20Mitte.txt")
      try await fixture.expect(201, .copy, "/Contracts/", [("Destination", "/bare/"), ("Depth", "0")])
      #expect(try await fixture.send(.propfind, "/bare/", [("Depth", "1")]).text.components(separatedBy: "<D:response>") == 2)
      try await fixture.expect(400, .move, "/all/", [("Destination", "/x/"), ("Depth", "0")])
    }
  }
}

extension String {
  /// The number of pieces around a separator.
  func components(separatedBy separator: String) -> Int { split(separator: separator, omittingEmptySubsequences: false).count }
}
