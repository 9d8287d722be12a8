"""Who is measured: the table PEERS. A peer is a row: how it is configured and started; everything else treats all of them alike."""

import base64
import dataclasses
import json
import os
import re
import secrets
import socket
import sys
import time
import typing

from processes import CORES, OTHER_CORE, SERVER_CORE, Failure, Process

SINK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sink.py")
ORIGIN = "https://mail.example.org"
EXPOSED = (
    "ETag, DAV, Content-Security-Policy, Location, Authorization, Depth, Content-Type, OCS-APIRequest, Content-Length, "
    "Content-Range, Accept-Ranges, Content-Disposition, Last-Modified, Retry-After"
)


# How far behind the plain port the one with TLS is.
TLS = 2
# Behind the first of our ports.
REDIS = 95
# Debian's redis-tools holds the server too: the name that it is called by decides what the program is.
REDIS_PROGRAMS = ("/usr/bin/redis-server", "/usr/bin/redis-check-rdb")


@dataclasses.dataclass
class Tools:
    """Where the programs are, and the first of our ports. What is not there is empty."""

    bin: str
    nginx: str
    haproxy: str
    apache: str
    apache_modules: str
    port: int
    # Chain and key: peers that are started meanwhile speak TLS and HTTP/2 too, on the port behind by `TLS`.
    certificate: tuple = ()

    def intercom(self):
        return os.path.join(self.bin, "intercom")

    def host(self):
        return os.path.join(self.bin, "bench-host")


@dataclasses.dataclass
class Running:
    """A started peer: where it listens and the session cookies that it knows."""

    process: Process
    port: int
    cookies: list
    # How many kinds of browsers its clients are, one after the other.
    browsers: int = 1


@dataclasses.dataclass
class Peer:
    key: str
    label: str
    # (stage, tools, port, upstream's port, sessions, what stands before the command) -> Running
    start: typing.Callable
    # Looks a session up, as Intercom does.
    is_same_work: bool = True
    # Its instructions are counted over so many times fewer requests: under callgrind it takes minutes else.
    weight: int = 1
    # The field of Tools that must be there.
    needs: str = "bin"


def upstream(stage, tools, port, large=1 << 30):
    """One upstream for all: 1 KB of JSON, a file of 100 KB and one of `large` bytes, and two sinks, of which one reads 1 MB/s at most."""
    files = stage.path("files")
    os.makedirs(files, exist_ok=True)
    for name, size in (("100k", 100_000), ("large", large)):
        with open(os.path.join(files, name), "wb") as file:
            file.truncate(size)
    for at, rate in ((port + 2, 0), (port + 3, 1_000_000)):
        sink = stage.start(f"sink-{at}", [sys.executable, "-B", SINK, str(at), str(rate)])
        await_listener(sink, at)
    body = json.dumps({"items": [{"id": n, "name": f"document-{n:04}.odt"} for n in range(24)]})
    body += " " * (1024 - len(body))
    text = f"""
      location / {{
        default_type application/json;
        add_header Cache-Control "private, max-age=0";
        add_header ETag '"5f3e-1c8b0c4e"';
        return 200 '{body}';
      }}
      location /body/ {{ alias {files}/; }}
      client_max_body_size 0;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_read_timeout 600s;
      location /body/sink {{ proxy_pass http://127.0.0.1:{port + 2}; }}
      location /body/slow {{ proxy_pass http://127.0.0.1:{port + 3}; }}"""
    process = nginx(stage, tools, "upstream", port, "", text, OTHER_CORE)
    process.await_answer(f"http://127.0.0.1:{port}/", 10)
    return process


