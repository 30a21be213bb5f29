"""Runs the Autobahn test suite's cases against towline, in all its roles.

The cases are the ones of the Autobahn test suite, and kosoku is what runs them on Python 3:

* `server`: kosoku connects to `towline serve 127.0.0.1:0 echo: --compress=6`, once for each case;
* `client`: `towline connect ws://127.0.0.1:PORT/runCase?case=N&agent=towline echo:` connects to
  kosoku, once for each case;
* `proxy`: kosoku connects to such a server through `towline proxy`, once for each case;
* `tls`: the same, with TLS before the proxy.

A case passes if the suite itself calls its behaviour OK, NON-STRICT or INFORMATIONAL, and its
closing OK or INFORMATIONAL. Everything else fails the run; so does a case that isn't run at all,
a panic, and a towline that outlives its case. What `towline connect` exits with isn't judged:
kosoku drops the connection where it should answer a close, and an error is then the right answer.

Through a proxy a case passes if it ends as it does without, whatever the verdict.
"""

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import fnmatch
import os
import pathlib
import re
import shutil
import signal
import ssl
import sys
import threading
import time

import websockets
from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver
from kosoku._kosoku import CaseResult
from kosoku._report import write_reports
from kosoku.cases import CASES

# How many cases there are in each category. It's written down here so that an upgrade which loses
# some of them isn't taken for a pass.
SUITE = {
    "1": (16, "Framing"),
    "2": (11, "Pings and pongs"),
    "3": (7, "Reserved bits"),
    "4": (10, "Opcodes"),
    "5": (20, "Fragmentation"),
    "6": (145, "UTF-8"),
    "7": (37, "Closing"),
    "9": (54, "Limits and performance"),
    "10": (1, "Automatic fragmentation"),
    "12": (90, "Compression, payloads"),
    "13": (126, "Compression, parameters"),
}

# All but compression.
PLAIN_CASES = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*"

# Of compression, what is left out is the same with longer messages, or other contents: kosoku, which
# compresses them, takes minutes for it. `--cases '*' --timeout 1800 --case-timeout 480` is all of it.
DEFAULT_CASES = f"{PLAIN_CASES},12.1.*,12.*.[1-4],13.*.[1-3]"

GOOD_BEHAVIOR = ("OK", "NON-STRICT", "INFORMATIONAL")
GOOD_CLOSE = ("OK", "INFORMATIONAL")

# kosoku writes a message to the end before it reads anything, where the original suite does both
# at once. An echo that holds a bounded part of a message would rightly stop reading until its own
# writes are read, and neither side would ever move again. So the categories whose messages don't
# fit into socket buffers go through a relay that takes whatever it's given.
RELAYED = {"9", "12", "13"}


def take_plain_texts(case: type) -> None:
    """Lets a case of compression have a message that was sent as it is.

    kosoku gives it such a one as a `str` with a character for each byte, and the case takes nothing
    but bytes. It's for the sender to decide what it compresses (RFC 7692 section 6).
    """
    on_message = case.onMessage

    def encoded(self, message, binary):
        bytes_ = message.encode("latin-1") if isinstance(message, str) else message
        on_message(self, bytes_, binary)

    case.onMessage = encoded


for case_id, case in CASES.items():
    if case_id.startswith(("12.", "13.")):
        take_plain_texts(case)


@dataclasses.dataclass
class Outcome:
    """How a case ended."""

    case: str
    behavior: str
    close: str = "-"
    why: str = ""
    result: CaseResult | None = None
    # How it ended without the proxy.
    direct: "Outcome | None" = None

    @property
    def passed(self) -> bool:
        if self.direct is not None:
            # That neither came to an end proves nothing.
            return self.result is not None and self.verdict == self.direct.verdict
        return self.behavior in GOOD_BEHAVIOR and self.close in GOOD_CLOSE

    @property
    def verdict(self) -> tuple:
        code = self.result.remote_close_code if self.result is not None else None
        # Where the suite takes any end, as in 7.1.6, it's chance whether the Close comes before the
        # reset that the client's own data behind its Close brings about.
        return self.behavior, self.close, None if self.close == "INFORMATIONAL" else code

    def like(self, direct: "Outcome") -> "Outcome":
        """Judges it by how the same case ended without the proxy."""
        verdict, close, code = direct.verdict
        why = f"{self.why}; without the proxy: behavior {verdict}, close {close} ({code})"
        return dataclasses.replace(self, direct=direct, why=why)

    @classmethod
    def of(cls, result: CaseResult) -> "Outcome":
        why = result.result
        # An error is one from before the case began: there was nothing to close.
        if result.behavior.value != "ERROR":
            if result.result_close != why:
                why += f" | {result.result_close}"
            why += f" (close code: {result.remote_close_code})"
        behavior, close = result.behavior.value, result.behavior_close.value
        return cls(result.case_id, behavior, close, why, result)


