"""The clients: an exact number of requests over kept connections, single timed requests, and a visitor who signs in."""

import html
import re
import select
import socket
import time
import urllib.parse

from processes import Failure

def head(*lines):
    """A request's head with these lines between Host and what a scenario adds."""
    return "\r\n".join(["{method} {target} HTTP/1.1", "Host: intercom.localhost:{port}", *lines, "{more}\r\n"])


# As browsers send it: twelve or fourteen fields; two of the three cookies are of the page and of no use to the upstream. The first is the client of
# every scenario, the others send the same with other values in another order.
BROWSERS = [
    head(
        "Connection: keep-alive",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
        "Accept: application/json, text/plain, */*",
        "Origin: https://mail.example.org",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
        "Referer: https://mail.example.org/",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: de-DE,de;q=0.9,en;q=0.8",
        "Cookie: theme=dark; intercom={cookie}; lang=de-DE",
    ),
    head(
        "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Accept: */*",
        "Accept-Language: en-US,en;q=0.5",
        "Accept-Encoding: gzip, deflate, br",
        "Referer: https://mail.example.org/",
        "Origin: https://mail.example.org",
        "Connection: keep-alive",
        "Cookie: lang=en-US; intercom={cookie}; theme=light",
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Site: same-site",
    ),
    head(
        "Accept: application/json",
        "Sec-Fetch-Site: same-site",
        "Cookie: intercom={cookie}; seen=12; theme=dark",
        "Accept-Language: fr-FR,fr;q=0.9",
        "Accept-Encoding: gzip, deflate, br",
        "Sec-Fetch-Mode: cors",
        "Origin: https://mail.example.org",
        "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
        "Referer: https://mail.example.org/",
        "Sec-Fetch-Dest: empty",
    ),
    head(
        "Connection: keep-alive",
        'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24", "Microsoft Edge";v="128"',
        "Accept: application/json, text/plain, */*",
        "sec-ch-ua-mobile: ?1",
        "User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Mobile Safari/537.36 EdgA/128.0.0.0",
        "Origin: https://mail.example.org",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
        "Referer: https://mail.example.org/",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: de",
        "Cookie: theme=dark; intercom={cookie}; lang=de",
    ),
]


def request(port, target, cookie, method="GET", more="", browser=0):
    """The head; `more` are further lines, each with its end."""
    return BROWSERS[browser].format(method=method, port=port, target=target, cookie=cookie, more=more).encode()


