"""Compares what Intercom's wire accepts, over the corpora, with http-parser, h11 and httptools.

Whatever we accept they accept with the same meaning, or the difference stands in differences.md with its RFC section; and every
difference that stands there is shown by an input of the corpora. Usage: compare.py PATH-OF-wirefuzz. Called by dev/fuzz.
"""

import json
import pathlib
import re
import subprocess
import sys

import h11
import h11._connection as h11_internals
import httptools

HERE = pathlib.Path(__file__).parent
BODY = b"5\r\nhello\r\n0\r\n\r\n"


class Differs(Exception):
    """The name of a listed difference, or a text that stands nowhere: a finding."""


def parts(ours):
    fields = [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in ours["fields"]]
    options = b",".join(v for n, v in fields if n.lower() == b"connection").lower().split(b",")
    return fields, {option.strip() for option in options}


def same(what, theirs, ours):
    if theirs != ours:
        raise Differs(f"{what} {theirs!r}, ours {ours!r}")


def body_of(ours):
    """A body for the head, and its payload; a length beyond reason is compared as a field only."""
    framing = ours["framing"]
    if framing == "chunked":
        return BODY, b"hello"
    if framing in ("none", "close"):
        return b"", b""
    return (b"x" * int(framing),) * 2 if int(framing) < 4096 else (None, None)


def h11_fields(event, fields):
    raw = [(bytes(n), bytes(v)) for n, v in event.headers.raw_items()]
    if raw != fields:
        # h11 writes the coding in lower case.
        lower = [(n, v.lower() if n.lower() == b"transfer-encoding" else v) for n, v in fields]
        same("fields", raw, lower)


