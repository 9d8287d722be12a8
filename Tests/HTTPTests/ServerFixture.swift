import HTTPMessage
import HTTPServer
import IntercomCore

func text(_ string: String) -> [UInt8] { Array(string.utf8) }

/// The endpoints that these tests talk to.
func endpoints() -> EndpointTable {
  var table = EndpointTable()
  table.add(.get, "/hello") { _, _ in Response(200, ["Content-Type": "text/plain"], text("hello")) }
  table.add(.get, "/slow") { _, _ in
    try await SystemTime().sleep(for: .milliseconds(40))
    return Response(200, Fields(), text("slow"))
  }
  table.add(.get, "/empty") { _, _ in Response(204) }
  table.add(.get, "/unchanged") { _, _ in Response(304, ["ETag": "\"1\""], []) }
  table.add(.post, "/echo") { _, body in Response(200, Fields(), try await body.collect(upTo: 1 << 20)) }
  table.add(.post, "/small") { _, body in Response(200, Fields(), try await body.collect(upTo: 10)) }
  table.add(.post, "/unread") { _, _ in Response(200, Fields(), text("unread")) }
  table.add(.get, "/chunks") { _, _ in
    Response(
      200, Fields(),
      stream: .stream(length: nil) { writer in for word in ["one", "two", ""] { try await writer.write(text(word)) } })
  }
  table.add(.get, "/short") { _, _ in
    Response(200, Fields(), stream: .stream(length: 10) { writer in try await writer.write(text("four")) })
  }
  table.add(.get, "/split") { _, _ in Response(200, ["X-Name": "a\r\nSet-Cookie: evil=1"], text("x")) }
  table.add(.get, "/fails") { _, _ in throw Broken(secret: "hunter2") }
  table.add(.get, "/who") { request, _ in
    Response(
      200, Fields(), text("\(request.method) \(request.host) \(request.authority) \(request.peer) \(request.fields.single("x-a") ?? "-")"))
  }
  return table
}

struct Broken: Error { let secret: String }
