"""The budgets: what Intercom may cost, and whether the results keep to it."""

SAME = "nginx, the same work"
INSTRUCTIONS = "user instructions, warm 1 KB request"
TIME = "CPU time"
ABOVE = "memory above start"

# Each: the scenario, what it is, the wish in words, (results of the scenario) -> (measured, limit), how the measured is shown.
BUDGETS = [
    ("instructions", f"{INSTRUCTIONS} ÷ {SAME}", "≤ 0.40", lambda data: (over(data, "nginx-same"), 0.4), "{:.2f}"),
    ("browsers", f"{INSTRUCTIONS}, four browsers in turn ÷ {SAME}", "≤ 0.40", lambda data: (over(data, "nginx-same"), 0.4), "{:.2f}"),
    ("two-loops", f"{INSTRUCTIONS}, two event loops ÷ one", "≤ 1.10", lambda data: (data["loops"]["2"] / data["loops"]["1"], 1.1), "{:.2f}"),
    # A connection's own calls and the loop's waits are a few hundredths.
    ("system-calls", "system calls, warm 1 KB request", "4", lambda data: (sum(data["peers"]["intercom"].values()), 4.25), "{:.2f}"),
    ("cpu", f"{TIME}, warm 1 KB request ÷ {SAME}", "≤ 1.00", lambda data: (over(data, "nginx-same", "all"), 1.0), "{:.2f}"),
    ("bodies", f"{TIME}, 100 KB ÷ HAProxy, the same work", "≤ 0.90", lambda data: (over(data, "haproxy-same", "all"), 0.9), "{:.2f}"),
    ("bodies", f"{TIME}, 1 GB ÷ {SAME}", "≤ 0.90", lambda data: (over(data, "nginx-same", "large"), 0.9), "{:.2f}"),
    ("bodies", f"{TIME}, 1 GB ÷ HAProxy, the same work", "≤ 0.90", lambda data: (over(data, "haproxy-same", "large"), 0.9), "{:.2f}"),
    ("idle", "memory of an idle connection, bytes", "≤ 1,024", lambda data: (data["peers"]["intercom"]["private"], 1024), "{:,.0f}"),
    ("streams", f"{ABOVE}, 1 GB download and slow readers, MB", "≤ 8", lambda data: (growth(data, "download"), 8), "{:.1f}"),
    ("streams", f"{ABOVE}, endless uploads, MB", "≤ 8", lambda data: (growth(data, "upload"), 8), "{:.1f}"),
    ("front", f"{TIME}, request over kept TLS 1.3 ÷ {SAME}", "≤ 0.80", lambda data: (front(data, "tls"), 0.8), "{:.2f}"),
    ("front", f"{TIME}, new TLS 1.3 connection ÷ {SAME}", "≤ 1.00", lambda data: (front(data, "handshake"), 1.0), "{:.2f}"),
    ("front", f"{TIME}, request over HTTP/2 ÷ {SAME}", "≤ 1.00", lambda data: (front(data, "http2"), 1.0), "{:.2f}"),
    ("idle-tls", "memory of an idle TLS connection, bytes", "≤ 16,384", lambda data: (data["peers"]["intercom"]["private"], 16384), "{:,.0f}"),
    ("start", "exec to first answer, new SQLite file, ms", "≤ 25", lambda data: (data["rows"]["sqlite"]["median"], 25), "{:.1f}"),
    ("storm", "refreshes ÷ sessions that expire together on two replicas", "1.00", lambda data: (data["refreshes"] / data["sessions"], 1.0), "{:.2f}"),
    ("logout", "seconds of a logout of 10,000 sessions in Redis", "≤ 2", lambda data: (data["seconds"], 2), "{:.2f}"),
    ("logout", "p99 of others meanwhile ÷ before", "< 2", lambda data: (data["during"]["p99"] / data["before"]["p99"], 2), "{:.2f}"),
    ("mixed", "longest lag of an event loop in the mixed load, ms", "< 5", lambda data: (longest_lag(data), 5), "{:.1f}"),
]


def over(data, peer, field=None):
    """Intercom's figure divided by a peer's; None when that was not measured."""
    ours, theirs = data["peers"]["intercom"], data["peers"].get(peer)
    if field and theirs is not None:
        ours, theirs = ours[field], theirs[field]
    # CPU time comes in ticks: a moment's load may take none.
    return ours / theirs if theirs else None


def front(data, kind):
    return over(data["kinds"][kind], "nginx-same", "all")


def growth(data, kind):
    return data["peers"]["intercom"][kind] / 1e6


def longest_lag(data):
    return max(one["longest"] for one in data["loops"].values())


def rows(scenarios):
    """Of every budget: what, wish, measured, verdict."""
    made = []
    for scenario, what, wish, judge, shown in BUDGETS:
        measured, limit = judge(scenarios[scenario]) if scenario in scenarios else (None, 0)
        verdict = "not measured" if measured is None else "met" if measured <= limit else "**not met**"
        made.append([what, wish, "–" if measured is None else shown.format(measured), verdict])
    return made
