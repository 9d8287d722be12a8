"""Runs scenarios and keeps their results: what dev/bench starts. See ../README.md."""

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import field
import peers
import report
import scenarios
from processes import OTHER_CORE, Failure

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def say(line):
    print(line, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(
        prog="dev/bench", description="Measures Intercom beside its peers and writes Benchmarks/results.md. Everything on loopback.",
        epilog="Scenarios: " + ", ".join(f"{name} ({one.__doc__.splitlines()[0]})" for name, one in scenarios.SCENARIOS.items()))
    parser.add_argument("--smoke", action="store_true", help="a few requests of each scenario with the debug build: does it still run?")
    parser.add_argument("--only", nargs="+", choices=scenarios.SCENARIOS, metavar="NAME", help="only these scenarios; others keep results")
    parser.add_argument("--rounds", type=int, help="rounds of the CPU comparison (5)")
    parser.add_argument("--sessions", type=int, help="sessions of the comparison with peers (10,000)")
    parser.add_argument("--port", type=int, default=27100, help="first of a hundred ports (27100)")
    parser.add_argument("--note", help="a sentence for the results, such as what else the machine did; kept until the next one")
    parser.add_argument("--bin", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--nginx", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--haproxy", default="", help=argparse.SUPPRESS)
    parser.add_argument("--apache", default="", help=argparse.SUPPRESS)
    parser.add_argument("--apache-modules", default="/usr/lib/apache2/modules", help=argparse.SUPPRESS)
    parser.add_argument("--folder", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def commit():
    text = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=10", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return text.stdout.decode().strip() or "unknown"


def read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def main():
    given = arguments()
    size = scenarios.SMOKE if given.smoke else scenarios.Size()
    if given.rounds:
        size.rounds = given.rounds
    if given.sessions:
        size.sessions = given.sessions
    tools = peers.Tools(given.bin, given.nginx, given.haproxy, given.apache, given.apache_modules, given.port)
    # The driver is part of the load.
    os.sched_setaffinity(0, {OTHER_CORE})
    say("peers: " + ", ".join(peer.label for peer in field.present(tools)))
    run = scenarios.Run(os.path.join(given.folder, "run"), tools, size, say)
    shutil.rmtree(run.folder, ignore_errors=True)
    home = given.folder if given.smoke else os.path.dirname(HERE)
    kept = {} if given.smoke and not given.only else read(os.path.join(home, "results.json"))
    results = {"machine": report.machine(tools), "note": given.note or kept.get("note"), "scenarios": kept.get("scenarios", {})}
    for name in given.only or scenarios.SCENARIOS:
        start = time.monotonic()
        load = os.getloadavg()[0]
        say(f"{name}: {scenarios.SCENARIOS[name].__doc__.splitlines()[0]}")
        data = scenarios.SCENARIOS[name](run)
        data.update(when=datetime.date.today().isoformat(), commit=commit(), load=load)
        results["scenarios"][name] = data
        # After each scenario: what has been measured stays when the next one is stopped.
        with open(os.path.join(home, "results.json"), "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
        with open(os.path.join(home, "results.md"), "w") as file:
            file.write(report.markdown(results))
        say(f"  {time.monotonic() - start:.0f} s")
    say(f"results: {os.path.relpath(os.path.join(home, 'results.md'))}")


def ended(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, ended)
    try:
        main()
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)
    except (Failure, subprocess.SubprocessError) as fault:
        say(f"dev/bench: {fault}")
        sys.exit(1)
