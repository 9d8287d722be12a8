"""What is measured under loads that last: streams, idle connections, mixed load; and the start."""

import json
import os
import resource
import select
import socket
import struct
import sys
import threading
import time

import client
import measures
import peers
from processes import CORES, OTHER_CORE, SERVER_CORE, Failure

MIXER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mixer.py")
# Reads this many bytes fifty times a second.
SLOW_PIECE = 32_768
SLOW_READERS = 8
UPLOADS = 4


class Watch:
    """The greatest resident set of a process while the context is open."""

    def __init__(self, process):
        self.process = process
        self.greatest = 0

    def __enter__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def look(self):
        while True:
            self.greatest = max(self.greatest, self.process.memory()["rss"])
            if self.over.wait(0.05):
                return


def streams(run):
    """Memory under a large download with slow readers beside it, and under uploads without end."""
    rows = {}
    for index, peer in run.peers(same_work=True):
        run.say(f"  {peer.label}")
        with run.stage() as stage:
            run.upstream(stage)
            running = run.peer(stage, index, peer)
            measures.warm(running)
            time.sleep(1)
            row = {"start": running.process.memory()["rss"]}
            with Watch(running.process) as watch:
                row["downloaded"] = downloads(running, run.size.streaming)
            row["download"] = watch.greatest - row["start"]
            with Watch(running.process) as watch:
                row["uploaded"] = uploads(running, run.size.streaming)
            row["upload"] = watch.greatest - row["start"]
            rows[peer.key] = row
    return {"large": run.size.large, "slow": SLOW_READERS, "uploads": UPLOADS, "seconds": run.size.streaming, "peers": rows}


def downloads(running, seconds):
    """One reader as fast as it can until it has all, and slow ones for that long, or for `seconds`. How many bytes came in all."""
    message = client.request(running.port, measures.BODY_LARGE, running.cookies[0])
    fast = Thrower(lambda: measures.download(running))
    slow = [client.Connection(running.port) for _ in range(SLOW_READERS)]
    total = 0
    try:
        for connection in slow:
            connection.socket.sendall(message)
        end = time.monotonic() + seconds
        while time.monotonic() < end or fast.is_alive():
            for connection in slow:
                # A small one of the smoke run may be over.
                if select.select([connection.socket], [], [], 0)[0]:
                    total += len(connection.socket.recv(SLOW_PIECE))
            time.sleep(0.02)
        fast.finish()
        return total
    finally:
        for connection in slow:
            connection.socket.close()


def uploads(running, seconds):
    """Half of them into an upstream that reads slowly. How many bytes went in all."""
    end = time.monotonic() + seconds
    threads = [Thrower(lambda n=n: upload(running, "slow" if n % 2 else "sink", end)) for n in range(UPLOADS)]
    return sum(thread.finish() for thread in threads)


def upload(running, where, end):
    connection = client.Connection(running.port, timeout=1)
    # Closing resets it: what waits in the kernel would reach the slow upstream for seconds.
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    total = 0
    try:
        connection.socket.sendall(
            client.request(running.port, f"/fs/body/{where}", running.cookies[0], "PUT", "Transfer-Encoding: chunked\r\n"))
        view = memoryview(piece)
        at = 0
        while time.monotonic() < end:
            try:
                sent = connection.socket.send(view[at:])
            except TimeoutError:
                continue
            total += sent
            at = (at + sent) % len(piece)
            if select.select([connection.socket], [], [], 0)[0]:
                raise Failure(f"an upload was answered before its end: {connection.socket.recv(300)!r}")
        return total
    finally:
        connection.socket.close()


class Thrower(threading.Thread):
    """A thread whose result, or failure, is asked for at the end."""

    def __init__(self, body):
        super().__init__(daemon=True)
        self.body = body
        self.result = None
        self.fault = None
        self.start()

    def run(self):
        try:
            self.result = self.body()
        except Exception as fault:  # noqa: BLE001 (raised again by `finish`)
            self.fault = fault

    def finish(self):
        self.join()
        if self.fault:
            raise self.fault
        return self.result


# ---- idle connections

