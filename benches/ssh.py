"""The benchmarks of SSH: forwards by towline and by OpenSSH, to sshd and to our own server."""

import contextlib
import getpass
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import harness
from harness import GIB, MIB, NULL, PIPE, Process
from harness import free_port, hash_of, in_turns, peer, wait_for_listener, whole

# The one that both ends prefer on machines with AES instructions.
SSH_CIPHER = "aes128-gcm@openssh.com"


def ssh(options, tables):
    """1 GiB through a forward: by -L both ways, by -R from the server. The server is OpenSSH's sshd;
    for -L also our own one, plain and inside a WebSocket."""
    size = int(GIB * options.scale)
    want = hash_of("data", size)
    source, sink = ("tcp-source", size), ("tcp-sink",)

    def through(near, far):
        def forwarded(forward):
            with peer(*far) as there, forward(there.port()) as (client, port):
                started = time.monotonic()
                with peer(*near, port) as here:
                    while here.popen.poll() is None:
                        client.look()
                        time.sleep(0.005)
                    said = (here if near == sink else there).line()
                    whole(f"what came through {client.name}", said, want)
                wall = time.monotonic() - started
                os.kill(client.pid, signal.SIGTERM)
                return client.usage() | {"wall": wall}

        return forwarded

    head = ["", "MiB/s", "ratio", "CPU s/GiB", "ratio", "peak MiB"]
    with sshd() as (port, folder), towline_server(folder) as (plain, in_websocket):
        vias = {
            "to sshd": f"ssh://127.0.0.1:{port}",
            "to towline": f"ssh://127.0.0.1:{plain}",
            "to towline in a WebSocket": f"ws://127.0.0.1:{in_websocket},ssh://127.0.0.1",
        }
        for title, option, near, far in (
            ("by -L, to the server", "-L", source, sink),
            ("by -L, from the server", "-L", sink, source),
            ("by -R, from the server", "-R", source, sink),
        ):
            contestants = {
                f"towline tunnel {option} {to}": forwarder(towline_tunnel, option, via, folder)
                for to, via in vias.items()
                if option == "-L" or to == "to sshd"
            }
            contestants[f"ssh {option} to sshd"] = forwarder(openssh, option, port, folder)
            medians = in_turns(options.runs, contestants, through(near, far))
            first = next(iter(medians.values()))
            rows = [
                [
                    name,
                    f"{size / MIB / it['wall']:.0f}",
                    f"{first['wall'] / it['wall']:.2f}",
                    f"{it['cpu'] * GIB / size:.2f}",
                    f"{it['cpu'] / first['cpu']:.2f}",
                    f"{it['peak']:.1f}",
                ]
                for name, it in medians.items()
            ]
            tables.show(f"ssh: TCP through a forward, {title}", head, rows)


@contextlib.contextmanager
def towline_server(folder):
    """Our own server with the files of sshd: its port, and that of a WebSocket around it."""
    listen = ["ssh://127.0.0.1:0", "ws://127.0.0.1:0,ssh:"]
    files = ["--host-key", f"{folder}/host", "--authorized-keys", f"{folder}/key.pub"]
    serve = [harness.TOWLINE, "serve", *listen, "null:", *files, "--allow-open", "*"]
    with Process(*serve, stdin=NULL, stderr=PIPE) as server:
        ports = {}
        while len(ports) < len(listen):
            if found := re.match(r"listening on (\w+)://127.0.0.1:(\d+)", server.line("stderr")):
                ports[found[1]] = int(found[2])
        yield ports["ssh"], ports["ws"]


@contextlib.contextmanager
def sshd():
    """OpenSSH's sshd on a port of its own, and the folder of its files."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        for key in ("host", "key"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}"]
            subprocess.run(make, check=True)
        host = Path(folder, "host.pub").read_text()
        Path(folder, "known_hosts").write_text(f"* {host}")
        config = [
            f"ListenAddress 127.0.0.1:{port}",
            f"HostKey {folder}/host",
            f"AuthorizedKeysFile {folder}/key.pub",
            "PermitRootLogin yes",
            "StrictModes no",
            "UsePAM no",
            "PidFile none",
            f"Ciphers {SSH_CIPHER}",
        ]
        Path(folder, "sshd_config").write_text("\n".join(config) + "\n")
        if os.getuid() == 0:
            # A daemon's own start script makes it.
            Path("/run/sshd").mkdir(exist_ok=True)
        daemon = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        with Process(daemon, "-D", "-f", f"{folder}/sshd_config", stdin=NULL, stderr=NULL):
            wait_for_listener(port)
            yield port, folder


def forwarder(client, option, via, folder):
    """Forwards a free port to another one, until the `with` block ends."""

    @contextlib.contextmanager
    def forward(target):
        port = free_port()
        what = f"127.0.0.1:{port}:127.0.0.1:{target}"
        with client(via, folder, option, what) as process:
            wait_for_listener(port)
            yield process, port

    return forward


def towline_tunnel(via, folder, *forward):
    files = ["-F", "none", "-i", f"{folder}/key", "--known-hosts", f"{folder}/known_hosts"]
    login = ["-l", getpass.getuser()]
    return Process(harness.TOWLINE, "tunnel", *files, *login, *forward, via, stdin=NULL, stderr=NULL)


def openssh(port, folder, *forward):
    files = ["-F", "none", "-i", f"{folder}/key", "-o", f"UserKnownHostsFile={folder}/known_hosts"]
    return Process(
        "ssh", "-N", *files, "-p", port, *forward, "127.0.0.1", stdin=NULL, stderr=NULL
    )


BENCHMARKS = [ssh]