def nginx(stage, tools, name, port, http, locations, core=SERVER_CORE, prefix=()):
    """nginx in one process, nothing written, connections kept without end."""
    folder = stage.path(name)
    os.makedirs(folder, exist_ok=True)
    temporary = "\n".join(
        f"  {kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    secure = ""
    if tools.certificate and core == SERVER_CORE:
        chain, key = tools.certificate
        secure = f"""listen 127.0.0.1:{port + TLS} ssl http2;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;"""
    text = f"""
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
{temporary}
{http}
  server {{
    listen 127.0.0.1:{port};
    {secure}
    {locations}
  }}
}}
"""
    conf = stage.write(name + ".conf", text)
    return stage.start(name, [tools.nginx, "-e", "stderr", "-p", folder, "-c", conf], core, prefix)


def pool(port):
    return f"""
  upstream pool {{
    server 127.0.0.1:{port};
    keepalive 128;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
  }}"""


def nginx_plain(stage, tools, port, to, sessions, prefix):
    """What a plain reverse proxy does: the head goes on as it came."""
    location = """
    location /fs/ {
      proxy_pass http://pool/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }"""
    process = nginx(stage, tools, "nginx-plain", port, pool(to), location, prefix=prefix)
    process.await_answer(f"http://127.0.0.1:{port}/fs/", 60)
    return Running(process, port, cookies(sessions))


def nginx_same(stage, tools, port, to, sessions, prefix):
    """What Intercom does, as far as nginx can: the token of the session's cookie, no cookie upstream, CORS fields."""
    known = cookies(sessions)
    tokens = "\n".join(f"    {cookie} {text(750)};" for cookie in known)
    http = f"""
  map_hash_max_size 131072;
  map_hash_bucket_size 128;
  map $cookie_intercom $token {{
    default "";
{tokens}
  }}""" + pool(to)
    # Bodies: no files on disk in between, and larger buffers than its own 4 KB, which double what it needs for 100 KB.
    large = """
      client_max_body_size 0;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;"""
    location = "".join(f"""
    location /fs/{below} {{{more}
      if ($token = "") {{ return 401; }}
      proxy_pass http://pool/{below};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Cookie "";
      proxy_set_header Authorization "Bearer $token";
      add_header Vary Origin always;
      add_header Access-Control-Allow-Origin "{ORIGIN}" always;
      add_header Access-Control-Allow-Credentials true always;
      add_header Access-Control-Expose-Headers "{EXPOSED}" always;
    }}""" for below, more in (("", ""), ("body/", large)))
    process = nginx(stage, tools, "nginx-same", port, http, location, prefix=prefix)
    await_listener(process, port)
    return Running(process, port, known)


def intercom_one_loop(stage, tools, port, to, sessions, prefix):
    return prefilled(stage, tools, port, to, sessions, prefix, loops=1)


# ---- Intercom

def configuration(stage, port, to, issuer, loops=0, store=("memory", ""), certificate=()):
    """As shipped, but for addresses and loops. Two routes: one with the session's own token, one with an exchanged one."""
    listen, tls = f"127.0.0.1:{port}", ""
    if certificate:
        listen = f"[127.0.0.1:{port}, {{ address: 127.0.0.1:{port + TLS}, tls: true }}]"
        tls = f"tls: {{ certificates: {{ main: {{ chain: {certificate[0]}, key: {certificate[1]} }} }} }}"
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    kind, where = store
    place = {"memory": "", "sqlite": f"  path: {where}", "redis": f"  redis: {{ host: 127.0.0.1, port: {where} }}"}[kind]
    text = f"""
listen: {listen}
{tls}
baseURL: http://intercom.localhost:{port}
provider:
  issuer: {issuer}
  clientID: intercom
  clientSecret: bench-secret
origins: [{ORIGIN}]
sessions:
  store: {kind}
{place}
  keys: ["{key}"]
routes:
  fs:
    path: /fs
    upstream: http://127.0.0.1:{to}
    credential: accessToken
    methods: webdav
    stripPrefix: true
  files:
    path: /files
    upstream: http://127.0.0.1:{to}
    credential: {{ exchange: {{ audience: files }} }}
    methods: webdav
    stripPrefix: true
admin:
  listen: 127.0.0.1:{port + 1}
limits:
  loops: {loops}
"""
    return stage.write(f"intercom-{port}.yaml", text)


def intercom_two_loops(stage, tools, port, to, sessions, prefix):
    return prefilled(stage, tools, port, to, sessions, prefix, loops=2)


def prefilled(stage, tools, port, to, sessions, prefix=(), loops=0, name="intercom"):
    """The composition of `intercom serve` on a memory store that is full already. No provider is there, and none is asked."""
    conf = configuration(stage, port, to, "http://id.localhost:1", loops, certificate=tools.certificate)
    process = stage.start(name, [tools.host(), "serve", conf, str(sessions)], SERVER_CORE, prefix)
    known = printed(process.await_line("ready", 600))
    must_be(len(known) == sessions, f"{process.name} printed {len(known)} cookies instead of {sessions}")
    await_listener(process, port)
    return Running(process, port, known)


def on_file(stage, tools, port, to, sessions, prefix=(), loops=0, name="intercom-sqlite"):
    """`intercom serve` itself on a SQLite file with sessions in it."""
    return seeded(stage, tools, port, to, sessions, prefix, loops, name, "sqlite")


def on_redis(stage, tools, port, to, sessions, prefix=(), loops=0, name="intercom-redis"):
    """`intercom serve` itself on a Redis with sessions in it."""
    return seeded(stage, tools, port, to, sessions, prefix, loops, name, "redis")


def seeded(stage, tools, port, to, sessions, prefix, loops, name, store):
    conf = configuration(stage, port, to, "http://id.localhost:1", loops, shelf(stage, tools, store))
    known = seed(stage, tools, conf, sessions)
    process = stage.start(name, [tools.intercom(), "serve", "--config", conf], SERVER_CORE, prefix)
    process.await_answer(f"http://127.0.0.1:{port + 1}/livez", 60)
    await_listener(process, port)
    return Running(process, port, known)


def shelf(stage, tools, store):
    """A new and empty place for sessions, as long as the stage: the kind of store and where it is."""
    if store == "memory":
        return store, ""
    if store == "sqlite":
        return store, stage.database()
    port = tools.port + REDIS
    link = stage.path("redis-server")
    if not os.path.islink(link):
        os.symlink(next(filter(os.path.exists, REDIS_PROGRAMS)), link)
    lines = ["bind 127.0.0.1", f"port {port}", 'save ""', "appendonly no", f"dir {stage.folder}"]
    process = stage.start("redis", [link, stage.write("redis.conf", "\n".join(lines) + "\n")])
    await_listener(process, port)
    return store, port


def has_redis():
    return any(map(os.path.exists, REDIS_PROGRAMS))


def served(stage, tools, port, to, issuer, store=("memory", "")):
    """`intercom serve` beside a provider: for sign-ins."""
    conf = configuration(stage, port, to, issuer, store=store)
    process = stage.start("intercom", [tools.intercom(), "serve", "--config", conf], SERVER_CORE)
    process.await_answer(f"http://127.0.0.1:{port + 1}/readyz", 60)
    return Running(process, port, [])


def replica(stage, tools, port, first, name, core=SERVER_CORE):
    """Another `intercom serve` with the configuration of one that runs, base URL and key included, on a port of its own."""
    with open(first) as file:
        text = file.read()
    old = re.search(r"listen: 127.0.0.1:(\d+)", text).group(1)
    text = text.replace(f"listen: 127.0.0.1:{old}", f"listen: 127.0.0.1:{port}")
    text = text.replace(f"listen: 127.0.0.1:{int(old) + 1}", f"listen: 127.0.0.1:{port + 1}")
    process = stage.start(name, [tools.intercom(), "serve", "--config", stage.write(f"{name}.yaml", text)], core)
    process.await_answer(f"http://127.0.0.1:{port + 1}/readyz", 60)
    return Running(process, port, [])


def served_on_file(stage, tools, port, to, issuer, sessions):
    """`intercom serve` as shipped, on all cores, beside a provider, on a SQLite file with sessions in it."""
    path = stage.database()
    conf = configuration(stage, port, to, issuer, store=("sqlite", path))
    known = seed(stage, tools, conf, sessions)
    process = stage.start("intercom-mixed", [tools.intercom(), "serve", "--config", conf], ",".join(map(str, CORES)))
    process.await_answer(f"http://127.0.0.1:{port + 1}/readyz", 60)
    return Running(process, port, known)


def seed(stage, tools, conf, sessions, subject=None):
    """Puts sessions into the database that the configuration names: all of one subject, or each of a person of its own."""
    process = stage.start("seed", [tools.host(), "seed", conf, str(sessions), *([subject] if subject else [])])
    known = printed(process.await_line("ready", 600))
    process.child.wait(timeout=60)
    stage.stop(process)
    return known


def provider(stage, tools, port, base, life=12 * 3600):
    """The embedded provider, whose tokens live for so many seconds: its issuer."""
    process = stage.start("provider", [tools.host(), "provider", str(port), base, "bench-secret", str(life)])
    process.await_line("ready", 30)
    return f"http://id.localhost:{port}"


# ---- shared

def printed(lines):
    """The cookies among the lines of a log."""
    return [line for line in lines if re.fullmatch(r"[\w-]{43}", line)]


def cookies(count):
    return [text(43) for _ in range(count)]


def text(length):
    return base64.urlsafe_b64encode(secrets.token_bytes(length)).decode()[:length]


def await_listener(process, port):
    limit = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return
        except OSError:
            process.must_live()
            must_be(time.monotonic() < limit, f"{process.name} does not listen on {port}: see {process.log}")
            time.sleep(0.05)


def must_be(condition, message):
    if not condition:
        raise Failure(message)


