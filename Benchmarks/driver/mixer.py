"""The mixed load: all kinds at once, each at a rate of its own, so that the machine is busy and not full. Prints what was done as JSON.

Usage: mixer.py ORDER.json
"""

import json
import sys
import threading
import time

import client
import measures
import scenarios

# Of each kind: how many at once, and how many a second in all.
RATES = {"warm": (8, 1000), "body": (4, 60), "cold": (2, 60), "sign-in": (2, 12), "upload": (2, 12)}
UPLOAD = 1_000_000


class Kind:
    """One kind of load; `step` is one of it."""

    def __init__(self, order):
        self.order = order
        self.port = order["port"]
        self.lock = threading.Lock()
        self.number = -1
        self.times = []

    def next(self):
        with self.lock:
            self.number += 1
            return self.number

    def warm(self, connection):
        known = self.order["warm"]
        self.expect(connection, client.request(self.port, measures.TARGET, known[self.next() % len(known)]))

    def body(self, connection):
        connection.discard(client.request(self.port, measures.BODY_100K, self.order["warm"][0]))

    def cold(self, connection):
        number = self.next()
        # As many as there are; then nothing is cold any more.
        if number < len(self.order["cold"]):
            self.expect(connection, client.request(self.port, measures.TARGET, self.order["cold"][number]))

    def upload(self, connection):
        head = client.request(self.port, "/fs/body/sink", self.order["warm"][0], "PUT", f"Content-Length: {UPLOAD}\r\n")
        self.expect(connection, head + b"x" * UPLOAD)

    def sign_in(self, _):
        scenarios.sign_in_twice(self.order["base"], self.port, {"login": [], "silent": [], "exchange": []})

    @staticmethod
    def expect(connection, message):
        status, head, body = connection.exchange(message)
        if status != 200:
            raise client.Failure(f"answer {status} instead of 200: {(head + body)[:300]!r}")

    def run(self, name, width, rate, end):
        step = getattr(self, name.replace("-", "_"))
        connection = client.Connection(self.port)
        due = time.monotonic()
        while due < end:
            time.sleep(max(0, due - time.monotonic()))
            begin = time.perf_counter()
            step(connection)
            self.times.append((time.perf_counter() - begin) * 1000)
            # What is late is not made up for.
            due = max(due + width / rate, time.monotonic())


def main():
    with open(sys.argv[1]) as file:
        order = json.load(file)
    end = time.monotonic() + order["seconds"]
    kinds = {name: Kind(order) for name in RATES}
    faults = []

    def guarded(kind, *words):
        try:
            kind.run(*words)
        except Exception as fault:  # noqa: BLE001 (told below)
            faults.append(f"{words[0]}: {fault!r}")
    threads = [
        threading.Thread(target=guarded, args=(kinds[name], name, width, rate, end))
        for name, (width, rate) in RATES.items() for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fault in faults:
        print(fault)
    print(json.dumps({name: {"count": len(kind.times), **measures.spread(kind.times)} for name, kind in kinds.items() if kind.times}))
    sys.exit(1 if faults else 0)


main()
