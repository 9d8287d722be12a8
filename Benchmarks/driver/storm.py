"""Sessions whose access tokens expire together, at a provider that takes its time, on two replicas that share a Redis."""

import time
import urllib.request

import client
import measures
import peers
from load import Thrower
from processes import Failure

# Seconds that an access token lives: longer than all sign-ins take.
LIFE = 20
# What a refresh takes at the provider, in milliseconds.
PROVIDER = 200
# Requests of each session, half of them at each replica.
REQUESTS = 6
CONNECTIONS = 256


def storm(run):
    """1,000 sessions of two replicas expire together and the provider takes 200 ms: one refresh for each, no error."""
    if "redis" not in run.stores:
        raise Failure("the storm needs a Redis: Debian's redis-tools")
    with run.stage() as stage:
        run.upstream(stage)
        port = run.tools.port + 20
        base = f"http://intercom.localhost:{port}"
        issuer = peers.provider(stage, run.tools, run.tools.port + 10, base, LIFE)
        one = peers.served(stage, run.tools, port, run.tools.port, issuer, peers.shelf(stage, run.tools, "redis"))
        two = peers.replica(stage, run.tools, port + 10, stage.path(f"intercom-{port}.yaml"), "intercom-two")
        visitor = client.Visitor()
        try:
            cookies = signed_in(visitor, base, run.size.storm)
        finally:
            visitor.close()
        one.cookies = two.cookies = cookies
        time.sleep(LIFE + 1)
        provider = f"http://127.0.0.1:{run.tools.port + 10}/bench/"
        get(provider + f"slow?ms={PROVIDER}")
        start = time.monotonic()
        loads = [Thrower(lambda running=running: burst(running)) for running in (one, two)]
        answers = sum(load.finish() for load in loads)
        took = time.monotonic() - start
        return {
            "sessions": len(cookies), "answers": answers, "refreshes": int(get(provider + "tokens")), "seconds": took, "provider": PROVIDER,
            "cpu": one.process.running_time() + two.process.running_time()}


def signed_in(visitor, base, count):
    """The cookies of so many sessions of one user, whose browser forgets that of Intercom each time."""
    cookies = []
    visitor.sign_in(base + "/login?returnTo=/", "alice", "password")
    jar = visitor.cookies["intercom.localhost"]
    while True:
        cookies.append(jar["intercom"])
        if len(cookies) == count:
            return cookies
        jar.clear()
        visitor.open(base + "/silent", dest="iframe")


def burst(running):
    """Every session's share of requests at once; all must be answered 200."""
    return client.load(running.port, measures.messages(running, len(running.cookies) * REQUESTS // 2), CONNECTIONS)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()