class Run:
    """What both roles share: the settings, the deadline and the processes to clean up."""

    def __init__(self, args: argparse.Namespace):
        self.towline: str = args.towline
        self.reports: pathlib.Path = args.reports
        self.jobs: int = args.jobs
        self.case_timeout: float = args.case_timeout
        self.deadline = time.monotonic() + args.timeout
        self.cases = select(args.cases, args.exclude)
        # How the cases ended without a proxy, so that they're run once for all proxies.
        self.direct: list[Outcome] = []
        self.children: set[asyncio.subprocess.Process] = set()

    def time_left(self) -> float:
        return self.deadline - time.monotonic()

    def kill_children(self) -> None:
        for child in self.children:
            # All of its group: what a child leaves behind would hold its end of the pipe open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    @contextlib.asynccontextmanager
    async def spawn(self, *command: str):
        """Runs a program for the length of a block."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            process_group=0,
        )
        self.children.add(process)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            self.children.discard(process)

    @contextlib.asynccontextmanager
    async def server(self, name: str, problems: list[str], *command: str):
        """Runs a server for the length of a block, and yields its port."""
        log_path = self.reports / f"{name}.log"
        with log_path.open("wb") as log:
            async with self.spawn(*command) as server:
                port = await listening_port(server, log)
                drain = asyncio.create_task(copy(server.stderr, log))
                yield port
                if server.returncode is not None:
                    problems.append(f"{name} ended by itself, with status {server.returncode}")
            await drain
        if b"panicked at" in log_path.read_bytes():
            problems.append(f"{name} panicked: see {log_path}")

    async def each_case(self, run_case) -> list[Outcome]:
        """Awaits `run_case(number, case)` for all cases, a few at a time and each one bounded."""
        outcomes: dict[str, Outcome] = {}
        queue = collections.deque(enumerate(self.cases, start=1))

        async def worker() -> None:
            while queue:
                number, case = queue.popleft()
                left = min(self.case_timeout, self.time_left())
                if left <= 0:
                    outcomes[case] = Outcome(case, "NOT RUN", why="the whole run's time is up")
                    continue
                try:
                    async with asyncio.timeout(left):
                        outcomes[case] = await run_case(number, case)
                except TimeoutError:
                    outcomes[case] = Outcome(case, "TIMEOUT", why=f"not done in {left:.0f} s")

        async with asyncio.TaskGroup() as group:
            for _ in range(self.jobs):
                group.create_task(worker())
        return [outcomes[case] for case in self.cases]


class Relay(asyncio.Protocol):
    """One end of a relayed connection. Writing never blocks here: it buffers without a bound."""

    def __init__(self, port: int, tls: bool, peer: "Relay | None" = None):
        self.port, self.tls, self.peer = port, tls, peer
        self.transport: asyncio.Transport | None = None
        # What came before there was a peer to send it to.
        self.early = b""
        self.early_eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.peer is None:
            self.peer = Relay(self.port, self.tls, peer=self)
            self.connecting = asyncio.create_task(self.connect())
            return
        if self.peer.early:
            transport.write(self.peer.early)
        if self.peer.transport.is_closing():
            transport.close()
        elif self.peer.early_eof:
            self.write_eof()

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        # It's ours, on this machine.
        context = ssl._create_unverified_context() if self.tls else None
        try:
            await loop.create_connection(lambda: self.peer, "127.0.0.1", self.port, ssl=context)
        except OSError:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.peer.transport is None:
            self.early += data
        else:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        if self.peer.transport is None:
            self.early_eof = True
        else:
            self.peer.write_eof()
        return not self.tls  # the other direction stays open

    def write_eof(self) -> None:
        # TLS has no half that could be closed alone.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer.transport is not None:
            self.peer.transport.close()


@contextlib.asynccontextmanager
async def relay_to(port: int, tls: bool = False):
    """Listens on a port of its own and relays to `port`; yields its own."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Relay(port, tls), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def port_for(case: str, direct: int, relayed: int) -> int:
    return relayed if case.split(".")[0] in RELAYED else direct


