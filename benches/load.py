"""The benchmarks of `towline bench`: what it costs, whether it tells the truth, how far it reaches."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import harness
from harness import NULL, PIPE, PREFIX, ROOT, Failure, Process
from harness import expect, in_turns, limit, progress

# What a run fails over.
IDLE_KIB = 10
TRUTH = 0.02
DELAYS = 0.01

CONNECTIONS = 100
REACH = 15_000
SEGMENTS = 4


def floor():
    """The least that a client and a server can cost, in C."""
    binary = PREFIX / "floor"
    source = ROOT / "benches" / "floor" / "floor.c"
    if subprocess.run(["cc", "-O2", "-o", binary, source, "-lm"], stdout=sys.stderr, check=False).returncode:
        raise Failure("a C compiler is needed")
    return binary


def floor_server(*args, mode="serve"):
    server = Process(floor(), mode, *args, stdin=NULL, stdout=PIPE)
    return server, server.port()


def bench(*args, code=(0,)):
    """The report of a run, with the CPU time of the whole process."""
    command = [harness.TOWLINE, "bench", *args, "--json", "--progress", "none"]
    with Process(*command, stdin=NULL, stdout=PIPE, stderr=PIPE) as run:
        said = run.popen.stdout.read()
        why = run.popen.stderr.read().decode()
        usage = run.usage()
        if run.popen.returncode not in code:
            raise Failure(f"bench ended with {run.popen.returncode}: {why}")
        return json.loads(said) | {"usage": usage, "code": run.popen.returncode}


def bench_cost(options, tables):
    """CPU time for each echoed message, beside a client that does nothing else."""
    rows = []
    server, port = floor_server()
    with server:
        for size, window, count in [(16, 1, 400_000), (128, 1, 400_000), (16, 64, 16_000_000), (128, 64, 16_000_000)]:
            count = int(count * options.scale)

            def drive(which, size=size, window=window, count=count):
                if which == "floor":
                    args = [port, CONNECTIONS, size, window, count]
                    with Process(floor(), "drive", *args, stdin=NULL, stdout=PIPE) as run:
                        said = json.loads(run.line())
                    expect("messages", said["messages"], count)
                    return {"cpu": said["cpu_s"] / count * 1e6, "rate": count / said["wall_s"]}
                load = ["-c", CONNECTIONS, "--in-flight", window, "--size", size, "-n", count]
                load += ["--warm-up", "0s", "--threads", 1, "--allow-limited"]
                report = bench(f"ws://127.0.0.1:{port}", *load)
                expect("messages", report["counts"]["received"], count)
                return {"cpu": report["usage"]["cpu"] / count * 1e6, "rate": report["rate"]["achieved"]}

            taken = in_turns(options.runs, {"floor": "floor", "towline bench": "towline"}, drive)
            rows += [
                [f"{name}, {size} B, {window} in flight", f"{it['cpu']:.3f}", f"{it['cpu'] / taken['floor']['cpu']:.2f}", f"{it['rate']:,.0f}"]
                for name, it in taken.items()
            ]
    head = ["100 connections, one thread", "CPU µs a message", "ratio", "messages/s"]
    tables.show("bench_cost: what a message costs the client", head, rows)


ARTILLERY_LOAD = """
config:
  target: "ws://127.0.0.1:{port}"
  phases: [{{duration: 1, arrivalRate: {users}}}]
scenarios:
  - engine: ws
    flow:
      - loop: [{{send: "0123456789abcdef"}}]
        count: {each}
