"""What TLS and HTTP/2 cost in front of the same request. Both sides have the same certificate, tickets as each has them by default."""

import re
import ssl
import statistics
import socket
import subprocess
import time

import client
import measures
import peers
from load import kernel_memory
from processes import OTHER_CORE, Failure

CONNECTIONS = 16
# Of HTTP/2: all streams together must fit into what both sides keep of connections to the upstream.
FEW = 4
# Streams of one connection at once.
STREAMS = 10


def certificate(stage):
    """One for all peers: ECDSA P-256, signed by itself."""
    chain, key = stage.path("front.pem"), stage.path("front.key")
    result = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,DNS:intercom.localhost", "-keyout", key, "-out", chain],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode:
        raise Failure(f"openssl: {result.stdout.decode()[-500:]}")
    return chain, key


def secured(run, stage, index, peer, prefix=(), sessions=None):
    """A peer that speaks TLS beside its plain port: where."""
    run.tools.certificate = certificate(stage)
    try:
        running = run.peer(stage, index, peer, prefix, sessions)
    finally:
        run.tools.certificate = ()
    peers.await_listener(running.process, running.port + peers.TLS)
    return running


def both(run):
    """Intercom and nginx: the peers that the budgets name."""
    return [(index, peer) for index, peer in run.peers(same_work=True) if peer.key in ("intercom", "nginx-same")]


# ---- loads

def fields(running):
    """The browser's head as h2load takes it: without what it says itself."""
    lines = client.request(running.port, measures.TARGET, running.cookies[0]).decode().split("\r\n")[1:-2]
    return [word for line in lines if not line.startswith(("Host:", "Connection:")) for word in ("-H", line)]


def h2load(running, count, more, connections=CONNECTIONS):
    """Exactly so many requests of one session over kept connections: requests per second. All must be answered 200."""
    result = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), "h2load", "-n", str(count), "-c", str(connections), "-t", "1", *more, *fields(running),
         f"https://localhost:{running.port + peers.TLS}{measures.TARGET}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
    text = result.stdout.decode()
    good = re.search(r"status codes: (\d+) 2xx", text)
    rate = re.search(r", ([\d.]+) req/s", text)
    if result.returncode or not good or not rate or int(good.group(1)) != count:
        raise Failure(f"{running.process.name}: h2load: {text[-800:]}")
    return float(rate.group(1))


def kept(running, count):
    """HTTP/1.1 over kept connections of TLS 1.3."""
    return h2load(running, count, ["--h1", "-m", "1"])


def streams(running, count):
    """HTTP/2."""
    return h2load(running, count, ["-m", str(STREAMS)], FEW)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols(["http/1.1"])
    return made


def handshakes(running, count):
    """A new connection without resumption for each of so many requests: connections per second."""
    made = context()
    message = client.request(running.port, measures.TARGET, running.cookies[0], more="Connection: close\r\n").replace(
        b"Connection: keep-alive\r\n", b"", 1)
    start = time.monotonic()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", running.port + peers.TLS), timeout=30) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with made.wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(message)
                answer = b""
                while piece := connection.recv(65_536):
                    answer += piece
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise Failure(f"{running.process.name}: {answer[:300]!r}")
    return count / (time.monotonic() - start)


# ---- CPU time

def by_wrk(run, stage, running):
    """As the plain request is measured: wrk keeps the peer busier than h2load does."""
    return measures.cpu(running, stage, run.size.seconds, base=f"https://localhost:{running.port + peers.TLS}")