def echo_server(run: Run, name: str, problems: list[str]):
    """What the fuzzing client talks to, in the end: it pings nobody, which a case could count."""
    command = (run.towline, "serve", "127.0.0.1:0", "echo:", "--compress=6", "--ping-interval=0")
    return run.server(name, problems, *command)


async def test_server(run: Run) -> tuple[list[Outcome], list[str]]:
    """The fuzzing client against `towline serve`."""
    problems = []
    async with echo_server(run, "server", problems) as port:
        run.direct = await fuzz(run, port)
    return run.direct, problems


async def test_proxy(run: Run, role: str, *front: str) -> tuple[list[Outcome], list[str]]:
    """The fuzzing client against the same server, through `towline proxy`."""
    problems = []
    if not run.direct:
        _, problems = await test_server(run)
    async with echo_server(run, f"{role}-backend", problems) as port:
        proxy = (run.towline, "proxy", *front, f"ws://127.0.0.1:{port}")
        async with run.server(role, problems, *proxy) as port:
            through = await fuzz(run, port, tls=len(front) > 1)
    return [outcome.like(direct) for outcome, direct in zip(through, run.direct)], problems


async def fuzz(run: Run, port: int, tls: bool = False) -> list[Outcome]:
    """The fuzzing client against whoever listens there."""
    async with relay_to(port, tls) as relayed:

        async def run_case(_number: int, case: str) -> Outcome:
            # kosoku speaks no TLS, but the relay does.
            url = f"ws://127.0.0.1:{relayed if tls else port_for(case, port, relayed)}"
            try:
                results = await run_fuzzingclient(url, [case])
            except FailureError as failure:
                results = failure.results
            if [result.case_id for result in results] != [case]:
                return Outcome(case, "ERROR", why="kosoku gave no result")
            return Outcome.of(results[0])

        return await run.each_case(run_case)


async def listening_port(server: asyncio.subprocess.Process, log) -> int:
    """Reads the line that tells where the server listens."""
    said = b""
    try:
        async with asyncio.timeout(15):
            while line := await server.stderr.readline():
                log.write(line)
                said += line
                if found := re.search(rb"listening on [a-z]+://127\.0\.0\.1:(\d+)", line):
                    return int(found[1])
    except TimeoutError:
        pass
    text = said.decode(errors="replace").strip() or "nothing"
    raise SystemExit(f"autobahn: a server doesn't say where it listens; it said: {text}")


async def copy(source: asyncio.StreamReader, sink) -> None:
    while data := await source.read(65536):
        sink.write(data)


def client_flags(case: str) -> tuple[str, ...]:
    """What `towline connect` is given in a case."""
    if case.split(".")[0] != "13":
        return ()
    # The server of some cases wants to be offered what it might demand anyway (RFC 7692 section
    # 7.1.1.2), which binds a client that offers nothing else.
    offer = "permessage-deflate; client_max_window_bits"
    both = f"{offer}, {offer}; client_no_context_takeover"
    return ("-H", f"Sec-WebSocket-Extensions: {both}")