class Connection:
    """One kept connection; answers must have a Content-Length."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def feed(self):
        """True when a whole answer is there."""
        piece = self.socket.recv(262_144)
        if not piece:
            raise Failure("the server closed a connection in the middle of an answer")
        self.buffer += piece
        return self.is_whole()

    def is_whole(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        match = re.search(rb"\r\ncontent-length: *(\d+)", self.buffer[:end].lower())
        return len(self.buffer) >= end + 4 + (int(match.group(1)) if match else 0)

    def take(self):
        """Status, head and body of the answer that is there."""
        answer, self.buffer = self.buffer, b""
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head[9:12]), head, body

    def discard(self, message):
        """Sends the message and reads its whole answer without keeping it: the length of the body."""
        self.socket.sendall(message)
        while b"\r\n\r\n" not in self.buffer:
            self.feed()
        head, _, body = self.buffer.partition(b"\r\n\r\n")
        status = int(head[9:12])
        length = int(re.search(rb"\r\ncontent-length: *(\d+)", head.lower()).group(1))
        if status != 200:
            raise Failure(f"answer {status} instead of 200: {self.buffer[:400]!r}")
        left, space = length - len(body), memoryview(bytearray(262_144))
        while left:
            count = self.socket.recv_into(space, min(left, len(space)))
            if not count:
                raise Failure(f"the server closed a connection with {left:,} bytes of a body to come")
            left -= count
        self.buffer = b""
        return length

    def exchange(self, message):
        self.socket.sendall(message)
        while not self.feed():
            pass
        return self.take()


def load(port, messages, connections):
    """Sends every message once, each connection the next one as soon as it has its answer. All answers must be 200."""
    left = iter(messages)
    poll = select.epoll()
    by_descriptor = {}
    try:
        for _ in range(connections):
            message = next(left, None)
            if message is None:
                break
            connection = Connection(port, timeout=120)
            by_descriptor[connection.socket.fileno()] = connection
            poll.register(connection.socket.fileno(), select.EPOLLIN)
            connection.socket.sendall(message)
        done = 0
        busy = len(by_descriptor)
        while busy:
            events = poll.poll(120)
            if not events:
                raise Failure("no answer within 120 s")
            for descriptor, _ in events:
                connection = by_descriptor[descriptor]
                if not connection.feed():
                    continue
                status, head, body = connection.take()
                if status != 200:
                    raise Failure(f"answer {status} instead of 200: {(head + body)[:400]!r}")
                done += 1
                message = next(left, None)
                if message is None:
                    busy -= 1
                else:
                    connection.socket.sendall(message)
        return done
    finally:
        for connection in by_descriptor.values():
            connection.socket.close()
        poll.close()


class Visitor:
    """A person with a browser: cookies by host, redirects followed, the sign-in form filled in."""

    def __init__(self):
        self.cookies = {}
        self.connections = {}

    def close(self):
        for connection in self.connections.values():
            connection.socket.close()

    def send(self, method, url, body=None, dest="document"):
        parts = urllib.parse.urlsplit(url)
        jar = self.cookies.setdefault(parts.hostname, {})
        fields = [f"Host: {parts.netloc}", "Accept: text/html", "Sec-Fetch-Mode: navigate", f"Sec-Fetch-Dest: {dest}"]
        if jar:
            fields.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in jar.items()))
        if body is not None:
            fields += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}",
                       f"Origin: {parts.scheme}://{parts.netloc}"]
        target = parts.path + ("?" + parts.query if parts.query else "")
        message = "\r\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode() + (body or b"")
        if parts.port not in self.connections:
            self.connections[parts.port] = Connection(parts.port)
        status, head, text = self.connections[parts.port].exchange(message)
        lines = head.decode("latin-1").split("\r\n")[1:]
        answer = {}
        for line in lines:
            name, _, value = line.partition(":")
            if name.lower() == "set-cookie":
                pair = value.split(";")[0].strip()
                key, _, content = pair.partition("=")
                jar[key] = content
            answer[name.lower()] = value.strip()
        if answer.get("connection") == "close":
            self.connections.pop(parts.port).socket.close()
        return status, answer, text.decode("utf-8", "replace")

    def open(self, url, dest="document", method="GET", body=None):
        """Follows redirects within the workplace; gives the last answer and its URL."""
        for _ in range(10):
            status, answer, text = self.send(method, url, body, dest)
            if status not in (302, 303):
                return status, text, url
            url, method, body = urllib.parse.urljoin(url, answer["location"]), "GET", None
        raise Failure(f"too many redirects, the last to {url}")

    def sign_in(self, url, user, password):
        status, page, at = self.open(url)
        action = re.search(r"<form[^>]*action=\"([^\"]*)\"", page)
        if status != 200 or not action:
            raise Failure(f"no sign-in form at {at}: {status}")
        fields = [(name, value) for name, value in hidden(page)] + [("username", user), ("password", password)]
        target = urllib.parse.urljoin(at, html.unescape(action.group(1)))
        return self.open(target, method="POST", body=urllib.parse.urlencode(fields).encode())


def hidden(page):
    for tag in re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", page):
        name = re.search(r"name=\"([^\"]*)\"", tag)
        value = re.search(r"value=\"([^\"]*)\"", tag)
        if name:
            yield html.unescape(name.group(1)), html.unescape(value.group(1)) if value else ""


def timed(action):
    """What the action gave and how many milliseconds it took."""
    start = time.perf_counter()
    result = action()
    return result, (time.perf_counter() - start) * 1000
