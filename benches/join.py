"""The benchmarks of `towline connect` and `towline serve`, beside websocat, socat and plain servers."""

import json
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import harness
import load
from harness import GIB, MIB, NULL, PIPE, Failure, Process
from harness import by_usage, expect, free_port, hash_of, in_turns, limit, peer, progress
from harness import wait_for_listener, whole

# What a run fails over.
PIPE_PEAK_MIB = 32
IDLE_KIB = 6
COPIED_KIB = 256

# The size of a line that `peers lines` makes, with its newline.
LINE = 64
IDLE_PEERS = 5000
MESSAGE = 64 << 10

# Of `path_echo`: connections, size, kind, how many messages.
ECHOES = [
    (100, 16, "binary", 400_000),
    (100, 128, "binary", 400_000),
    (100, 128, "text", 400_000),
    (100, 1024, "binary", 300_000),
    (100, 4096, "binary", 200_000),
    (100, 4096, "text", 200_000),
    (100, 64 << 10, "binary", 20_000),
    (10, 1 << 20, "binary", 1_000),
    (10, 1 << 20, "text", 1_000),
    (1, 128, "binary", 50_000),
    (1_000, 128, "binary", 300_000),
    (9_000, 128, "binary", 300_000),
]
ECHO_PEERS = 100


# The servers


def towline_serve(*args):
    server = Process(harness.TOWLINE, "serve", *args, stdin=NULL, stdout=NULL, stderr=PIPE)
    return server, server.port("stderr")


def plain_echo(*read_buffer):
    return listening(peer("echo", *read_buffer, stdin=NULL))


def websocat_server(target):
    port = free_port()
    server = Process(harness.WEBSOCAT, "-b", f"ws-l:127.0.0.1:{port}", target, stdin=NULL, stderr=NULL)
    wait_for_listener(port)
    return server, port


def listening(server):
    return server, server.port()


ECHO_SERVERS = {
    "towline serve echo:": lambda: towline_serve("ws://127.0.0.1:0", "echo:"),
    "tokio-tungstenite": plain_echo,
    "tokio-tungstenite, 8 KiB read buffer": lambda: plain_echo(8 << 10),
    "websocat mirror:": lambda: websocat_server("mirror:"),
}


# The benchmarks


def pipe(options, tables):
    """1 GiB through a client: from stdin into a WebSocket, and from a WebSocket to stdout.

    Like websocat, towline is told not to wait for a late reply when its stdin has ended."""
    size = int(GIB * options.scale)
    want = hash_of("data", size)
    head = ["", "CPU s/GiB", "ratio", "wall s/GiB", "peak MiB"]

    def up(command):
        return through_stdin(command, ["data", size], ["sink"], want)[0]

    def up_counted(command):
        return through_stdin(command, ["data", size], ["flow", "ws-count"], size)[0]

    def down(command):
        return through_stdout(command, ["source", "data", size], want)

    towline = [harness.TOWLINE, "connect", "--frame", "raw", "--linger", "0", "-"]
    clients = {"towline connect --frame raw": towline, "websocat -b": [harness.WEBSOCAT, "-b"]}
    taken = []
    for title, measure, alone, check in (
        ("pipe: stdin to a WebSocket", up, "the pipe alone, to a hash", "digest"),
        ("pipe: stdin to a WebSocket that is only counted", up_counted, "the pipe alone", "count"),
    ):
        taken.append(in_turns(options.runs, clients, measure))
        pipes = in_turns(options.runs, {alone: ["data", size, check]}, pipe_alone)
        rows = by_usage(taken[-1], size / GIB)
        rows.append([alone, "", "", f"{pipes[alone]['wall'] / (size / GIB):.2f}", ""])
        tables.show(title, head, rows)
    clients["websocat -b -E"] = clients.pop("websocat -b") + ["-E"]
    taken.append(in_turns(options.runs, clients, down))
    tables.show("pipe: a WebSocket to stdout", head, by_usage(taken[-1], size / GIB))
    for medians in taken:
        peak = medians["towline connect --frame raw"]["peak"]
        limit("peak memory of towline connect", peak, PIPE_PEAK_MIB, "MiB")