async def test_client(run: Run) -> tuple[list[Outcome], list[str]]:
    """`towline connect`, once for each case, against the fuzzing server."""
    problems = []
    # What towline did in each case, beside the fuzzing server's own verdict.
    ended: dict[str, Outcome] = {}
    exits: collections.Counter[int] = collections.Counter()
    log_path = run.reports / "client.log"
    with log_path.open("wb") as log:
        async with run_fuzzingserver(run.cases, host="127.0.0.1", port=0) as server:
            base = f"ws://127.0.0.1:{server.port}"
            count = await case_count(base)
            if count != len(run.cases):
                problems.append(f"the fuzzing server has {count} cases, not {len(run.cases)}")

            async with relay_to(server.port) as relayed:

                async def run_case(number: int, case: str) -> Outcome:
                    port = port_for(case, server.port, relayed)
                    url = f"ws://127.0.0.1:{port}/runCase?case={number}&agent=towline"
                    command = (run.towline, "connect", url, "echo:", *client_flags(case))
                    async with run.spawn(*command) as client:
                        said = await client.stderr.read()
                        status = await client.wait()
                    exits[status] += 1
                    log.write(f"== {case}: exit status {status}\n".encode() + said)
                    # 101 is what a panic in a Rust program's main thread ends with.
                    if status < 0 or status == 101 or b"panicked at" in said:
                        return Outcome(case, "CRASHED", why=f"exit status {status}")
                    return Outcome(case, "ENDED")

                for outcome in await run.each_case(run_case):
                    ended[outcome.case] = outcome
            results = await fuzzing_results(server, base)
    if exits:
        print("towline connect's exit statuses:", *(f"{n}x {s}" for s, n in sorted(exits.items())))

    verdicts: dict[str, list[CaseResult]] = collections.defaultdict(list)
    for result in results:
        verdicts[result.case_id].append(result)
    outcomes = []
    for case in run.cases:
        if ended[case].behavior != "ENDED":
            outcome = ended[case]
            outcome.result = next(iter(verdicts[case]), None)
        elif len(verdicts[case]) == 1:
            outcome = Outcome.of(verdicts[case][0])
        else:
            why = f"the fuzzing server has {len(verdicts[case])} results for it: see {log_path}"
            outcome = Outcome(case, "NO RESULT", why=why)
        outcomes.append(outcome)
    return outcomes, problems


async def case_count(base: str) -> int:
    async with asyncio.timeout(15):
        async with websockets.connect(f"{base}/getCaseCount", proxy=None) as connection:
            return int(await connection.recv())


async def fuzzing_results(server, base: str) -> list[CaseResult]:
    """Ends the fuzzing server's run and takes its results."""
    async with asyncio.timeout(60):
        # It takes this request for the end, and drops the connection: that's no error.
        with contextlib.suppress(websockets.WebSocketException, OSError):
            async with websockets.connect(f"{base}/updateReports?agent=towline", proxy=None):
                pass
        try:
            return await server.get_result()
        except FailureError as failure:
            return failure.results


def summarize(role: str, outcomes: list[Outcome], seconds: float) -> None:
    """Prints how many cases behaved how, in a table of the categories."""
    always = list(GOOD_BEHAVIOR)
    seen = {outcome.behavior for outcome in outcomes}
    behaviors = always + sorted(seen.difference(always))
    columns = ["cases", *behaviors, "bad close", "failed"]

    def row(some: list[Outcome]) -> list[int]:
        counts = collections.Counter(outcome.behavior for outcome in some)
        bad_close = sum(o.close not in (*GOOD_CLOSE, "-") for o in some)
        failed = sum(not o.passed for o in some)
        return [len(some), *(counts[b] for b in behaviors), bad_close, failed]

    rows = []
    for category, (_, title) in SUITE.items():
        some = [o for o in outcomes if o.case.split(".")[0] == category]
        if some:
            rows.append((f"{category:>2} {title}", row(some)))
    rows.append(("   all", row(outcomes)))
    if direct := [outcome.direct for outcome in outcomes if outcome.direct is not None]:
        *counts, _failed = row(direct)
        rows.append(("   all, without the proxy", [*counts, 0]))

    print(f"\ntowline as a {role}: {len(outcomes)} cases in {seconds:.1f} s")
    print("  " + " " * 26 + "  ".join(columns))
    for title, counts in rows:
        cells = (f"{n or '.':>{len(column)}}" for n, column in zip(counts, columns))
        print(f"  {title:26}" + "  ".join(cells))
    for behavior in ("NON-STRICT", "INFORMATIONAL"):
        if some := [o.case for o in outcomes if o.behavior == behavior]:
            print(f"  {behavior}: {' '.join(some)}")
    for outcome in outcomes:
        if not outcome.passed:
            print(f"  FAILED {outcome.case}: behavior {outcome.behavior}, close {outcome.close}")
            if outcome.why:
                print(f"         {outcome.why}")


def save_reports(reports: pathlib.Path, role: str, outcomes: list[Outcome]) -> None:
    """Writes the suite's own reports, of the cases that the suite has a verdict on."""
    if results := [outcome.result for outcome in outcomes if outcome.result is not None]:
        write_reports(results, str(reports / role))
        print(f"  reports: {reports / role}/index.html")


