"""How one figure is taken of a running peer. None of this knows which peer it is."""

import glob
import json
import os
import re
import signal
import statistics
import subprocess
import time
import urllib.request

import client
from processes import OTHER_CORE, Failure

TARGET = "/fs/items/42?limit=50"
# Files of the upstream.
BODY_100K = "/fs/body/100k"
BODY_LARGE = "/fs/body/large"


def messages(running, count, offset=0):
    """`count` requests, one session after the other."""
    known = running.cookies
    return (
        client.request(running.port, TARGET, known[(offset + n) % len(known)], browser=n % running.browsers) for n in range(count))


def warm(running, connections=16):
    """Every session is used once: whatever is kept of a live session is there."""
    client.load(running.port, messages(running, len(running.cookies)), connections)


def warm_on_each_loop(running, loops):
    """Every session is used once on each loop of Intercom. Which loop has a connection is seen by what it counts."""
    found = {}
    for _ in range(64):
        before = loop_series(running, "loop_requests_total")
        connection = client.Connection(running.port, timeout=120)
        connection.exchange(next(messages(running, 1)))
        after = loop_series(running, "loop_requests_total")
        (loop,) = [name for name in after if after[name] > before[name]]
        found.setdefault(loop, connection)
        if len(found) == loops:
            break
    if len(found) < loops:
        raise Failure(f"64 connections reached {len(found)} of {loops} loops")
    for connection in found.values():
        for message in messages(running, len(running.cookies)):
            connection.exchange(message)
        connection.socket.close()


def metrics(running):
    """Intercom's series with their values."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port + 1}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line and line[0] != "#"}


def loop_series(running, name):
    """One value for each loop."""
    start = f'intercom_{name}{{loop="'
    return {key[len(start):].split('"')[0]: value for key, value in metrics(running).items() if key.startswith(start)}


# ---- user instructions

def has_counters():
    """Virtual machines often have none."""
    return os.path.isdir("/sys/bus/event_source/devices/cpu")


def instructions_by_perf(running, stage, count, connections):
    """`count` and twice as many requests; the difference is what requests cost."""
    def run(requests):
        out = stage.path("perf.txt")
        perf = subprocess.Popen(
            ["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", out, "-p", str(running.process.pid)], stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        client.load(running.port, messages(running, requests), connections)
        perf.send_signal(signal.SIGINT)
        perf.wait(timeout=30)
        with open(out) as file:
            for line in file:
                if "instructions" in line:
                    return int(line.split(",")[0])
        raise Failure("perf counted nothing")
    once, twice = run(count), run(2 * count)
    return (twice - once) / count


def instructions_by_callgrind(running, stage, count, connections):
    """The same difference, counted by callgrind."""
    return difference_by_callgrind(running, stage, lambda n: client.load(running.port, messages(running, n), connections), count)


def difference_by_callgrind(running, stage, load, count):
    """What `load` of one more costs: of `count` and of twice as many. The process was started under callgrind, with counting off."""
    def tell(*words):
        result = subprocess.run(
            ["vgdb", f"--pid={running.process.pid}", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        if result.returncode:
            raise Failure(f"vgdb {' '.join(words)}: {result.stdout.decode()}")
    tell("instrumentation", "on")
    load(max(5, min(200, count // 10)))
    tell("zero")
    totals = []
    for requests in (count, 2 * count):
        load(requests)
        tell("dump")
        totals.append(callgrind_total(newest(stage, running)))
    return (totals[1] - totals[0]) / count


def callgrind(stage, name):
    """What stands before a command that callgrind shall count."""
    for old in glob.glob(stage.path(f"callgrind.{name}.*")):
        os.remove(old)
    return ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={stage.path(f'callgrind.{name}')}"]


def newest(stage, running):
    dumps = glob.glob(stage.path(f"callgrind.{running.process.name}.*"))
    if not dumps:
        raise Failure("callgrind wrote nothing")
    return max(dumps, key=lambda path: int(path.rsplit(".", 1)[1]))


def callgrind_total(path):
    with open(path) as file:
        for line in file:
            if line.startswith(("totals:", "summary:")):
                return int(line.split()[1])
    raise Failure(f"no total in {path}")


# ---- load by wrk

SCRIPT = """
local messages, count, at = {}, 0, 0
init = function(args)
  local before, behind = args[2], args[3]
  for cookie in io.lines(args[1]) do
    count = count + 1
    messages[count] = before .. cookie .. behind
  end
end
request = function()
  at = at % count + 1
  return messages[at]
end
done = function(summary, latency)
  local e = summary.errors
  print(string.format('RESULT {"requests": %d, "us": %d, "p50": %d, "p99": %d, "errors": %d}', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout + e.status))
end
"""


def wrk(running, stage, seconds, connections=32, target=TARGET, base=None):
    """Requests of all sessions in turn, as fast as they are answered, over the plain port or where `base` says."""
    script = stage.write("load.lua", SCRIPT)
    known = stage.write("cookies.txt", "\n".join(running.cookies) + "\n")
    before, _, behind = client.request(running.port, target, "\0").decode().partition("\0")
    result = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script,
         base or f"http://127.0.0.1:{running.port}", "--", known, before, behind],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds + 60)
    for line in result.stdout.decode().splitlines():
        if line.startswith("RESULT "):
            answer = json.loads(line[7:])
            if answer["errors"]:
                raise Failure(f"{running.process.name}: {answer['errors']} requests failed under wrk")
            return answer
    raise Failure(f"wrk said nothing: {result.stdout.decode()[-500:]}")


def cpu(running, stage, seconds, target=TARGET, base=None):
    """CPU time of the peer per request, in microseconds, and what wrk saw."""
    user, system = running.process.cpu()
    seen = wrk(running, stage, seconds, target=target, base=base)
    user_end, system_end = running.process.cpu()
    requests = seen["requests"]
    return {
        "user": (user_end - user) * 1e6 / requests, "system": (system_end - system) * 1e6 / requests,
        "rate": requests / (seen["us"] / 1e6), "p50": seen["p50"] / 1000, "p99": seen["p99"] / 1000,
    }


def download(running):
    """CPU time of the peer for one large body, in seconds."""
    connection = client.Connection(running.port, timeout=120)
    try:
        message = client.request(running.port, BODY_LARGE, running.cookies[0])
        before = running.process.running_time()
        connection.discard(message)
        return running.process.running_time() - before
    finally:
        connection.socket.close()


# ---- system calls

def system_calls(running, stage, count, load=None):
    """System calls per request by name, counted by strace; `load` makes so many requests."""
    out = stage.path("strace.txt")
    strace = subprocess.Popen(["strace", "-c", "-f", "-o", out, "-p", str(running.process.pid)], stderr=subprocess.DEVNULL)
    time.sleep(1)
    if strace.poll() is not None:
        raise Failure("strace could not attach: is tracing allowed here?")
    if load:
        load(running, count)
    else:
        client.load(running.port, messages(running, count), 32)
    strace.send_signal(signal.SIGINT)
    strace.wait(timeout=30)
    calls = {}
    with open(out) as file:
        for line in file:
            words = line.split()
            if len(words) >= 5 and re.fullmatch(r"[\d.]+", words[0]) and words[-1] != "total":
                calls[words[-1]] = int(words[3]) / count
    if not calls:
        raise Failure(f"strace counted nothing: see {out}")
    return calls


# ---- numbers

def spread(values):
    """Median, 99th percentile, least and greatest."""
    ordered = sorted(values)
    return {"median": statistics.median(ordered), "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], "min": ordered[0],
            "max": ordered[-1]}
