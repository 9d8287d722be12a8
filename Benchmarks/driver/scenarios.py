"""What is measured: the table SCENARIOS. Each gives plain values, which report.py makes tables of. Loads that last are in load.py."""

import dataclasses
import statistics
import time
import typing

import client
import field
import front
import load
import logout
import measures
import peers
import storm
from processes import Failure, Stage


@dataclasses.dataclass
class Size:
    """How much of everything."""

    rounds: int = 5
    seconds: int = 4
    sessions: int = 10_000
    counted: int = 3_000  # requests whose instructions are counted; and twice as many
    traced: int = 4_000  # requests whose system calls are counted
    memory: tuple = (0, 10_000, 100_000)
    cold: int = 2_000
    logins: int = 300
    large: int = 1 << 30  # bytes of the large body
    streaming: float = 8  # seconds of slow downloads and endless uploads
    idle: int = 10_000  # idle connections
    starts: int = 20
    mixed: float = 20  # seconds of mixed load
    storm: int = 1_000  # sessions whose tokens expire together
    logout: int = 10_000  # sessions of one user, which end together


SMOKE = Size(
    rounds=1, seconds=1, sessions=100, counted=40, traced=100, memory=(100,), cold=20, logins=3, large=1 << 20, streaming=0.5, idle=50,
    starts=2, mixed=1, storm=10, logout=50)


@dataclasses.dataclass
class Run:
    folder: str
    tools: peers.Tools
    size: Size
    say: typing.Callable
    # Which stores `intercom serve` can be told to use.
    stores: tuple = ("memory", "sqlite", *(("redis",) if peers.has_redis() else ()))

    def stage(self):
        return Stage(self.folder)

    def peer(self, stage, index, peer, prefix=(), sessions=None):
        """Starts a peer in front of the upstream, on ports of its own."""
        port = self.tools.port + 20 + 10 * index
        return peer.start(stage, self.tools, port, self.tools.port, sessions or self.size.sessions, prefix)

    def upstream(self, stage):
        return peers.upstream(stage, self.tools, self.tools.port, self.size.large)

    def peers(self, same_work=False):
        """Those whose programs are there, with the place of their ports."""
        return [(index, peer) for index, peer in enumerate(field.present(self.tools)) if peer.is_same_work or not same_work]