def h11_head(role, data, kind, context):
    connection = h11.Connection(role, max_incomplete_event_size=1 << 20)
    if role is h11.CLIENT:
        upgrade = [("Connection", "upgrade"), ("Upgrade", "websocket")] if b" 101 " in data[:13] else []
        connection.send(h11.Request(method=context, target="/", headers=[("Host", "h"), *upgrade]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        if role is h11.SERVER and data.startswith(b"\r\n"):
            raise Differs("empty-line-first") from None
        raise Differs(f"refuses: {error}") from None
    if not isinstance(event, kind):
        raise Differs(f"{event!r} instead of a head")
    return connection, event


def h11_body(connection, body, payload):
    if body is None:
        return
    connection.receive_data(body)
    got = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            got += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise Differs(f"{event!r} instead of the body's end")
    same("body", got, payload)
    same("bytes behind the body", connection.trailing_data[0], b"")


def h11_request(ours, data):
    fields, options = parts(ours)
    connection, event = h11_head(h11.SERVER, data[: ours["head"]], h11.Request, None)
    same("method", event.method, bytes.fromhex(ours["method"]))
    same("target", event.target, bytes.fromhex(ours["target"]))
    same("version", event.http_version.decode(), ours["version"])
    h11_fields(event, fields)
    framing = h11_internals._body_framing(event.method, event)
    same("framing", {"chunked": "chunked"}.get(framing[0], "none" if framing[1] == (0,) else str(*framing[1])),
         "none" if ours["framing"] == "0" else ours["framing"])
    keep = h11_internals._keep_alive(event)
    if keep != ours["keepAlive"]:
        # h11 never keeps a connection of HTTP/1.0.
        raise Differs("no-keep-alive-in-1.0" if ours["version"] == "1.0" and not keep else f"keeps alive: {keep}")
    h11_body(connection, *body_of(ours))


def h11_response(ours, data):
    fields, _ = parts(ours)
    kind = h11.InformationalResponse if ours["status"] < 200 else h11.Response
    connection, event = h11_head(h11.CLIENT, data[: ours["head"]], kind, "GET")
    same("status", event.status_code, ours["status"])
    same("reason", bytes(event.reason), bytes.fromhex(ours["reason"]))
    same("version", event.http_version.decode(), ours["version"])
    h11_fields(event, fields)
    if ours["status"] < 200:
        return
    framing = h11_internals._body_framing(b"GET", event)
    theirs = {"chunked": "chunked", "http/1.0": "close"}.get(framing[0]) or ("none" if framing[1] == (0,) else str(*framing[1]))
    same("framing", theirs, ours["framing"])
    if theirs not in ("none", "close"):
        h11_body(connection, *body_of(ours))


class Collected:
    """The callbacks of httptools."""

    def __init__(self):
        self.url, self.fields, self.body, self.done, self.reason = b"", [], b"", False, b""
        self.parser, self.keeps_alive = None, None

    def on_headers_complete(self):
        # Later it has forgotten.
        self.keeps_alive = self.parser.should_keep_alive()

    def on_url(self, url):
        self.url += url

    def on_status(self, reason):
        self.reason += reason

    def on_header(self, name, value):
        if not self.done:
            self.fields.append((bytes(name), bytes(value or b"")))

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.done = True


def httptools_read(parser, got, data):
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        got.done = True
    except httptools.HttpParserError as error:
        # It stops so at the end of a 101, whose bytes to come are no HTTP.
        if "Pause on CONNECT/Upgrade" not in str(error):
            raise Differs(f"refuses: {error}") from None
        got.done = True


def httptools_fields(got, fields):
    if got.fields != fields:
        same("fields", [(n, v.strip(b" \t")) for n, v in got.fields], fields)
        raise Differs("trailing-white-space")


def httptools_request(ours, data):
    fields, options = parts(ours)
    got = Collected()
    parser = got.parser = httptools.HttpRequestParser(got)
    method = bytes.fromhex(ours["method"])
    try:
        httptools_read(parser, got, data[: ours["head"]])
    except Differs as error:
        # Also a name that goes on behind one that it knows.
        if re.search("Invalid method|Expected space after method", str(error)):
            raise Differs("method") from None
        raise
    same("method", parser.get_method(), method)
    same("target", got.url, bytes.fromhex(ours["target"]))
    same("version", parser.get_http_version(), ours["version"])
    httptools_fields(got, fields)
    if got.done and ours["framing"] not in ("none", "0"):
        raise Differs("upgrade-ends-message" if b"upgrade" in options else "a message without its body")
    if method != b"CONNECT":
        httptools_body(parser, got, ours)
    same_persistence(got, ours, options)


def httptools_body(parser, got, ours):
    body, payload = body_of(ours)
    if body is None:
        return
    if body:
        httptools_read(parser, got, body)
    same("complete", got.done, ours["framing"] != "close")
    same("body", got.body, payload)


def same_persistence(got, ours, options):
    keep = got.keeps_alive
    if keep != ours["keepAlive"]:
        both = {b"close", b"keep-alive"} <= options
        raise Differs("close-wins" if both and keep else f"keeps alive: {keep}")


def httptools_response(ours, data):
    fields, options = parts(ours)
    got = Collected()
    parser = got.parser = httptools.HttpResponseParser(got)
    httptools_read(parser, got, data[: ours["head"]])
    same("status", parser.get_status_code(), ours["status"])
    same("reason", got.reason, bytes.fromhex(ours["reason"]))
    same("version", parser.get_http_version(), ours["version"])
    httptools_fields(got, fields)
    httptools_body(parser, got, ours)
    if ours["status"] >= 200 and ours["status"] != 204 and ours["framing"] != "close":
        same_persistence(got, ours, options)


def chunked(ours, data, read):
    head = {"method": b"POST".hex(), "target": b"/".hex(), "version": "1.1", "keepAlive": True}
    return read(head, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", data[: ours["end"]], bytes.fromhex(ours["payload"]))


def h11_chunked(ours, data):
    def read(_, head, body, payload):
        connection, _ = h11_head(h11.SERVER, head, h11.Request, None)
        try:
            h11_body(connection, body, payload)
        except h11.RemoteProtocolError as error:
            raise Differs(f"refuses: {error}") from None

    chunked(ours, data, read)


def httptools_chunked(ours, data):
    def read(_, head, body, payload):
        got = Collected()
        parser = got.parser = httptools.HttpRequestParser(got)
        httptools_read(parser, got, head)
        httptools_read(parser, got, body)
        same("complete", got.done, True)
        same("body", got.body, payload)

    chunked(ours, data, read)


def httptools_path(ours, data):
    try:
        url = httptools.parse_url(data)
    except httptools.HttpParserInvalidURLError:
        raise Differs("refuses the target") from None
    same("path", url.path, bytes.fromhex(ours["path"]))
    same("query", url.query or b"", bytes.fromhex(ours["query"] or ""))
    same("fragment", url.fragment, None)


def httptools_host(ours, data):
    host = bytes.fromhex(ours["host"])
    try:
        url = httptools.parse_url(b"http://" + data + b"/")
    except httptools.HttpParserInvalidURLError:
        raise Differs("host-characters" if re.search(rb"[~_]", host) else "refuses the authority") from None
    same("host", url.host, host.strip(b"[]"))
    same("port", url.port, ours["port"])


READERS = {
    "h11": {"request": h11_request, "response": h11_response, "chunked": h11_chunked},
    "httptools": {
        "request": httptools_request, "response": httptools_response, "chunked": httptools_chunked, "path": httptools_path,
        "host": httptools_host,
    },
}


def listed():
    """(reader, name) of every row of differences.md; a row without an RFC section is an error."""
    rows = set()
    for line in (HERE / "differences.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `"):
            continue
        if not re.search(r"RFC \d+ §\d", cells[2]):
            sys.exit(f"differences.md: {cells[0]} names no RFC section")
        rows |= {(reader.strip(), cells[0].strip("`")) for reader in cells[1].split(",")}
    return rows


def main(program):
    seen, findings, compared = {}, [], 0
    for target in ("request", "response", "chunked", "path", "host", "cookie", "forwarded"):
        out = subprocess.run([program, "describe", target, HERE / "Corpus" / f"{target}.txt"], check=True, capture_output=True, text=True)
        for line in out.stdout.splitlines():
            item = json.loads(line)
            data = bytes.fromhex(item["input"])
            if "unlisted" in item:
                findings.append(("http-parser", target, data, bytes.fromhex(item["unlisted"]).decode()))
            for name in item.get("httpParser", []):
                seen.setdefault(("http-parser", name), data)
            if item["ours"] is None:
                continue
            compared += 1
            for reader, targets in READERS.items():
                if target in targets:
                    try:
                        targets[target](item["ours"], data)
                    except Differs as difference:
                        if re.fullmatch(r"[a-z0-9.-]+", str(difference)):
                            seen.setdefault((reader, str(difference)), data)
                        else:
                            findings.append((reader, target, data, str(difference)))
    rows = listed()
    for reader, name in sorted(set(seen) - rows):
        findings.append((reader, name, seen[reader, name], "is not listed in differences.md"))
    for reader, name in sorted(rows - set(seen)):
        findings.append((reader, name, b"", "is listed in differences.md, but no input of the corpora shows it"))
    for finding in findings:
        print("compare:", *finding, file=sys.stderr)
    print(f"compare: {compared} accepted inputs, {len(seen)} listed differences, {len(findings)} others", file=sys.stderr)
    sys.exit(1 if findings else 0)


main(sys.argv[1])