def idle(run):
    """Memory of an idle connection that has made a request."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The first ones fill what the start and earlier requests have left free.
    fillers = run.size.idle // 5
    if hard < run.size.idle + fillers + 200:
        raise Failure(f"{run.size.idle + fillers:,} connections need as many open files: ulimit -Hn says {hard:,}")
    rows = {}
    for index, peer in run.peers(same_work=True):
        run.say(f"  {peer.label}")
        with run.stage() as stage:
            run.upstream(stage)
            # Few sessions: what a larger table leaves free would hide the connections.
            running = run.peer(stage, index, peer, sessions=16)
            measures.warm(running)
            filling = opened(running, fillers)
            time.sleep(1)
            before, kernel = running.process.memory(), kernel_memory()
            kept = opened(running, run.size.idle)
            time.sleep(1)
            after, kernel_after = running.process.memory(), kernel_memory()
            ended = sum(is_ended(one) for one in filling + kept)
            for one in filling + kept:
                one.close()
            if ended:
                raise Failure(f"{peer.label} closed {ended:,} of {len(kept):,} idle connections")
            rows[peer.key] = {
                "private": (after["private"] - before["private"]) / len(kept), "rss": (after["rss"] - before["rss"]) / len(kept),
                "kernel": (kernel_after - kernel) / len(kept)}
    return {"connections": run.size.idle, "fillers": fillers, "peers": rows}


def opened(running, count):
    """Connections that have had their answer, sixteen requests under way at once."""
    kept = []
    waiting = []
    for message in measures.messages(running, count):
        connection = client.Connection(running.port)
        connection.socket.sendall(message)
        waiting.append(connection)
        if len(waiting) == 16 or len(kept) + len(waiting) == count:
            for one in waiting:
                while not one.feed():
                    pass
                status, head, _ = one.take()
                if status != 200:
                    raise Failure(f"answer {status} instead of 200: {head[:300]!r}")
                kept.append(one.socket)
            waiting = []
    return kept


def is_ended(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def kernel_memory():
    """Slabs and socket buffers of the whole machine, in bytes."""
    with open("/proc/meminfo") as file:
        slab = next(int(line.split()[1]) for line in file if line.startswith("Slab:")) * 1024
    with open("/proc/net/sockstat") as file:
        pages = next(int(line.split()[-1]) for line in file if line.startswith("TCP:"))
    return slab + pages * os.sysconf("SC_PAGE_SIZE")


# ---- the start

def start(run):
    """From exec to the first answer."""
    rows = {}
    with run.stage() as stage:
        run.upstream(stage)
        port = run.tools.port + 20
        for name in ("memory", "sqlite", "sqlite, again"):
            times = []
            path = stage.database()
            for _ in range(run.size.starts):
                if name == "sqlite":
                    path = stage.database()
                conf = peers.configuration(stage, port, run.tools.port, "http://id.localhost:1", store=(name.split(",")[0], path))
                times.append(first_answer(stage, [run.tools.intercom(), "serve", "--config", conf], port))
            rows[name] = measures.spread(times[1:] if name.endswith("again") else times)
    return {"starts": run.size.starts, "rows": rows}


def first_answer(stage, command, port):
    """Milliseconds. The child inherits the core: nothing stands between the call and exec."""
    request = b"GET / HTTP/1.1\r\nHost: intercom.localhost\r\nConnection: close\r\n\r\n"
    log = os.open(stage.path("start.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    begin = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)])
    os.sched_setaffinity(0, mine if SERVER_CORE != OTHER_CORE and mine != {SERVER_CORE} else {OTHER_CORE})
    try:
        while True:
            if time.perf_counter() - begin > 60:
                raise Failure(f"{command[0]} did not answer within a minute: see {stage.path('start.log')}")
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", port)):
                    continue
                connection.settimeout(30)
                connection.sendall(request)
                if connection.recv(65_536).startswith(b"HTTP/1.1 "):
                    return (time.perf_counter() - begin) * 1000
    finally:
        os.kill(child, 15)
        os.waitpid(child, 0)
        os.close(log)


# ---- mixed load

def mixed(run):
    """The lag of the event loops under requests, bodies, cold sessions, sign-ins and uploads at once."""
    with run.stage() as stage:
        run.upstream(stage)
        port = run.tools.port + 20
        base = f"http://intercom.localhost:{port}"
        issuer = peers.provider(stage, run.tools, run.tools.port + 10, base)
        running = peers.served_on_file(stage, run.tools, port, run.tools.port, issuer, run.size.sessions)
        half = len(running.cookies) // 2
        warm = peers.Running(running.process, port, running.cookies[:half])
        for _ in range(4):
            measures.warm(warm)
        order = {"port": port, "base": base, "seconds": run.size.mixed, "warm": warm.cookies, "cold": running.cookies[half:]}
        before = measures.metrics(running)
        mixer = stage.start(
            "mixer", ["nice", "-n", "19", sys.executable, "-B", MIXER, stage.write("mixer.json", json.dumps(order))],
            ",".join(map(str, CORES)))
        mixer.child.wait(timeout=run.size.mixed + 120)
        if mixer.child.returncode:
            raise Failure(f"the mixed load failed: see {mixer.log}\n" + "\n".join(mixer.lines()[-5:]))
        after = measures.metrics(running)
    return {"seconds": run.size.mixed, "done": json.loads(mixer.lines()[-1]), "loops": lag(before, after)}


def lag(before, after):
    """Of each loop: its turns by how long they worked, and the longest, in milliseconds."""
    start = 'intercom_loop_lag_seconds_bucket{loop="'
    loops = {}
    for key in after:
        if key.startswith(start):
            loop, bound = key[len(start):].rstrip('"}').split('",le="')
            loops.setdefault(loop, {"turns": {}})["turns"][bound] = after[key] - before[key]
    for loop, longest in after.items():
        if loop.startswith("intercom_loop_longest_lag_seconds"):
            loops[loop.split('"')[1]]["longest"] = longest * 1000
    return loops