def count_instructions(run, index, peer, warm, browsers=1):
    by_perf = measures.has_counters()
    with run.stage() as stage:
        run.upstream(stage)
        running = run.peer(stage, index, peer, () if by_perf else measures.callgrind(stage, peer.key))
        running.browsers = browsers
        warm(running)
        count = measures.instructions_by_perf if by_perf else measures.instructions_by_callgrind
        return count(running, stage, max(20, run.size.counted // peer.weight), 16)


def instructions(run):
    """User instructions per request."""
    result = {"method": "perf stat" if measures.has_counters() else "callgrind", "requests": run.size.counted, "peers": {}}
    for index, peer in run.peers():
        run.say(f"  {peer.label}")
        result["peers"][peer.key] = count_instructions(run, index, peer, measures.warm)
    return result


def browsers(run):
    """User instructions per request when four kinds of browsers take turns: no head is like the one before."""
    result = {"peers": {}}
    for index, peer in run.peers(same_work=True):
        if peer.key in ("intercom", "nginx-same"):
            run.say(f"  {peer.label}")
            result["peers"][peer.key] = count_instructions(run, index, peer, measures.warm, len(client.BROWSERS))
    return result


def two_loops(run):
    """User instructions per request with one event loop and with two."""
    result = {}
    for loops, start in ((1, peers.intercom_one_loop), (2, peers.intercom_two_loops)):
        run.say(f"  {loops}")
        peer = peers.Peer("intercom", f"{loops}", start)
        result[str(loops)] = count_instructions(run, 0, peer, lambda running, loops=loops: measures.warm_on_each_loop(running, loops))
    return {"loops": result}


def alternating(run, same_work, measure):
    """What `measure` gave of each peer in each round; the peers take turns."""
    taken = {}
    with run.stage() as stage:
        run.upstream(stage)
        running = {peer.key: run.peer(stage, index, peer) for index, peer in run.peers(same_work)}
        for one in running.values():
            measures.warm(one)
        for number in range(run.size.rounds):
            run.say(f"  round {number + 1} of {run.size.rounds}")
            for key, one in running.items():
                taken.setdefault(key, []).append(measure(one, stage))
    return taken


def medians(taken):
    middle = {
        key: {name: statistics.median(one[name] for one in rounds) for name in rounds[0]} for key, rounds in taken.items()}
    for key, rounds in taken.items():
        middle[key]["all"] = statistics.median(one["user"] + one["system"] for one in rounds)
        middle[key]["least"] = min(one["user"] + one["system"] for one in rounds)
    return middle


def cpu(run):
    """CPU time per request, all peers in turn, several rounds."""
    taken = alternating(run, False, lambda one, stage: measures.cpu(one, stage, run.size.seconds))
    return {"rounds": run.size.rounds, "seconds": run.size.seconds, "peers": medians(taken)}


def bodies(run):
    """CPU time for answers of 100 KB, and for one of 1 GB."""
    def both(one, stage):
        return {**measures.cpu(one, stage, run.size.seconds, measures.BODY_100K), "large": measures.download(one)}
    taken = alternating(run, True, both)
    middle = medians(taken)
    for key, rounds in taken.items():
        middle[key]["large_least"] = min(one["large"] for one in rounds)
    return {"rounds": run.size.rounds, "seconds": run.size.seconds, "large": run.size.large, "peers": middle}


def system_calls(run):
    """System calls per request, by name."""
    result = {}
    with run.stage() as stage:
        run.upstream(stage)
        for index, peer in run.peers():
            run.say(f"  {peer.label}")
            running = run.peer(stage, index, peer)
            measures.warm(running)
            result[peer.key] = measures.system_calls(running, stage, run.size.traced)
            stage.stop(running.process)
    return {"requests": run.size.traced, "peers": result}


STORES = {"memory": peers.prefilled, "sqlite": peers.on_file, "redis": peers.on_redis}


def memory(run):
    """What sessions cost: stored, and used once each through the gateway."""
    rows = []
    for store in run.stores:
        for count in run.size.memory:
            run.say(f"  {store}, {count} sessions")
            with run.stage() as stage:
                run.upstream(stage)
                running = STORES[store](stage, run.tools, run.tools.port + 20, run.tools.port, count)
                time.sleep(1)
                row = {"store": store, "sessions": count, "stored": running.process.memory()}
                if count:
                    measures.warm(running)
                    time.sleep(1)
                    row["used"] = running.process.memory()
                rows.append(row)
    return {"rows": rows}


def cold(run):
    """The first request of a session that no loop knows, and the second one."""
    rows = []
    for store in run.stores:
        run.say(f"  {store}")
        with run.stage() as stage:
            run.upstream(stage)
            running = STORES[store](stage, run.tools, run.tools.port + 20, run.tools.port, run.size.sessions, loops=1)
            known = running.cookies
            # The connection to the upstream and the code's pages are there before the first cold request.
            client.load(running.port, measures.messages(running, 20, offset=len(known) - 20), 1)
            connection = client.Connection(running.port)
            times = {"first": [], "second": []}
            for cookie in known[:run.size.cold]:
                message = client.request(running.port, measures.TARGET, cookie)
                for name in times:
                    (status, _, body), took = client.timed(lambda message=message: connection.exchange(message))
                    if status != 200:
                        raise Failure(f"answer {status} instead of 200: {body[:300]!r}")
                    times[name].append(took)
            row = {"store": store, **{name: measures.spread(values) for name, values in times.items()}}
            # The same work as CPU time: sessions that are cold, then the same ones again.
            fresh = min(run.size.cold, len(known) - run.size.cold - 20)
            for name in ("first", "second"):
                before = running.process.running_time()
                client.load(running.port, measures.messages(running, fresh, offset=run.size.cold), 4)
                row[name]["cpu"] = (running.process.running_time() - before) * 1e6 / fresh
            rows.append(row)
    return {"requests": run.size.cold, "rows": rows}


def login(run):
    """Sign-ins beside a provider in a process of its own: with its form, silent, and the first request that needs an exchanged token."""
    rows = []
    for store in run.stores:
        run.say(f"  {store}")
        with run.stage() as stage:
            run.upstream(stage)
            port = run.tools.port + 20
            base = f"http://intercom.localhost:{port}"
            issuer = peers.provider(stage, run.tools, run.tools.port + 10, base)
            running = peers.served(stage, run.tools, port, run.tools.port, issuer, peers.shelf(stage, run.tools, store))
            times = {"login": [], "silent": [], "exchange": []}
            before = running.process.memory()
            for number in range(run.size.logins):
                sign_in_twice(base, port, times)
                if number == run.size.logins // 10:
                    before = running.process.memory()
            grown = running.process.memory()["rss"] - before["rss"]
            sessions = 2 * (run.size.logins - run.size.logins // 10 - 1)
            rows.append({"store": store, "grown": grown / max(1, sessions), **{name: measures.spread(v) for name, v in times.items()}})
    return {"logins": run.size.logins, "rows": rows}


def sign_in_twice(base, port, times):
    visitor = client.Visitor()
    try:
        # Where the login comes back to is a route without a session's needs: the provider's way is measured, not the upstream's.
        (status, text, _), took = client.timed(lambda: visitor.sign_in(base + "/login?returnTo=/", "alice", "password"))
        if status != 200:
            raise Failure(f"signing in ended with {status}: {text[:300]}")
        times["login"].append(took)
        # A browser whose session at Intercom is gone, but not the one at the provider.
        visitor.cookies["intercom.localhost"] = {}
        (status, text, _), took = client.timed(lambda: visitor.open(base + "/silent", dest="iframe"))
        if status != 200 or "intercom" not in visitor.cookies["intercom.localhost"]:
            raise Failure(f"the silent sign-in ended with {status}: {text[:300]}")
        times["silent"].append(took)
        message = client.request(port, "/files/1", visitor.cookies["intercom.localhost"]["intercom"])
        connection = visitor.connections[port]
        (status, _, body), took = client.timed(lambda: connection.exchange(message))
        if status != 200:
            raise Failure(f"the first request with a token to exchange was answered {status}: {body[:300]!r}")
        times["exchange"].append(took)
    finally:
        visitor.close()


SCENARIOS = {
    "instructions": instructions,
    "browsers": browsers,
    "two-loops": two_loops,
    "system-calls": system_calls,
    "cpu": cpu,
    "bodies": bodies,
    "streams": load.streams,
    "idle": load.idle,
    "front": front.front,
    "idle-tls": front.idle_tls,
    "start": load.start,
    "mixed": load.mixed,
    "memory": memory,
    "cold": cold,
    "storm": storm.storm,
    "logout": logout.logout,
    "login": login,
}