def by_count(load, count):
    """Of so many in a round; of a few when it is only to be seen that it runs."""
    def measure(run, stage, running):
        least = CONNECTIONS * STREAMS
        wanted = max(least, count * run.size.seconds // 4) if run.size.rounds > 1 else least
        user, system = running.process.cpu()
        rate = load(running, wanted)
        user_end, system_end = running.process.cpu()
        return {"user": (user_end - user) * 1e6 / wanted, "system": (system_end - system) * 1e6 / wanted, "rate": rate}
    return measure


# Each: its words, the load, how its CPU time is measured, how many when instructions are counted.
KINDS = {
    "tls": ("request over kept TLS 1.3", kept, by_wrk, 2_000),
    "handshake": ("new TLS 1.3 connection with one request", handshakes, by_count(handshakes, 1_500), 200),
    "http2": (f"request over HTTP/2, {STREAMS} streams", streams, by_count(streams, 60_000), 2_000),
}


# ---- scenarios

def front(run):
    """TLS and HTTP/2: CPU time, instructions and system calls, beside nginx."""
    result = {"rounds": run.size.rounds, "kinds": {kind: {"label": words, "peers": {}} for kind, (words, _, _, _) in KINDS.items()}}
    for index, peer in both(run):
        run.say(f"  instructions: {peer.label}")
        for kind, counted in instructions(run, index, peer).items():
            result["kinds"][kind]["peers"][peer.key] = {"instructions": counted}
        for kind, counted in calls(run, index, peer).items():
            result["kinds"][kind]["peers"][peer.key]["calls"] = counted
    for kind, rounds in times(run).items():
        for key, taken in rounds.items():
            row = result["kinds"][kind]["peers"][key]
            for name in ("user", "system", "rate"):
                row[name] = statistics.median(one[name] for one in taken)
            row["all"] = statistics.median(one["user"] + one["system"] for one in taken)
            row["least"] = min(one["user"] + one["system"] for one in taken)
    return result


def instructions(run, index, peer):
    """By kind, per request or connection."""
    counted = {}
    with run.stage() as stage:
        run.upstream(stage)
        running = secured(run, stage, index, peer, measures.callgrind(stage, peer.key), sessions=16)
        measures.warm(running)
        for kind, (_, load, _, count) in KINDS.items():
            count = max(2 * CONNECTIONS * STREAMS, run.size.counted * count // 3_000) if load is not handshakes else max(5, run.size.counted // 15)
            counted[kind] = measures.difference_by_callgrind(running, stage, lambda n, load=load: load(running, n), count)
    return counted


def calls(run, index, peer):
    """By kind, system calls per request or connection."""
    counted = {}
    with run.stage() as stage:
        run.upstream(stage)
        running = secured(run, stage, index, peer, sessions=16)
        measures.warm(running)
        for kind, (_, load, _, count) in KINDS.items():
            counted[kind] = sum(measures.system_calls(running, stage, max(2 * CONNECTIONS * STREAMS, count), load).values())
    return counted


def times(run):
    """By kind and peer the CPU times of each round, in microseconds; the peers take turns."""
    taken = {kind: {} for kind in KINDS}
    with run.stage() as stage:
        run.upstream(stage)
        running = {peer.key: secured(run, stage, index, peer, sessions=16) for index, peer in both(run)}
        for one in running.values():
            measures.warm(one)
        for number in range(run.size.rounds):
            run.say(f"  round {number + 1} of {run.size.rounds}")
            for kind, (_, _, measure, _) in KINDS.items():
                for key, one in running.items():
                    taken[kind].setdefault(key, []).append(measure(run, stage, one))
    return taken


def idle_tls(run):
    """Memory of an idle TLS connection that has made a request."""
    rows = {}
    count = max(50, run.size.idle // 5)
    for index, peer in both(run):
        run.say(f"  {peer.label}")
        with run.stage() as stage:
            run.upstream(stage)
            running = secured(run, stage, index, peer, sessions=16)
            measures.warm(running)
            filling = opened(running, count // 5)
            time.sleep(1)
            before, kernel = running.process.memory(), kernel_memory()
            there = opened(running, count)
            time.sleep(1)
            after, kernel_after = running.process.memory(), kernel_memory()
            for one in filling + there:
                one.close()
            rows[peer.key] = {
                "private": (after["private"] - before["private"]) / count, "rss": (after["rss"] - before["rss"]) / count,
                "kernel": (kernel_after - kernel) / count}
    return {"connections": count, "peers": rows}


def opened(running, count):
    """Connections of TLS 1.3 that have had their answer."""
    made = context()
    kept = []
    for message in measures.messages(running, count):
        connection = client.Connection(running.port + peers.TLS)
        connection.socket = made.wrap_socket(connection.socket, server_hostname="localhost")
        status, head, _ = connection.exchange(message)
        if status != 200:
            raise Failure(f"answer {status} instead of 200: {head[:300]!r}")
        kept.append(connection.socket)
    return kept
