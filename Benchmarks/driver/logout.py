"""One person's sessions end, all by one logout token, on two replicas that share a Redis, while others work."""

import http.client
import threading
import time
import urllib.parse

import client
import measures
import peers
from load import Thrower
from processes import OTHER_CORE, Failure
from storm import get

SUBJECT = "leaver"
OTHERS = 200
# How many of others ask at once, each so often a second.
WIDTH = 4
RATE = 50
SECONDS = 4
SAMPLE = 200


def logout(run):
    """So many sessions of one user end; how long the logout takes, and whether others notice."""
    if "redis" not in run.stores:
        raise Failure("the logout needs a Redis: Debian's redis-tools")
    with run.stage() as stage:
        run.upstream(stage)
        port = run.tools.port + 20
        issuer = peers.provider(stage, run.tools, run.tools.port + 10, f"http://intercom.localhost:{port}")
        one = peers.served(stage, run.tools, port, run.tools.port, issuer, peers.shelf(stage, run.tools, "redis"))
        conf = stage.path(f"intercom-{port}.yaml")
        # A core for each, as where it runs.
        two = peers.replica(stage, run.tools, port + 10, conf, "intercom-two", OTHER_CORE)
        leaving = peers.seed(stage, run.tools, conf, run.size.logout, SUBJECT)
        staying = peers.seed(stage, run.tools, conf, OTHERS)
        for running in (one, two):
            # Both know them all: there are copies to be rid of.
            running.cookies = leaving + staying
            measures.warm(running)
            running.cookies = staying
        before = others(one, two, SECONDS)
        token = get(f"http://127.0.0.1:{run.tools.port + 10}/bench/logout-token?sub={SUBJECT}")
        over = threading.Event()
        beside = Thrower(lambda: others(one, two, SECONDS, over))
        time.sleep(0.2)
        took = obeyed(two.port, token)
        over.set()
        during = beside.finish()
        for running in (one, two):
            for cookie in leaving[:SAMPLE] + leaving[-SAMPLE:]:
                expect(running.port, cookie, 401)
            for cookie in staying:
                expect(running.port, cookie, 200)
        return {
            "sessions": len(leaving), "seconds": took, "before": measures.spread(before), "during": measures.spread(during),
            "asked": len(during)}


def obeyed(port, token):
    """Seconds until the logout token was answered 200."""
    body = urllib.parse.urlencode({"logout_token": token})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    start = time.monotonic()
    connection.request("POST", "/backchannel-logout", body, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    took = time.monotonic() - start
    if answer.status != 200:
        raise Failure(f"the logout was answered {answer.status}: {answer.read()!r}")
    return took


def others(one, two, seconds, over=None):
    """Milliseconds of each request of people who stay, at both replicas, for that long and until it is over."""
    end = time.monotonic() + seconds

    def work(number):
        running = (one, two)[number % 2]
        connection, times = client.Connection(running.port), []
        due = time.monotonic()
        while time.monotonic() < end or over is not None and not over.is_set():
            cookie = running.cookies[(number + WIDTH * len(times)) % len(running.cookies)]
            message = client.request(running.port, measures.TARGET, cookie)
            (status, _, body), took = client.timed(lambda message=message: connection.exchange(message))
            if status != 200:
                raise Failure(f"who stays was answered {status}: {body[:300]!r}")
            times.append(took)
            due += 1 / RATE
            time.sleep(max(0, due - time.monotonic()))
        return times
    threads = [Thrower(lambda number=number: work(number)) for number in range(WIDTH)]
    return [took for thread in threads for took in thread.finish()]


def expect(port, cookie, wanted):
    status, _, body = client.Connection(port).exchange(client.request(port, measures.TARGET, cookie))
    if status != wanted:
        raise Failure(f"answer {status} instead of {wanted}: {body[:300]!r}")
