"""The benchmarks of `towline proxy`, beside nginx and HAProxy. See `run`."""

import contextlib
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import harness
from harness import NULL, PIPE, Failure, Process
from harness import expect, free_port, in_turns, limit, peer, wait_for_listener

# Connections through one process: each takes two descriptors, and there are 20,000.
IDLE = 9000
# Processes at one address, and how long all is quiet.
PROCESSES, QUIET = 6, 90

# Connections that talk while the configuration is read anew, and how often it is.
TALKING, RELOADS = 1000, 20

# What a run fails over, in bytes a connection and MiB in all.
IDLE_BYTES, IDLE_TLS_BYTES, MANY_MIB = 1024, 11 << 10, 100


# The proxies


@contextlib.contextmanager
def towline(folder, backend, tls):
    front = "https" if tls else "http"
    flags = ["--cert", f"{folder}/cert.pem", "--key", f"{folder}/key.pem"] if tls else []
    args = [f"{front}://127.0.0.1:0", f"ws://127.0.0.1:{backend}", *flags, "--max-peers", "20000"]
    with Process(harness.TOWLINE, "proxy", *args, stdin=NULL, stdout=NULL, stderr=PIPE) as process:
        yield process, process.port("stderr")


@contextlib.contextmanager
def nginx(folder, backend, tls):
    """The block of NGINX's own article on WebSockets, as one process."""
    port = free_port()
    secure = f"ssl_protocols TLSv1.3; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;" if tls else ""
    Path(folder, "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
        worker_rlimit_nofile 20000;
        events {{ worker_connections 19900; }}
        http {{
            access_log off;
            map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
            upstream websocket {{ server 127.0.0.1:{backend}; }}
            server {{
                listen 127.0.0.1:{port} {"ssl" if tls else ""} backlog=4096; {secure}
                location / {{
                    proxy_pass http://websocket;
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    proxy_set_header Host $host;
                    proxy_read_timeout 1h;
                }}
            }}
        }}
        """
    )
    with Process(program("nginx"), "-p", folder, "-c", f"{folder}/nginx.conf", stdin=NULL, stderr=NULL) as process:
        wait_for_listener(port)
        yield process, port


@contextlib.contextmanager
def haproxy(folder, backend, tls):
    port = free_port()
    pem = Path(folder, "both.pem")
    pem.write_text(Path(folder, "cert.pem").read_text() + Path(folder, "key.pem").read_text())
    Path(folder, "haproxy.cfg").write_text(
        f"""
        global
            maxconn 9500
            nbthread 1
        defaults
            mode http
            timeout connect 10s
            timeout client 1h
            timeout server 1h
            timeout tunnel 1h
        frontend front
            bind 127.0.0.1:{port} {f"ssl crt {pem}" if tls else ""} backlog 4096
            default_backend back
        backend back
            server one 127.0.0.1:{backend}
        """.replace("\n        ", "\n")
    )
    with Process(program("haproxy"), "-db", "-f", f"{folder}/haproxy.cfg", stdin=NULL, stdout=NULL, stderr=NULL) as process:
        wait_for_listener(port)
        yield process, port


PROXIES = {"towline proxy": towline, "nginx": nginx, "HAProxy": haproxy}


def program(name):
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if not found:
        raise Failure(f"proxy needs {name}; apt-get install {name}")
    return found


@contextlib.contextmanager
def behind(proxy, tls=False):
    """A proxy in front of an echo server: the process, and the URL."""
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(folder)
        with peer("echo", 4 << 10, stdin=NULL) as backend:
            with proxy(folder, backend.port(), tls) as (process, port):
                yield process, f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/"


def make_certificate(folder):
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    out = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    subprocess.run(["openssl", "req", "-x509", *key, *subject, *out], check=True, capture_output=True)


# The benchmarks


def proxy_idle(options, tables):
    """9,000 WebSockets through a proxy that have each echoed one message, and then say nothing."""
    for tls in (False, True):

        def resident(proxy):
            with behind(proxy, tls) as (process, url):
                before, cpu = process.status("VmRSS"), process.cpu()
                with peer("clients", url, IDLE, 128, 1, stdin=PIPE) as clients:
                    expect("clients", clients.line(), "ready")
                    after, cpu = process.status("VmRSS"), process.cpu() - cpu
                    clients.say()
                    expect("echoes", json.loads(clients.line())["messages"], IDLE)
            return {"bytes": (after - before) * 1024 / IDLE, "base": before / 1024, "cpu": cpu / IDLE * 1e6}

        medians = in_turns(options.runs, PROXIES, resident)
        first = next(iter(medians.values()))
        rows = [
            [name, f"{it['bytes']:,.0f}", f"{it['bytes'] / first['bytes']:.2f}", f"{it['base']:.1f}", f"{it['cpu']:.0f}"]
            for name, it in medians.items()
        ]
        what = "wss" if tls else "ws"
        head = ["", "bytes per WebSocket", "ratio", "MiB before", "CPU µs to open"]
        tables.show(f"proxy: resident memory of {IDLE:,} quiet WebSockets, {what} in front", head, rows)
        most = IDLE_TLS_BYTES if tls else IDLE_BYTES
        limit(f"memory of a quiet WebSocket ({what})", first["bytes"], most, "bytes")


def proxy_echo(options, tables):
    """CPU of a proxied message: one after the other, many in flight, large ones."""
    for title, connections, size, rounds, window in (
        ("50 WebSockets, 128 bytes, one at a time", 50, 128, 4000, 1),
        ("50 WebSockets, 128 bytes, 16 in flight", 50, 128, 16000, 16),
        ("500 WebSockets, 4 KiB, one at a time", 500, 4096, 200, 1),
        ("4 WebSockets, 64 KiB, 4 in flight", 4, 65536, 4096, 4),
    ):
        rounds = max(1, int(rounds * options.scale))
        measured(options, tables, f"proxy: {title}", (connections, size, rounds, window))


def proxy_article(options, tables):
    """The second test of NGINX's article: 500 connections, 50 messages each, 1 to 4096 bytes, no delay."""
    title = "proxy: 500 WebSockets, 50 messages each of 1 to 4096 bytes, no delay"
    measured(options, tables, title, (500, "1-4096", 50, 1))


def measured(options, tables, title, plan):
    connections, size, rounds, window = plan

    def cost(proxy):
        with behind(proxy) as (process, url):
            with peer("clients", url, connections, size, rounds, window, stdin=PIPE) as clients:
                expect("clients", clients.line(), "ready")
                before = process.cpu()
                clients.say()
                done = json.loads(clients.line())
                cpu = process.cpu() - before
                process.look()
        count = done["messages"]
        return {
            "cpu": cpu / count * 1e6,
            "rate": count / max(done["seconds"], 1e-3),
            "p50": done["p50"] * 1e3,
            "p99": done["p99"] * 1e3,
            "peak": process.peak_kib / 1024,
        }

    medians = in_turns(options.runs, PROXIES, cost)
    first = next(iter(medians.values()))["cpu"] or 1e-9
    rows = [
        [
            name,
            f"{it['cpu']:.2f}",
            f"{it['cpu'] / first:.2f}",
            f"{it['rate']:,.0f}",
            f"{it['p50']:.2f}",
            f"{it['p99']:.2f}",
            f"{it['peak']:.1f}",
        ]
        for name, it in medians.items()
    ]
    head = ["", "CPU µs/message", "ratio", "messages/s", "p50 ms", "p99 ms", "peak MiB"]
    tables.show(title, head, rows)


def proxy_sessions(options, tables):
    """CPU of a whole session: connect, 10 messages, close."""
    count = max(32, int(5000 * options.scale))

    def cost(proxy):
        with behind(proxy) as (process, url):
            before = process.cpu()
            with peer("sessions", url, count, 32, 128, 10) as clients:
                seconds = json.loads(clients.line())["seconds"]
            return {"cpu": (process.cpu() - before) / count * 1e6, "rate": count / seconds}

    medians = in_turns(options.runs, PROXIES, cost)
    first = next(iter(medians.values()))["cpu"]
    rows = [
        [name, f"{it['cpu']:.0f}", f"{it['cpu'] / first:.2f}", f"{it['rate']:,.0f}"]
        for name, it in medians.items()
    ]
    tables.show("proxy: sessions of 10 messages", ["", "CPU µs/session", "ratio", "sessions/s"], rows)


def proxy_many(options, tables):
    """54,000 WebSockets over six processes at one address, quiet for 90 s, and then all alive."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        backends = [enter(peer("echo", 4 << 10, stdin=NULL)) for _ in range(PROCESSES)]
        proxies = []
        for backend in backends:
            flags = ["--reuse-port", "--threads", "1", "--max-peers", "20000"]
            args = [f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{backend.port()}", *flags]
            proxies.append(enter(Process(harness.TOWLINE, "proxy", *args, stdin=NULL, stdout=NULL, stderr=PIPE)))
        for proxy in proxies:
            proxy.port("stderr")
        base = sum(proxy.status("VmRSS") for proxy in proxies)
        url = f"ws://127.0.0.1:{port}/"
        clients = []
        for number in range(PROCESSES):
            # One address has too few ports for all of them.
            source = f"127.0.0.{10 + number}"
            clients.append(enter(peer("clients", url, IDLE, 128, 1, 1, source, stdin=PIPE)))
            expect("clients", clients[-1].line(), "ready")
        time.sleep(QUIET)
        rss = sum(proxy.status("VmRSS") for proxy in proxies)
        for client in clients:
            client.say()
        for client in clients:
            expect("echoes", json.loads(client.line())["messages"], IDLE)
        spread = [len(os.listdir(f"/proc/{proxy.pid}/fd")) // 2 for proxy in proxies]
    rows = [["towline proxy, six processes", f"{base / 1024:.1f}", f"{rss / 1024:.1f}", f"{min(spread):,} to {max(spread):,}"]]
    title = f"proxy: {PROCESSES * IDLE:,} WebSockets at one address, quiet for {QUIET} s, then all echo"
    tables.show(title, ["", "MiB before", "MiB with all", "WebSockets each"], rows)
    limit("memory of all processes", rss / 1024, MANY_MIB, "MiB")


def proxy_reload(options, tables):
    """20 reloads beneath 1,000 WebSockets that echo all the while: none is lost, and not a byte."""
    rounds = max(50, int(200 * options.scale))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        enter = stack.enter_context
        backends = [enter(peer("echo", 4 << 10, stdin=NULL)).port() for _ in range(3)]
        config = Path(folder, "proxy.toml")

        def write(turn):
            two = [f"ws://127.0.0.1:{backends[(turn + i) % 3]}" for i in range(2)]
            config.write_text(f"listen = '127.0.0.1:0'\nbackend = {two}\n")

        write(0)
        args = ["proxy", "--config", config]
        proxy = enter(Process(harness.TOWLINE, *args, stdin=NULL, stdout=NULL, stderr=PIPE))
        url = f"ws://127.0.0.1:{proxy.port('stderr')}/"
        clients = enter(peer("clients", url, TALKING, "1-4096", rounds, 1, stdin=PIPE))
        expect("clients", clients.line(), "ready")
        clients.say()
        times = []
        for turn in range(1, RELOADS + 1):
            write(turn)
            started = time.monotonic()
            proxy.popen.send_signal(signal.SIGHUP)
            while not proxy.line("stderr").endswith(": read again"):
                pass
            times.append((time.monotonic() - started) * 1e3)
        if select.select([clients.popen.stdout], [], [], 0)[0]:
            raise Failure("the clients had nothing more to say before the last reload")
        # They compare what comes back.
        expect("echoes", json.loads(clients.line())["messages"], TALKING * rounds)
    rows = [["towline proxy", f"{TALKING * rounds:,}", "0", f"{statistics.median(times):.0f}"]]
    title = f"proxy: {RELOADS} reloads beneath {TALKING:,} WebSockets that echo 1 to 4096 bytes"
    tables.show(title, ["", "messages", "lost", "ms a reload"], rows)


BENCHMARKS = [proxy_idle, proxy_echo, proxy_article, proxy_sessions, proxy_many, proxy_reload]
