"""The benchmarks of `towline connect` and `towline serve`, beside websocat, socat and plain servers."""

import json
import os
import re
import signal
import tempfile
import time
from pathlib import Path

import harness
import load
from harness import GIB, MIB, NULL, PIPE, Process
from harness import by_usage, expect, free_port, hash_of, in_turns, limit, peer, progress
from harness import wait_for_listener, whole

# What a run fails over.
PIPE_PEAK_MIB = 32
IDLE_KIB = 6
COPIED_KIB = 256

# The size of a line that `peers lines` makes, with its newline.
LINE = 64
IDLE_PEERS = 5000
ECHO_PEERS = 100


# The servers


def towline_serve(*args):
    server = Process(harness.TOWLINE, "serve", *args, stdin=NULL, stdout=NULL, stderr=PIPE)
    return server, server.port("stderr")


def plain_echo(*read_buffer):
    server = peer("echo", *read_buffer, stdin=NULL)
    return server, server.port()


def websocat_mirror():
    port = free_port()
    server = Process(harness.WEBSOCAT, "-b", f"ws-l:127.0.0.1:{port}", "mirror:", stdin=NULL, stderr=NULL)
    wait_for_listener(port)
    return server, port


ECHO_SERVERS = {
    "towline serve echo:": lambda: towline_serve("ws://127.0.0.1:0", "echo:"),
    "tokio-tungstenite": plain_echo,
    "tokio-tungstenite, 8 KiB read buffer": lambda: plain_echo(8 << 10),
    "websocat mirror:": websocat_mirror,
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

    def down(command):
        return through_stdout(command, ["source", "data", size], want)

    towline = [harness.TOWLINE, "connect", "--frame", "raw", "--linger", "0", "-"]
    ups = in_turns(
        options.runs,
        {"towline connect --frame raw": towline, "websocat -b": [harness.WEBSOCAT, "-b"]},
        up,
    )
    tables.show("pipe: stdin to a WebSocket", head, by_usage(ups, size / GIB))
    downs = in_turns(
        options.runs,
        {"towline connect --frame raw": towline, "websocat -b -E": [harness.WEBSOCAT, "-b", "-E"]},
        down,
    )
    tables.show("pipe: a WebSocket to stdout", head, by_usage(downs, size / GIB))
    for medians in (ups, downs):
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


def path_echo(options, tables):
    """CPU time for each echoed message, beside a server that does nothing else; one client drives both."""
    rows = []
    for size, count in [(128, 400_000), (4096, 200_000)]:
        count = max(ECHO_PEERS, int(count * options.scale))

        def drive(start, size=size, count=count):
            server, port = start()
            with server:
                before = server.cpu()
                client = [load.floor(), "drive", port, ECHO_PEERS, size, 1, count]
                with Process(*client, stdin=NULL, stdout=PIPE) as run:
                    said = json.loads(run.line())
                expect("messages", said["messages"], count)
                cpu = server.cpu() - before
            return {"cpu": cpu / count * 1e6, "rate": count / said["wall_s"]}

        contestants = {
            "floor": load.floor_server,
            "towline serve echo:": lambda: towline_serve("ws://127.0.0.1:0", "echo:"),
        }
        taken = in_turns(options.runs, contestants, drive)
        rows += [
            [f"{name}, {size} B", f"{it['cpu']:.2f}", f"{it['cpu'] / taken['floor']['cpu']:.2f}", f"{it['rate']:,.0f}"]
            for name, it in taken.items()
        ]
    head = [f"{ECHO_PEERS} connections, 1 in flight", "CPU µs/message", "ratio", "messages/s"]
    tables.show("path_echo: what an echoed message costs the server", head, rows)


BENCHMARKS = [pipe, lines, idle, splice, echo, path_echo]
