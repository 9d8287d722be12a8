"""The table of results: Markdown made of what scenarios gave."""

import platform
import re
import subprocess

import budget
from field import LABELS
from processes import CORES


def machine(tools):
    """The machine in words that name no host."""
    with open("/proc/cpuinfo") as file:
        info = file.read()
    model = re.search(r"^model name\s*: (.*)$", info, re.M)
    flags = re.search(r"^flags\s*: (.*)$", info, re.M)
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 1024 / 1024
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    return {
        "processor": (model.group(1).strip() if model else platform.machine())
        + (", virtual" if flags and "hypervisor" in flags.group(1).split() else ""),
        "cores": len(CORES),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "system": system,
        "swift": first_line(["swift", "--version"], r"Swift version (\S+)"),
        "programs": ", ".join(
            f"{name} {first_line([program, '-v'], pattern)}" for name, program, pattern in (
                ("nginx", tools.nginx, r"nginx/(\S+)"), ("HAProxy", tools.haproxy, r"version (\S+)"),
                ("Apache", tools.apache, r"Apache/(\S+)"))
            if program),
    }


def first_line(command, pattern):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    match = re.search(pattern, result.stdout.decode())
    return match.group(1) if match else "unknown"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def ratio(value, base):
    return f"{value / base:.2f}" if base else "–"


def instructions(data):
    same = data["peers"].get("nginx-same")
    rows = [[LABELS[key], f"{value:,.0f}", ratio(value, same)] for key, value in data["peers"].items()]
    return "## User instructions per request\n\n" + f"By {data['method']}.\n\n" + table(
        ["", "instructions", "÷ nginx, the same work"], rows)


def cpu(data):
    rows = [
        [LABELS[key], f"{one['all']:.1f}", f"{one['user']:.1f}", f"{one['system']:.1f}", f"{one['least']:.1f}", f"{one['rate']:,.0f}",
         f"{one['p50']:.2f}", f"{one['p99']:.2f}"] for key, one in data["peers"].items()]
    return "## CPU time per request\n\n" + f"Medians of {data['rounds']} alternating rounds of {data['seconds']} s, 32 connections.\n\n" + table(
        ["", "µs", "user", "kernel", "best round", "requests/s", "p50 ms", "p99 ms"], rows)


def browsers(data):
    same = data["peers"].get("nginx-same")
    rows = [[LABELS[key], f"{value:,.0f}", ratio(value, same)] for key, value in data["peers"].items()]
    return "## User instructions, four browsers in turn\n\n" + table(["", "instructions per request", "÷ nginx, the same work"], rows)


def two_loops(data):
    one, two = data["loops"]["1"], data["loops"]["2"]
    return "## User instructions with two event loops\n\n" + table(
        ["event loops", "instructions per request", "÷ one"], [[1, f"{one:,.0f}", "1.00"], [2, f"{two:,.0f}", ratio(two, one)]])


def bodies(data):
    rows = [
        [LABELS[key], f"{one['all']:.1f}", f"{one['user']:.1f}", f"{one['system']:.1f}", f"{one['least']:.1f}", f"{one['large']:.2f}",
         f"{one['large_least']:.2f}"] for key, one in data["peers"].items()]
    return "## Bodies\n\n" + (
        f"100 KB: medians of {data['rounds']} alternating rounds of {data['seconds']} s, 32 connections. "
        f"Large: {data['large'] / (1 << 20):,.0f} MiB, one connection, {data['rounds']} times.\n\n") + table(
        ["", "100 KB: µs", "user", "kernel", "best round", "large: CPU s", "best"], rows)


def streams(data):
    rows = [
        [LABELS[key], mega(one["start"]), mega(one["download"]), mega(one["downloaded"], 0), mega(one["upload"]),
         mega(one["uploaded"], 0)] for key, one in data["peers"].items()]
    return "## Memory of streams\n\n" + (
        f"Download: {data['large'] / (1 << 20):,.0f} MiB as fast as it goes and {data['slow']} slow readers of the same beside it. Upload: "
        f"{data['uploads']} without end for {data['seconds']} s, half of them into an upstream that reads slowly. MB of resident set; what "
        "downloads leave is within what uploads show.\n\n") + table(
        ["", "at the start", "download: greatest above it", "read slowly, MB", "upload: greatest above it", "sent, MB"], rows)