ROLES = {
    "server": test_server,
    "client": test_client,
    "proxy": lambda run: test_proxy(run, "proxy", "http://127.0.0.1:0"),
    "tls": lambda run: test_proxy(run, "tls", "https://127.0.0.1:0", "--tls-self-signed"),
}


async def test(run: Run, roles: list[str]) -> bool:
    passed = True
    for role in roles:
        shutil.rmtree(run.reports / role, ignore_errors=True)
        print(f"\ntowline as a {role}: running {len(run.cases)} cases", flush=True)
        started = time.monotonic()
        outcomes, problems = await ROLES[role](run)
        summarize(role, outcomes, time.monotonic() - started)
        save_reports(run.reports, role, outcomes)
        for problem in problems:
            print(f"  FAILED: {problem}")
        failed = sum(not outcome.passed for outcome in outcomes)
        passed = passed and not failed and not problems
        print(f"  {len(outcomes) - failed} of {len(run.cases)} cases passed", flush=True)
    return passed


def select(patterns: str, excluded: str) -> list[str]:
    """The cases that a comma-separated list of patterns names, in the suite's order."""
    sizes = collections.Counter(case.split(".")[0] for case in CASES)
    if sizes != {category: size for category, (size, _) in SUITE.items()}:
        raise SystemExit(f"autobahn: these aren't the cases that this script knows: {dict(sizes)}")

    def matching(patterns: str) -> set[str]:
        found = set()
        for pattern in filter(None, patterns.split(",")):
            some = fnmatch.filter(CASES, pattern)
            if not some:
                raise SystemExit(f"autobahn: no case is called {pattern}")
            found.update(some)
        return found

    chosen = matching(patterns) - matching(excluded)
    if not chosen:
        raise SystemExit("autobahn: no case is left to run")
    return [case for case in CASES if case in chosen]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/autobahn/run",
        description="Runs the Autobahn test suite's cases against towline.",
    )
    option = parser.add_argument
    option("--towline", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    option("--reports", type=pathlib.Path, required=True, help="where reports and logs go")
    option(
        "--cases",
        default=DEFAULT_CASES,
        help="comma-separated patterns of the cases to run, such as 7.*,9.1.6 or * for the "
        f"whole suite (default: {DEFAULT_CASES})",
    )
    option("--exclude", default="", metavar="CASES", help="patterns of cases to leave out")
    option(
        "--role",
        choices=[*ROLES, "all"],
        default="all",
        help="what towline is (default: all, one after the other)",
    )
    option("--jobs", type=int, default=2, help="how many cases run at a time (default: 2)")
    option("--case-timeout", type=float, default=60, metavar="S", help="for one case (default: 60)")
    option("--timeout", type=float, default=600, metavar="S", help="for everything (default: 600)")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error("--jobs must be at least 1")
    args.towline = str(args.towline.absolute())
    args.reports = args.reports.absolute()
    return args


async def amain(run: Run, roles: list[str]) -> bool:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # So that no towline is left behind, whatever ends this.
        loop.add_signal_handler(number, task.cancel)
    return await test(run, roles)


def main() -> int:
    args = arguments()
    if not os.access(args.towline, os.X_OK):
        print(f"autobahn: {args.towline} can't be run: build it first", file=sys.stderr)
        return 2
    args.reports.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    roles = list(ROLES) if args.role == "all" else [args.role]

    def give_up() -> None:
        print("autobahn: FAILED: out of time", flush=True)
        run.kill_children()
        os._exit(1)

    # The last resort, for the case that the event loop itself doesn't get to run any more.
    watchdog = threading.Timer(args.timeout + 90, give_up)
    watchdog.daemon = True
    watchdog.start()

    try:
        passed = asyncio.run(amain(run, roles))
    except asyncio.CancelledError:
        print("autobahn: FAILED: interrupted", flush=True)
        return 1
    print(f"\nautobahn: {'PASSED' if passed else 'FAILED'}", flush=True)
    return 0 if passed else 1


def leave(status: int) -> None:
    # Without joining threads: kosoku's may be stuck in a write that will never end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    try:
        leave(main())
    except SystemExit as exit:
        if isinstance(exit.code, str):
            print(exit.code, file=sys.stderr)
        leave(exit.code if isinstance(exit.code, int) else 2)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        leave(2)
