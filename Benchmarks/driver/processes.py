"""Processes that a run starts, what the kernel says of them, and how they are stopped again."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
# The measured process has a core for itself; load and upstream share the next one. With one core everything shares it.
SERVER_CORE = CORES[0]
OTHER_CORE = CORES[1] if len(CORES) > 1 else CORES[0]


class Failure(Exception):
    """Something did not work; the text says what and where to look."""


@dataclasses.dataclass
class Process:
    """A child of ours. Its output goes to a file; `lines` reads what it has written so far."""

    name: str
    child: subprocess.Popen
    log: str

    @property
    def pid(self):
        return self.child.pid

    def lines(self):
        with open(self.log, errors="replace") as file:
            return file.read().splitlines()

    def await_line(self, start, seconds):
        """The lines before the first one that begins with `start`."""
        limit = time.monotonic() + seconds
        while True:
            lines = self.lines()
            for index, line in enumerate(lines):
                if line.startswith(start):
                    return lines[:index]
            self.must_live("\n".join(lines[-5:]))
            if time.monotonic() > limit:
                raise Failure(f"{self.name} did not print {start!r} within {seconds} s: see {self.log}")
            time.sleep(0.05)

    def await_answer(self, url, seconds):
        limit = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(url, timeout=2 if seconds < 60 else 20) as answer:
                    if answer.status == 200:
                        return
            self.must_live("\n".join(self.lines()[-5:]))
            if time.monotonic() > limit:
                raise Failure(f"{self.name} did not answer at {url} within {seconds} s: see {self.log}")
            time.sleep(0.02)

    def must_live(self, last=""):
        if self.child.poll() is not None:
            raise Failure(f"{self.name} ended with {self.child.returncode}: see {self.log}\n{last}")

    def stop(self):
        if self.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def cpu(self):
        """User and system time so far, in seconds, of all threads."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) / TICKS, int(fields[12]) / TICKS

    def running_time(self):
        """CPU time so far in seconds, exact to the nanosecond, of the threads that live."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{self.pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def memory(self):
        """Resident and proportional set size, and what no other process shares, in bytes."""
        wanted = {"Rss:": 0, "Pss:": 0, "Private_Clean:": 0, "Private_Dirty:": 0}
        with open(f"/proc/{self.pid}/smaps_rollup") as file:
            for line in file:
                words = line.split()
                if words[0] in wanted:
                    wanted[words[0]] = int(words[1]) * 1024
        return {"rss": wanted["Rss:"], "pss": wanted["Pss:"], "private": wanted["Private_Clean:"] + wanted["Private_Dirty:"]}


class Stage:
    """A folder for files and the processes that end with it. Use it as a context."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.databases = []
        os.makedirs(folder, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.processes:
            self.processes.pop().stop()
        for path in self.databases:
            for ending in ("", "-wal", "-shm", ".lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path + ending)

    def path(self, name):
        return os.path.join(self.folder, name)

    def database(self):
        """Where a new SQLite file may lie, as long as this stage."""
        path = self.path(f"sessions-{time.time_ns()}.sqlite")
        self.databases.append(path)
        return path

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        return self.path(name)

    def start(self, name, command, core=OTHER_CORE, prefix=()):
        """Starts a program on a core, or on several when `core` is a list of them such as "0,1"."""
        log = self.path(name + ".log")
        with open(log, "wb") as output:
            child = subprocess.Popen(
                ["taskset", "-c", str(core), *prefix, *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                # Ctrl-C is ours: what it ends must be stopped in order, and a child must not get the signals of a terminal.
                start_new_session=True, cwd=self.folder)
        process = Process(name, child, log)
        self.processes.append(process)
        return process

    def stop(self, process):
        process.stop()
        self.processes.remove(process)