"""


def bench_artillery(options, tables):
    """Messages for each second of CPU time, beside Artillery, which does not wait for answers.

    ARTILLERY names it; `npm install --ignore-scripts artillery` installs it."""
    artillery = os.environ.get("ARTILLERY") or shutil.which("artillery")
    if not artillery:
        raise Failure("Artillery is needed: npm install --ignore-scripts artillery, and ARTILLERY=PATH")
    count = int(200_000 * options.scale)
    users = 50
    server, port = floor_server()
    with server, tempfile.TemporaryDirectory() as folder:
        flow = Path(folder, "load.yml")
        flow.write_text(ARTILLERY_LOAD.format(port=port, users=users, each=count // users))

        def drive(which):
            if which == "artillery":
                with Process(artillery, "run", flow, stdin=NULL, stdout=PIPE, stderr=NULL) as run:
                    said = run.popen.stdout.read().decode()
                    usage = run.usage()
                expect("vusers.failed", int(re.findall(r"vusers.failed: \.+ (\d+)", said)[-1]), 0)
            else:
                load = ["-c", users, "--in-flight", which, "--size", 16, "-n", count, "--warm-up", "0s"]
                report = bench(f"ws://127.0.0.1:{port}", *load, "--threads", 1, "--allow-limited")
                expect("messages", report["counts"]["received"], count)
                usage = report["usage"]
            return {"rate": count / usage["cpu"]}

        contestants = {"artillery, sends only": "artillery", "towline bench, 1 in flight": 1, "towline bench, 64 in flight": 64}
        taken = in_turns(options.runs, contestants, drive)
    rows = [[name, f"{it['rate']:,.0f}"] for name, it in taken.items()]
    tables.show("bench_artillery: messages of 16 bytes, whole processes", ["50 connections", "messages/CPU s"], rows)


def bench_truth(options, tables):
    """A server that does nothing for one second in every ten."""
    seconds, rate = 20, 1000
    server, port = floor_server(1000, 10_000)
    with server:
        load = ["-c", 10, "--warm-up", "0s", "-d", f"{seconds}s", "--allow-limited"]
        opened = bench(f"ws://127.0.0.1:{port}", *load, "--rate", rate)
    server, port = floor_server(1000, 10_000)
    with server:
        closed = bench(f"ws://127.0.0.1:{port}", *load, "--in-flight", 1)
    # A tenth of the messages wait, for 0 to 1 s: above 0.9 s are a hundredth of all.
    want = 900_000
    rows = [
        ["computed", "open", f"{want / 1000:.0f}", "1000"],
        ["towline bench --rate 1000", opened["mode"]] + [f"{opened['response_us'][it] / 1000:.1f}" for it in ("p99", "max")],
        ["towline bench --in-flight 1", closed["mode"]] + [f"{closed['service_us'][it] / 1000:.1f}" for it in ("p99", "max")],
    ]
    head = ["a stall of 1 s every 10 s", "loop", "p99 ms", "max ms"]
    tables.show("bench_truth: whether a stall shows", head, rows)
    wrong = abs(opened["response_us"]["p99"] - want) / want
    limit("p99 under a stall is off", wrong * 100, TRUTH * 100, "%")
    expect("modes", (opened["mode"], closed["mode"]), ("open", "closed"))
    if closed["service_us"]["p99"] > want / 10:
        raise Failure("a closed loop shows the stall, which it cannot")


def bench_delays(options, tables):
    """A server that holds each answer back for 20 to 100 ms, and writes down for how long it did.

    The logarithms of the delays are evenly spread, so that their quantiles can be computed, too. Many
    answers overtake others: who takes them in turn, as --match order does, is wrong by more."""
    shortest, longest = 20_000, 100_000
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    count = int(100_000 * options.scale)

    def run(matching):
        with tempfile.TemporaryDirectory() as folder:
            server, port = floor_server(shortest, longest, f"{folder}/held", mode="delay")
            with server:
                load = ["-c", 100, "--rate", 5000, "-n", count, "--warm-up", "0s", "--match", matching]
                report = bench(f"ws://127.0.0.1:{port}", *load, "--allow-limited")
                server.popen.wait()
            held = sorted(int(line) / 1000 for line in Path(folder, "held").read_text().split())
        expect("answers", (report["counts"]["received"], len(held)), (count, count))
        service = [report["service_us"][name] for name in quantiles]
        return service, [held[math.ceil(q * count) - 1] for q in quantiles.values()]

    computed = [shortest * (longest / shortest) ** q for q in quantiles.values()]
    service, held = run("stamp")
    in_turn, held_again = run("order")

    def row(name, times, *others):
        return [name, *(f"{time / 1000:.3f}" for time in times), *(f"{off(times, other) * 100:.2f}" for other in others)]

    def off(times, others):
        return max(abs(time - other) / other for time, other in zip(times, others))

    rows = [
        row("computed", computed) + ["", ""],
        row("held back by the server", held, computed) + [""],
        row("towline bench", service, computed, held),
        row("towline bench --match order", in_turn, computed, held_again),
    ]
    head = ["answers after 20 to 100 ms", "p50 ms", "p90", "p99", "p99.9", "off the computed, %", "off the server's, %"]
    tables.show("bench_delays: whether percentiles are those of the server", head, rows)
    limit("percentiles are off the computed ones by", off(service, computed) * 100, DELAYS * 100, "%")
    limit("percentiles are off those of the server by", off(service, held) * 100, DELAYS * 100, "%")
    if off(in_turn, held_again) < DELAYS:
        raise Failure("answers that are taken in turn are not told from those that are matched")


def bench_pacer(options, tables):
    """How late messages are sent, at 50,000 a second by one thread."""
    server, port = floor_server()
    with server:

        def pace(_):
            load = ["-c", CONNECTIONS, "--rate", "50k", "--threads", 1, "-d", f"{5 * options.scale}s"]
            report = bench(f"ws://127.0.0.1:{port}", *load, "--allow-limited")
            lag = report["pacer_lag_us"]
            return {"p50": lag["p50"], "p99": lag["p99"], "p999": lag["p999"], "rate": report["rate"]["achieved"]}

        taken = in_turns(options.runs, {"50,000 a second": None}, pace)
    rows = [[name, *(f"{it[key]:,.0f}" for key in ("rate", "p50", "p99", "p999"))] for name, it in taken.items()]
    head = ["one thread, 100 connections", "achieved", "lag p50 µs", "p99", "p99.9"]
    tables.show("bench_pacer: how late messages are", head, rows)


def bench_reach(options, tables):
    """Many connections from one process, and from four segments over several addresses."""
    count = int(REACH * options.scale)
    load = ["--soak", "--ramp", "5k", "--warm-up", "0s", "-d", "5s", "--ping-interval", "5s", "--allow-limited"]
    server, port = floor_server()
    with server:
        few = bench(f"ws://127.0.0.1:{port}", *load, "-c", 1)
        many = bench(f"ws://127.0.0.1:{port}", *load, "-c", count)
    expect("connections", (many["counts"]["opened"], many["counts"]["closed"]), (count, 0))
    each = (many["client"]["max_rss"] - few["client"]["max_rss"]) / 1024 / count
    rows = [["one process", f"{count:,}", f"{each:.2f}", f"{many['ping_us']['count']:,}"]]
    with ExitStack() as stack:
        ports = []
        for _ in range(SEGMENTS):
            server, port = floor_server()
            stack.enter_context(server)
            ports.append(port)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        runs = []
        for i, port in enumerate(ports, 1):
            local = f"127.0.{i}.1-127.0.{i}.4"
            targets = [f"ws://127.0.0.1:{port}"]
            command = [harness.TOWLINE, "bench", *targets, *load, "-c", count * SEGMENTS]
            command += ["--segment", f"{i}/{SEGMENTS}", "--local-addr", local]
            command += [f"--json={folder}/{i}.json", "--progress", "none"]
            runs.append(stack.enter_context(Process(*command, stdin=NULL, stdout=NULL, stderr=PIPE)))
        for run in runs:
            run.usage()
            expect("exit code", run.popen.returncode, 0)
        reports = [json.loads(open(f"{folder}/{i}.json").read()) for i in range(1, SEGMENTS + 1)]
    opened = sum(report["counts"]["opened"] for report in reports)
    lost = sum(report["counts"]["closed"] for report in reports)
    expect("connections of all segments", (opened, lost), (count * SEGMENTS, 0))
    pings = sum(report["ping_us"]["count"] for report in reports)
    rows.append([f"{SEGMENTS} segments", f"{opened:,}", "", f"{pings:,}"])
    tables.show("bench_reach: idle connections", ["", "connections", "KiB each", "pings answered"], rows)
    limit("memory of a connection", each, IDLE_KIB, "KiB")


def bench_saturation(options, tables):
    """Two programs beside it that take all CPU time."""
    server, port = floor_server()
    hog = [sys.executable, "-c", "while True: pass"]
    rows = []
    with server, ExitStack() as stack:
        # The other core is the server's.
        load = ["-c", CONNECTIONS, "--rate", "20k", "-d", "5s", "--threads", 1]
        for hogs in (0, os.cpu_count()):
            for _ in range(hogs):
                stack.enter_context(Process(*hog, stdin=NULL, stdout=NULL))
            report = bench(f"ws://127.0.0.1:{port}", *load, code=(0, 4))
            rows.append([f"{hogs} hogs", report["validity"], str(report["code"]), f"{report['pacer_lag_us']['p99']:,}"])
            progress("")
    head = ["one thread, 20,000 a second", "validity", "exit code", "lag p99 µs"]
    tables.show("bench_saturation: whether the client says that it was the limit", head, rows)
    expect("without hogs", rows[0][1:3], ["ok", "0"])
    expect("with hogs", rows[1][1:3], ["client-limited", "4"])


BENCHMARKS = [bench_cost, bench_artillery, bench_truth, bench_delays, bench_pacer, bench_reach, bench_saturation]