def lines(options, tables):
    """1 GiB of lines, each a text message, both ways: what `connect - ws://` does unless told otherwise."""
    count = int(GIB / LINE * options.scale)
    want = hash_of("lines", count)
    head = ["", "CPU s/GiB", "ratio", "wall s/GiB", "peak MiB"]

    def up(contestant):
        command, sink = contestant
        usage, messages = through_stdin(command, ["lines", count], sink, want)
        expect(f"messages from {Path(command[0]).name}", messages, count)
        return usage

    def down(command):
        return through_stdout(command, ["source", "lines", count], want)

    towline = [harness.TOWLINE, "connect", "--linger", "0", "-"]
    # websocat leaves the newline in the message, so none is added before it is hashed.
    ups = in_turns(
        options.runs,
        {
            "towline connect": (towline, ["sink", "--lines"]),
            "websocat": ([harness.WEBSOCAT], ["sink"]),
        },
        up,
    )
    per = count * LINE / GIB
    tables.show(f"lines: {count:,} lines of stdin, a message each", head, by_usage(ups, per))
    downs = in_turns(
        options.runs,
        {"towline connect": towline, "websocat -E": [harness.WEBSOCAT, "-E"]},
        down,
    )
    tables.show(f"lines: {count:,} messages, each a line of stdout", head, by_usage(downs, per))
    for medians in (ups, downs):
        limit("peak memory of towline connect", medians["towline connect"]["peak"], PIPE_PEAK_MIB, "MiB")


def pipe_alone(words):
    """`peers data SIZE | peers CHECK`: no client can be faster than what feeds and checks it"""
    *payload, check = words
    with peer(*payload) as near, peer(check, stdin=near.popen.stdout) as far:
        near.popen.stdout.close()
        far.line()
        return far.usage()


def through_stdin(command, payload, sink, want):
    """`peers PAYLOAD | COMMAND ws://SINK`"""
    with peer(*sink) as far:
        url = f"ws://127.0.0.1:{far.port()}"
        with peer(*payload) as near, Process(*command, url, stdin=near.popen.stdout) as tool:
            near.popen.stdout.close()
            usage = tool.usage()
        messages = whole(f"what came through {tool.name}", far.line(), want)
    expect(f"exit code of {tool.name}", tool.popen.returncode, 0)
    return usage, messages


def through_stdout(command, source, want):
    """`COMMAND ws://SOURCE | peers digest`, with a stdin that stays open"""
    with peer(*source) as far:
        url = f"ws://127.0.0.1:{far.port()}"
        with Process(*command, url, stdin=PIPE, stdout=PIPE) as tool:
            with peer("digest", stdin=tool.popen.stdout) as near:
                tool.popen.stdout.close()
                usage = tool.usage()
                whole(f"what came through {tool.name}", near.line(), want)
    expect(f"exit code of {tool.name}", tool.popen.returncode, 0)
    return usage


def idle(options, tables):
    """5,000 WebSockets that have each echoed one message and then say nothing."""

    # Not scaled: what the first peers cost once has to vanish among the many.
    count = IDLE_PEERS

    def resident(start):
        server, port = start()
        url = f"ws://127.0.0.1:{port}"
        with server:
            before = server.status("VmRSS")
            with peer("clients", url, count, 16, 1, stdin=PIPE) as clients:
                expect("clients", clients.line(), "ready")
                after = server.status("VmRSS")
                clients.say()
                expect("echoes", json.loads(clients.line())["messages"], count)
        return {"base": before / 1024, "per peer": (after - before) / count}

    medians = in_turns(options.runs, ECHO_SERVERS, resident)
    first = next(iter(medians.values()))["per peer"]
    rows = [
        [name, f"{it['per peer']:.1f}", f"{it['per peer'] / first:.2f}", f"{it['base']:.1f}"]
        for name, it in medians.items()
    ]
    head = ["", "KiB per peer", "ratio", "MiB before"]
    tables.show(f"idle: resident memory of {count:,} quiet WebSockets", head, rows)
    limit("memory of an idle peer of towline serve", first, IDLE_KIB, "KiB")


