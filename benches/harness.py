"""What all benchmarks use: processes that are measured, contestants in turns, tables."""

import hashlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PREFIX = ROOT / "target" / "bench-peers"
PIPE, NULL = subprocess.PIPE, subprocess.DEVNULL
MIB, GIB = 1 << 20, 1 << 30

# The binaries under test, known once a run has begun.
TOWLINE = WEBSOCAT = None


class Failure(Exception):
    """A byte that was lost, a limit that was passed, or a tool that is not there."""


# Processes


class Process:
    """A process that is measured or helps to measure; killed when its `with` block ends."""

    alive = []

    def __init__(self, *args, **pipes):
        self.name = Path(args[0]).name
        self.started = time.monotonic()
        self.popen = subprocess.Popen([str(arg) for arg in args], **pipes)
        self.pid = self.popen.pid
        self.peak_kib = 0
        Process.alive.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        Process.alive.remove(self)
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe:
                pipe.close()
        if self.popen.returncode is None:
            self.popen.kill()
            self.popen.wait()

    def line(self, stream="stdout"):
        """The next line it says."""
        line = getattr(self.popen, stream).readline()
        if not line:
            raise Failure(f"{self.name} ended too early")
        return line.decode().strip()

    def port(self, stream="stdout"):
        """The port of its `listening ...` line."""
        return int(re.search(r"(\d+)/?$", self.line(stream)).group(1))

    def say(self, line=""):
        self.popen.stdin.write(f"{line}\n".encode())
        self.popen.stdin.flush()

    def status(self, key):
        """A figure of /proc/PID/status, in KiB; 0 once the process has ended."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(rf"^{key}:\s*(\d+)", status, re.M)
        return int(found.group(1)) if found else 0

    def cpu(self):
        """The CPU seconds so far, in steps of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def look(self):
        """Notes the peak of memory. The one that wait4 returns is never below that of this script,
        which the process was forked from."""
        self.peak_kib = max(self.peak_kib, self.status("VmHWM"))

    def usage(self):
        """Waits for the end."""
        while True:
            self.look()
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.005)
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        return {
            "cpu": usage.ru_utime + usage.ru_stime,
            "wall": time.monotonic() - self.started,
            "peak": self.peak_kib / 1024,
        }


def peer(*args, **pipes):
    return Process(PREFIX / "release" / "peers", *args, **({"stdout": PIPE} | pipes))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_listener(port):
    """Looks in the kernel's table, since some listeners take one connection only."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    while wanted not in Path("/proc/net/tcp").read_text():
        time.sleep(0.005)


# Measuring and showing


def in_turns(runs, contestants, measure):
    """The medians of each contestant. The order turns round every time, so that a machine that
    gets busier or hotter is no one's gain."""
    samples = {name: [] for name in contestants}
    for run in range(runs):
        order = list(contestants)
        for name in order if run % 2 == 0 else reversed(order):
            progress(f"{measure.__name__} {run + 1}/{runs}: {name}")
            samples[name].append(measure(contestants[name]))
    return {
        name: {key: statistics.median(sample[key] for sample in taken) for key in taken[0]}
        for name, taken in samples.items()
    }


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def expect(what, got, want):
    if got != want:
        raise Failure(f"{what}: {got}, not {want}")


def limit(what, got, at_most, unit):
    if got > at_most:
        raise Failure(f"{what}: {got:.1f} {unit}, over the limit of {at_most} {unit}")


def hash_of(*args):
    """What `peers ARGS` writes: its length and hash."""
    sha256, length = hashlib.sha256(), 0
    with peer(*args) as source:
        while piece := source.popen.stdout.read(MIB):
            sha256.update(piece)
            length += len(piece)
    return length, sha256.hexdigest()


def whole(what, said, want):
    """Compares what was said of a payload with its length and hash, or with its length alone."""
    got = json.loads(said)
    expect(what, (got["bytes"], got["sha256"]) if isinstance(want, tuple) else got["bytes"], want)
    return got.get("messages")


class Tables:
    def __init__(self, markdown):
        self.markdown = markdown

    def show(self, title, head, rows, note=""):
        progress("")
        print(f"\n### {title}\n" if self.markdown else f"\n{title}")
        if self.markdown:
            print(f"| {' | '.join(head)} |\n|---|{'--:|' * (len(head) - 1)}")
            for row in rows:
                print(f"| {' | '.join(row)} |")
        else:
            widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
            for row in [head, *rows]:
                cells = [row[0].ljust(widths[0])]
                cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
                print("  " + "  ".join(cells))
        if note:
            print(f"\n{note}" if self.markdown else f"  {note}")
        sys.stdout.flush()


def by_usage(medians, per=1.0):
    """Rows of CPU, ratio, wall and peak; the first contestant is the measure."""
    first = next(iter(medians.values()))["cpu"]
    return [
        [
            name,
            f"{it['cpu'] / per:.2f}",
            f"{it['cpu'] / first:.2f}",
            f"{it['wall'] / per:.2f}",
            f"{it['peak']:.1f}",
        ]
        for name, it in medians.items()
    ]