def mega(value, digits=1):
    return f"{value / 1e6:,.{digits}f}"


def idle(data):
    rows = [[LABELS[key], f"{one['private']:,.0f}", f"{one['rss']:,.0f}", f"{one['kernel']:,.0f}"] for key, one in data["peers"].items()]
    return "## Idle connections\n\n" + (
        f"{data['connections']:,} connections, each of which made one request, behind {data['fillers']:,} others; bytes per connection. The "
        "kernel's are of both ends.\n\n") + table(["", "process, private", "process, RSS", "kernel, both ends"], rows)


def front(data):
    rows = []
    for one in data["kinds"].values():
        same = one["peers"].get("nginx-same", {})
        for key, row in one["peers"].items():
            rows.append([
                f"{one['label']}: {LABELS[key]}", f"{row['instructions']:,.0f}", ratio(row["instructions"], same.get("instructions")),
                f"{row['calls']:.2f}", f"{row['all']:.1f}", f"{row['user']:.1f}", f"{row['system']:.1f}", f"{row['least']:.1f}", ratio(row["all"], same.get("all"))])
    return "## TLS and HTTP/2\n\n" + f"CPU time: medians of {data['rounds']} alternating rounds. Instructions by callgrind.\n\n" + table(
        ["", "instructions", "÷ nginx", "system calls", "CPU µs", "user", "kernel", "best round", "÷ nginx"], rows)


def idle_tls(data):
    rows = [[LABELS[key], f"{one['private']:,.0f}", f"{one['rss']:,.0f}", f"{one['kernel']:,.0f}"] for key, one in data["peers"].items()]
    return "## Idle TLS connections\n\n" + (
        f"{data['connections']:,} connections of TLS 1.3, each of which made one request; bytes per connection. The kernel's are of both "
        "ends.\n\n") + table(["", "process, private", "process, RSS", "kernel, both ends"], rows)


STARTS = {
    "memory": "store in memory", "sqlite": "new SQLite file (the default)", "sqlite, again": "SQLite file that is there",
}


def start(data):
    rows = [[STARTS[key], f"{one['median']:.1f}", f"{one['min']:.1f}", f"{one['max']:.1f}"] for key, one in data["rows"].items()]
    return "## The start\n\n" + f"From exec to the first answer, {data['starts']} times, ms.\n\n" + table(
        ["", "median", "best", "greatest"], rows)


KINDS = {
    "warm": "1 KB, warm session", "body": "100 KB", "cold": "1 KB, cold session",
    "sign-in": "sign-in with form, silent sign-in, exchange", "upload": "upload of 1 MB",
}


def mixed(data):
    done = [
        [KINDS[key], f"{one['count']:,}", f"{one['count'] / data['seconds']:,.0f}", f"{one['median']:.1f}", f"{one['p99']:.1f}"]
        for key, one in data["done"].items()]
    turns = []
    for loop, one in sorted(data["loops"].items()):
        all_turns = one["turns"]["+Inf"]
        turns.append([f"loop {loop}", f"{all_turns:,.0f}"] + [
            f"{all_turns - one['turns'][bound]:,.0f}" for bound in ("0.001", "0.005", "0.02")] + [f"{one['longest']:.1f}"])
    return "## Mixed load\n\n" + (
        f"`intercom serve` as shipped on all cores, beside its provider; all kinds at once for {data['seconds']} s. The load runs at low "
        "priority. Times are the client's, which is Python.\n\n") + table(
        ["kind", "done", "per second", "median ms", "p99 ms"], done) + "\n\nLag: how long the turns of the event loops worked.\n\n" + table(
        ["", "turns", "above 1 ms", "above 5 ms", "above 20 ms", "longest, ms"], turns)


def system_calls(data):
    rows = []
    for key, calls in data["peers"].items():
        often = sorted((name for name in calls if calls[name] >= 0.005), key=lambda name: -calls[name])
        rows.append([LABELS[key], f"{sum(calls.values()):.2f}", ", ".join(f"{name} {calls[name]:.2f}" for name in often)])
    return "## System calls per request\n\n" + table(["", "all", "which"], rows)