def splice(options, tables):
    """1 GiB from TCP to TCP, and what the kernel was asked to do for it."""
    size = int(GIB * options.scale)
    want = hash_of("data", size)

    def through_tcp(start):
        with peer("tcp-sink") as far:
            server, port = start(far.port())
            with server, peer("tcp-source", size, port) as near:
                while near.popen.poll() is None:
                    server.look()
                    time.sleep(0.005)
                whole(f"what came through {server.name}", far.line(), want)
                os.kill(server.pid, signal.SIGTERM)
                return server.usage()

    medians = in_turns(
        options.runs,
        {
            "towline serve tcp: tcp:": lambda port: towline_serve(
                "tcp://127.0.0.1:0", f"tcp://127.0.0.1:{port}"
            ),
            "socat -b65536": socat,
        },
        through_tcp,
    )
    head = ["", "CPU s/GiB", "ratio", "wall s/GiB", "peak MiB"]
    (spliced, calls), (copied, copies) = traced(size // 4)
    note = (
        f"strace over {size / 4 / MIB:.1f} MiB: {spliced / MIB:.1f} MiB in {calls:,} calls of splice, "
        f"{copied >> 10} KiB in {copies:,} calls of all kinds of read and write."
    )
    tables.show("splice: TCP to TCP", head, by_usage(medians, size / GIB), note)
    # A chunk each way before the first splice, and the runtime waking its own threads.
    limit("copied beside splice", copied >> 10, COPIED_KIB, "KiB")


def socat(target):
    port = free_port()
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1"
    server = Process("socat", "-b65536", listen, f"TCP:127.0.0.1:{target}", stdin=NULL)
    wait_for_listener(port)
    return server, port


def traced(size):
    """Bytes and calls, in towline while it moves `size` bytes: of splice into a socket, and of all
    that copies."""
    progress(f"strace over {size >> 20} MiB")
    kinds = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,sendfile,splice"
    with tempfile.NamedTemporaryFile("r") as log, peer("tcp-sink") as far:
        server, port = towline_serve("tcp://127.0.0.1:0", f"tcp://127.0.0.1:{far.port()}")
        # Attached when it is up, so that what starting takes is not counted.
        tracer = ["strace", "-f", "-s0", "-e", f"trace={kinds}", "-o", log.name, "-p", server.pid]
        with server, Process(*tracer, stderr=PIPE) as strace:
            strace.line("stderr")
            with peer("tcp-source", size, port) as near:
                near.popen.wait()
            expect("bytes through strace", json.loads(far.line())["bytes"], size)
            os.kill(server.pid, signal.SIGTERM)
            strace.popen.wait()
        # A call that was interrupted by a line of another thread ends on a `resumed` line.
        done = re.findall(r"(\w+)(?:\(| resumed).* = (\d+)$", log.read(), re.M)
    spliced = [int(moved) for call, moved in done if call == "splice"]
    copied = [int(moved) for call, moved in done if call != "splice"]
    # Every byte is spliced twice: into a pipe and out of it.
    return (sum(spliced) // 2, len(spliced)), (sum(copied), len(copied))


def bridge(options, tables):
    """1 GiB through a server between a WebSocket and TCP, each way, in messages of 64 KiB.

    wstunnel is in no registry; the bridge on fastwebsockets does what it does, and with its library.
    To TCP, all that arrives is compared once for each, before it is timed; to compare costs as much as to bridge,
    so while it is timed, one piece in 16 is."""
    size = int(GIB * options.scale)
    head = ["", "MiB/s", "ratio", "CPU s/GiB", "ratio", "peak MiB"]

    def up(start, every=16):
        with peer("flow", "tcp-sink", size, every) as far:
            server, port = start(far.port())
            with server, peer("flow", "ws-source", size, port, MESSAGE):
                return through(server, far)

    def down(start):
        with peer("flow", "tcp-source", size) as far:
            server, port = start(far.port())
            with server, peer("flow", "ws-sink", size, port) as near:
                return through(server, near)

    def through(server, checker):
        rate = size / MIB / json.loads(checker.line())["seconds"]
        server.look()
        return {"rate": rate, "cpu": server.cpu() / (size / GIB), "peak": server.peak_kib / 1024}

    bridges = {
        "towline serve ws: tcp:": lambda far: towline_serve("ws://127.0.0.1:0", f"tcp://127.0.0.1:{far}"),
        "fastwebsockets, as wstunnel": lambda far: listening(peer("bridge", far)),
        "websocat -b ws-l: tcp:": lambda far: websocat_server(f"tcp:127.0.0.1:{far}"),
    }
    for start in bridges.values():
        up(start, every=1)
    for title, measure in (("a WebSocket to TCP", up), ("TCP to a WebSocket", down)):
        medians = in_turns(options.runs, bridges, measure)
        first = next(iter(medians.values()))
        rows = [
            [name, f"{it['rate']:.0f}", f"{it['rate'] / first['rate']:.2f}"]
            + [f"{it['cpu']:.2f}", f"{it['cpu'] / first['cpu']:.2f}", f"{it['peak']:.1f}"]
            for name, it in medians.items()
        ]
        tables.show(f"bridge: {title}, messages of 64 KiB", head, rows)


def echo(options, tables):
    """100 WebSockets that send a message, wait for it to come back, and send the next."""
    rounds = max(1, int(3000 * options.scale))
    for size in (128, 4096):

        def ping_pong(start):
            server, port = start()
            url = f"ws://127.0.0.1:{port}"
            with server, peer("clients", url, ECHO_PEERS, size, rounds, stdin=PIPE) as clients:
                expect("clients", clients.line(), "ready")
                before = server.cpu()
                clients.say()
                done = json.loads(clients.line())
                cpu = server.cpu() - before
            return {"cpu": cpu / done["messages"] * 1e6, "rate": done["messages"] / done["seconds"]}

        medians = in_turns(options.runs, ECHO_SERVERS, ping_pong)
        first = next(iter(medians.values()))["cpu"]
        rows = [
            [name, f"{it['cpu']:.2f}", f"{it['cpu'] / first:.2f}", f"{it['rate']:,.0f}"]
            for name, it in medians.items()
        ]
        head = ["", "CPU µs/message", "ratio", "messages/s"]
        title = f"echo: {ECHO_PEERS} WebSockets, messages of {size} bytes"
        tables.show(title, head, rows)


def driven(start, connections, size, count, *kind):
    """CPU time of a server for each message that a client of the least cost has back from it."""
    server, port = start()
    with server:
        before = server.cpu()
        client = [load.floor(), "drive", port, connections, size, 1, count, *kind]
        with Process(*client, stdin=NULL, stdout=PIPE) as run:
            said = json.loads(run.line())
        expect("messages", said["messages"], count)
        return {"cpu": (server.cpu() - before) / count * 1e6, "rate": count / said["wall_s"]}


def path_echo(options, tables):
    """CPU time for each echoed message, beside a server that does nothing else; one client drives both."""
    contestants = {
        "floor": load.floor_server,
        "towline": lambda: towline_serve("ws://127.0.0.1:0", "echo:"),
    }
    rows = []
    for connections, size, kind, count in ECHOES:
        count = max(connections, int(count * options.scale))

        def echoed(start, connections=connections, size=size, kind=kind, count=count):
            return driven(start, connections, size, count, *(["text"] if kind == "text" else []))

        taken = in_turns(options.runs, contestants, echoed)
        floor, towline = taken["floor"], taken["towline"]
        rows.append(
            [f"{connections:,} x {size:,} B, {kind}", f"{floor['cpu']:.2f}", f"{towline['cpu']:.2f}"]
            + [f"{towline['cpu'] / floor['cpu']:.2f}", f"{floor['rate']:,.0f}", f"{towline['rate']:,.0f}"]
        )
    head = ["connections, 1 in flight", "floor, CPU µs/message", "towline", "ratio", "floor, messages/s", "towline"]
    tables.show("path_echo: what an echoed message costs the server", head, rows)


def path_join(options, tables):
    """CPU time of a server between two connections for each message that goes there and back."""
    rows = []
    for size, count in [(128, 200_000), (4096, 100_000)]:
        count = max(ECHO_PEERS, int(count * options.scale))
        for far, mode in (("ws", "serve"), ("tcp", "bytes")):

            def joined(start, far=far, mode=mode, size=size, count=count):
                target, port = load.floor_server(mode=mode)
                with target:
                    url = f"{far}://127.0.0.1:{port}"
                    return driven(lambda: start(url), ECHO_PEERS, size, count)

            contestants = {
                "towline serve ws:": lambda url: towline_serve("ws://127.0.0.1:0", url),
                "websocat -b ws-l:": lambda url: websocat_server(url.replace("tcp://", "tcp:")),
            }
            taken = in_turns(options.runs, contestants, joined)
            first = taken["towline serve ws:"]["cpu"]
            rows += [
                [f"{name} {far}:, {size} B", f"{it['cpu']:.2f}", f"{it['cpu'] / first:.2f}", f"{it['rate']:,.0f}"]
                for name, it in taken.items()
            ]
    head = [f"{ECHO_PEERS} connections, 1 in flight", "CPU µs/message", "ratio", "messages/s"]
    tables.show("path_join: what a message there and back costs between two", head, rows)


def path_calls(options, tables):
    """User instructions for each echoed message, which do not depend on what else a machine does."""
    if not shutil.which("valgrind"):
        raise Failure("path_calls needs valgrind; apt-get install valgrind")
    contestants = {
        "floor": [load.floor(), "serve"],
        "towline": [harness.TOWLINE, "serve", "ws://127.0.0.1:0", "echo:"],
    }
    rows = []
    for size, kind in [(16, "binary"), (128, "binary"), (128, "text"), (4096, "binary"), (4096, "text"), (65536, "binary")]:
        counts = []
        for name, command in contestants.items():
            # What starting takes is in both, and goes.
            few, many = (instructions(command, name == "towline", size, kind, n) for n in (500, 2500))
            counts.append((many - few) / 2000)
        rows.append([f"{size:,} B, {kind}", *(f"{it:,.0f}" for it in counts)])
    tables.show("path_calls: user instructions for an echoed message", ["10 connections", "floor", "towline"], rows)


def instructions(command, on_stderr, size, kind, count):
    progress(f"callgrind: {Path(command[0]).name}, {size} B, {kind}, {count} messages")
    with tempfile.NamedTemporaryFile("r") as log:
        tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log.name}"]
        pipes = {"stdout": NULL, "stderr": PIPE} if on_stderr else {"stdout": PIPE}
        with Process(*tool, *command, stdin=NULL, **pipes) as server:
            port = server.port("stderr" if on_stderr else "stdout")
            client = [load.floor(), "drive", port, 10, size, 1, count]
            with Process(*client, *(["text"] if kind == "text" else []), stdin=NULL, stdout=PIPE) as run:
                expect("messages", json.loads(run.line())["messages"], count)
            os.kill(server.pid, signal.SIGTERM)
            server.popen.wait()
        return int(re.search(r"Collected : (\d+)", log.read()).group(1))


BENCHMARKS = [pipe, lines, idle, splice, bridge, echo, path_echo, path_join, path_calls]