def memory(data):
    rows = []
    empty = {row["store"]: row["stored"] for row in data["rows"] if row["sessions"] == 0}
    for row in data["rows"]:
        base = empty.get(row["store"], row["stored"])
        cells = [row["store"], f"{row['sessions']:,}"]
        for state in ("stored", "used"):
            if state not in row:
                cells += ["–", "–"]
                continue
            cells.append(f"{row[state]['rss'] / 1e6:.1f} ({row[state]['pss'] / 1e6:.1f})")
            count = row["sessions"]
            cells.append(f"{(row[state]['rss'] - base['rss']) / count / 1000:.1f}" if count else "–")
        rows.append(cells)
    return "## Memory\n\n" + table(
        ["store", "sessions", "stored: RSS (PSS) MB", "KB per session", "each used once: RSS (PSS) MB", "KB per session"], rows)


def cold(data):
    rows = [
        [row["store"], f"{row['first']['median'] * 1000:.0f}", f"{row['first']['p99'] * 1000:.0f}", f"{row['second']['median'] * 1000:.0f}",
         f"{row['first']['cpu']:.0f}", f"{row['second']['cpu']:.0f}"] for row in data["rows"]]
    return "## A cold session\n\n" + f"{data['requests']:,} sessions, one after the other.\n\n" + table(
        ["store", "first request, median µs", "p99", "second request, median µs", "CPU µs, first", "CPU µs, second"], rows)


def login(data):
    def cell(one):
        return f"{one['median']:.1f} / {one['p99']:.1f}"
    rows = [
        [row["store"], cell(row["silent"]), cell(row["login"]), cell(row["exchange"]), f"{row['grown'] / 1000:.1f}"]
        for row in data["rows"]]
    return "## Signing in\n\n" + f"{data['logins']:,} of each, one after the other; median / p99 in ms.\n\n" + table(
        ["store", "silent sign-in", "sign-in with form", "first request with a token to exchange", "RSS per session, KB"], rows)


def storm(data):
    return "## A refresh storm\n\n" + (
        f"{data['sessions']:,} sessions whose access tokens have expired, two replicas on one Redis, a provider that takes {data['provider']} ms: "
        f"{data['answers']:,} requests at once, half of them at each replica, all answered 200.\n\n") + table(
        ["refreshes", "seconds until all were answered", "CPU s of both"],
        [[f"{data['refreshes']:,}", f"{data['seconds']:.1f}", f"{data['cpu']:.1f}"]])


def logout(data):
    return "## A logout of very many sessions\n\n" + (
        f"{data['sessions']:,} sessions of one user on two replicas that share a Redis end by one logout token without a `sid`: answered 200 after "
        f"{data['seconds']:.2f} s, of which 1.25 s wait for copies. Afterwards none of them is taken at either replica. Others, ms for a warm "
        f"request, {data['asked']:,} of them meanwhile:\n\n") + table(
        ["", "median", "p99"], [[name, f"{data[name]['median']:.2f}", f"{data[name]['p99']:.2f}"] for name in ("before", "during")])


TABLES = {
    "instructions": instructions, "browsers": browsers, "two-loops": two_loops, "system-calls": system_calls, "cpu": cpu, "bodies": bodies, "streams": streams,
    "idle": idle, "front": front, "idle-tls": idle_tls, "start": start, "mixed": mixed, "memory": memory, "cold": cold, "storm": storm, "logout": logout,
    "login": login,
}


def markdown(results):
    here = results["machine"]
    lines = [
        "# Results", "",
        "Made by `dev/bench`; [what the figures mean](README.md). Do not edit: run it again.", "",
        f"Machine: {here['processor']}, {here['cores']} cores, {here['memory']}; {here['system']}, kernel {here['kernel']}; "
        f"Swift {here['swift']}, {here['programs']}.",
    ]
    if results.get("note"):
        lines += ["", results["note"]]
    lines += ["", "## Budgets", "", table(["", "wish", "measured", ""], budget.rows(results["scenarios"]))]
    for name, make in TABLES.items():
        if name in results["scenarios"]:
            data = results["scenarios"][name]
            lines += ["", make(data), "", f"<sub>{data['when']}, commit {data['commit']}, load of the machine before {data['load']:.1f}</sub>"]
    return "\n".join(lines) + "\n"
