"""A client of HTTP/2 that asserts what a server does, frame by frame where it has to.

Usage: h2_client.py SCENARIO URL [ARGUMENT...]
"""

import socket
import ssl
import sys
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hpack
import hyperframe.frame
from wsproto.frame_protocol import FrameProtocol, Opcode

Code = h2.errors.ErrorCodes


class Stream:
    def __init__(self):
        self.status = None
        self.headers = {}
        self.body = b""
        self.read = 0
        self.ended = False
        self.reset = None


class Client:
    """A connection. What comes for a stream of `stalled` is not read."""

    def __init__(self, url):
        self.url = urlsplit(url)
        self.socket = socket.create_connection((self.url.hostname, self.url.port), 20)
        if self.url.scheme in ("wss", "https"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2", "http/1.1"])
            self.socket = context.wrap_socket(self.socket, server_hostname=self.url.hostname)
            assert self.socket.selected_alpn_protocol() == "h2"
        # What is malformed has to get out.
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        # So that only windows of streams are ever used up.
        self.h2.increment_flow_control_window(1 << 30)
        self.streams = {}
        self.stalled = set()
        self.settings = None
        self.goaway = None
        self.closed = False
        self.unread = b""
        self.pump(lambda: self.settings)

    def flush(self):
        try:
            self.socket.sendall(self.h2.data_to_send())
        except BrokenPipeError:
            self.closed = True

    def pump(self, done):
        """Reads until something is true, or the connection is over."""
        self.flush()
        while not done() and not self.closed:
            self.take(self.socket.recv(65536))

    def take(self, data):
        self.closed = not data
        self.unread += data
        while len(self.unread) >= 9:
            end = 9 + int.from_bytes(self.unread[:3], "big")
            if len(self.unread) < end:
                break
            frame, self.unread = self.unread[:end], self.unread[end:]
            # Frame by frame, for what is said below of a GOAWAY.
            self.handle(self.h2.receive_data(frame))
        if not self.closed:
            self.flush()

    def handle(self, events):
        for event in events:
            stream = self.streams.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.RemoteSettingsChanged):
                changed = event.changed_settings
                self.settings = {code: it.new_value for code, it in changed.items()}
            elif isinstance(event, h2.events.ResponseReceived):
                headers = [(name.decode(), value.decode()) for name, value in event.headers]
                stream.headers = dict(headers)
                stream.status = int(stream.headers[":status"])
            elif isinstance(event, h2.events.DataReceived):
                stream.body += event.data
                if event.stream_id not in self.stalled and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            elif isinstance(event, h2.events.StreamEnded):
                stream.ended = True
            elif isinstance(event, h2.events.StreamReset):
                stream.reset = event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = event.error_code
                # The library takes it for the end, but the streams that there are go on.
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN

    def start(self, headers, end=False):
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = Stream()
        self.h2.send_headers(number, headers, end_stream=end)
        return number

    def head(self, path="/", *more, **changed):
        """The head of an extended CONNECT; `changed` pseudo-header fields can be None."""
        scheme = "https" if self.url.scheme in ("wss", "https") else "http"
        pseudo = {
            "method": "CONNECT",
            "protocol": "websocket",
            "scheme": scheme,
            "path": path,
            "authority": self.url.netloc,
            **changed,
        }
        head = [(f":{name}", value) for name, value in pseudo.items() if value is not None]
        return head + [("sec-websocket-version", "13"), *more]

    def ask(self, headers, end=True):
        """The answer to a request, once it is over."""
        number = self.start(headers, end)
        stream = self.streams[number]
        self.pump(lambda: stream.ended or stream.reset is not None)
        return stream

    def get(self, path, method="GET", *more):
        head = self.head(path, *more, method=method, protocol=None)
        return self.ask([it for it in head if it[0] != "sec-websocket-version"])

    def open(self, path="/", *more):
        number = self.start(self.head(path, *more))
        stream = self.streams[number]
        self.pump(lambda: stream.status is not None or stream.reset is not None)
        assert stream.status == 200, (stream.status, stream.reset, stream.body)
        return WebSocket(self, number, stream)


class WebSocket:
    def __init__(self, client, number, stream):
        self.client, self.number, self.stream = client, number, stream
        self.frames = FrameProtocol(client=True, extensions=[])

    def send(self, payload):
        opcode = Opcode.TEXT if isinstance(payload, str) else Opcode.BINARY
        payload = payload.encode() if isinstance(payload, str) else payload
        self.write(bytes(self.frames._serialize_frame(opcode, payload)))

    def write(self, data):
        """Sends it all, as the server lets us."""
        while data:
            window = self.client.h2.local_flow_control_window(self.number)
            size = min(len(data), window, self.client.h2.max_outbound_frame_size)
            if size == 0:
                self.client.pump(
                    lambda: self.client.h2.local_flow_control_window(self.number) > 0
                )
                continue
            self.client.h2.send_data(self.number, data[:size])
            data = data[size:]
        self.client.flush()

    def fill(self, data, patience=0.5):
        """Sends as much as the server takes without being read from, and says how much. With too
        little patience it is less, and nothing else."""
        sent = 0
        self.client.socket.settimeout(patience)
        try:
            while True:
                window = self.client.h2.local_flow_control_window(self.number)
                size = min(window, self.client.h2.max_outbound_frame_size, len(data) - sent)
                if size == 0:
                    assert sent < len(data)
                    self.client.take(self.client.socket.recv(65536))
                    continue
                self.client.h2.send_data(self.number, data[sent : sent + size])
                sent += size
                self.client.flush()
        except TimeoutError:
            pass
        finally:
            self.client.socket.settimeout(20)
        return sent

    def recv(self):
        """The next frame, whole or not, and what is left unread."""
        while True:
            fresh, self.stream.body = self.stream.body, b""
            self.frames.receive_bytes(fresh)
            for frame in self.frames.received_frames():
                if frame.opcode is Opcode.PING:
                    self.write(bytes(self.frames.pong(frame.payload)))
                    continue
                return frame
            before = len(self.stream.body)
            self.client.pump(lambda: len(self.stream.body) > before or self.over())
            if self.over() and not self.stream.body:
                return None

    def message(self):
        payload = None
        while frame := self.recv():
            payload = frame.payload if payload is None else payload + frame.payload
            if frame.message_finished:
                return payload
        raise AssertionError(f"no message: {self.stream.__dict__}")

    def over(self):
        return self.stream.ended or self.stream.reset is not None or self.client.closed

    def close(self, code):
        self.write(bytes(self.frames.close(code, "")))
        self.client.h2.end_stream(self.number)
        frame = self.recv()
        assert frame.opcode is Opcode.CLOSE and frame.payload[0] == code, frame
        self.client.pump(self.over)
        assert self.stream.ended and self.stream.reset is None, self.stream.__dict__


def echo(url):
    """Many WebSockets on one connection, and requests between them."""
    client = Client(url)
    assert client.settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1
    sockets = [client.open() for _ in range(50)]
    for round in range(3):
        for number, it in enumerate(sockets):
            it.send(f"{round} for {number}")
        for number, it in reversed(list(enumerate(sockets))):
            assert it.message() == f"{round} for {number}"
    head = sockets[0].stream.headers
    for name in ["connection", "upgrade", "sec-websocket-accept", "content-length"]:
        assert name not in head, head
    assert client.get("/healthz").body == b"ok\n"
    big = bytes(range(256)) * 4096
    sockets[7].send(big)
    assert sockets[7].message() == big
    for it in sockets:
        it.close(4001)
    assert client.get("/healthz").status == 200 and client.goaway is None


def requests(url):
    """Plain requests are answered as over HTTP/1.1."""
    client = Client(url)
    page = client.get("/")
    assert page.status == 200 and b"<!doctype html>" in page.body, page.body
    head = client.get("/", "HEAD")
    assert head.status == 200 and head.body == b"", head.body
    assert head.headers["content-length"] == str(len(page.body))
    assert b"towline_" in client.get("/metrics").body
    missing = client.get("/missing")
    assert missing.status == 404 and b"WebSockets are at" in missing.body
    post = client.ask(client.head("/", method="POST", protocol=None), end=False)
    assert post.status == 405 and post.headers["allow"] == "GET, HEAD"
    script = client.get("/a.txt")
    assert script.status == 200 and script.body == b"x" * 300_000, len(script.body)
    part = client.get("/a.txt", "GET", ("range", "bytes=0-9"))
    assert part.status == 206 and part.body == b"x" * 10
    same = client.get("/a.txt", "GET", ("if-none-match", script.headers["etag"]))
    assert same.status == 304 and same.body == b""
    assert client.goaway is None


def refused(url, status, *more):
    """A WebSocket is refused with a status; nothing else is."""
    client = Client(url)
    fields = [tuple(it.split(":", 1)) for it in more]
    answer = client.ask(client.head("/", *fields), end=False)
    assert answer.status == int(status), (answer.status, answer.reset, answer.body)
    assert answer.body, answer.headers
    # It is over on our side, too, and nothing else is.
    assert client.get("/healthz").status == 200
    print(answer.body.decode(), end="")


def granted(url, *more):
    """A WebSocket is granted; tells with what."""
    client = Client(url)
    it = client.open("/", *[tuple(it.split(":", 1)) for it in more])
    it.send("hello")
    print(it.stream.headers.get("sec-websocket-protocol"), it.message())
    it.close(1000)


def malformed(url):
    """What RFC 8441 section 4 and RFC 9113 section 8 forbid, one stream each."""
    client = Client(url)
    head = client.head
    bad = {
        ":protocol and no CONNECT": head(method="GET"),
        "no :path": head(path=None),
        "no :scheme": head(scheme=None),
        "an empty :path": head(path=""),
        ":path in a plain CONNECT": head(protocol=None, scheme=None),
        ":scheme in a plain CONNECT": head(protocol=None, path=None),
        "two :protocol": [(":protocol", "websocket"), *head()],
        ":protocol after a field": [*head(protocol=None), (":protocol", "websocket")],
        "an unknown pseudo-header field": [(":protocols", "websocket"), *head()],
        "Connection": head("/", ("connection", "upgrade")),
        "Upgrade": head("/", ("upgrade", "websocket")),
        "Transfer-Encoding": head("/", ("transfer-encoding", "chunked")),
        "an upper-case name": head("/", ("X-Upper", "1")),
        "a newline": head("/", ("x", "a\r\nb: c")),
    }
    for what, headers in bad.items():
        stream = client.ask(headers, end=False)
        code = stream.reset if stream.reset is not None else client.goaway
        assert stream.status is None and code == Code.PROTOCOL_ERROR, (what, stream.__dict__)
        if client.closed or client.goaway is not None:
            client = Client(url)
            head = client.head
    for what, status, headers in [
        ("another protocol", 501, head(protocol="connect-udp")),
        ("a Host that is not the :authority", 400, head("/", ("host", "other"))),
        ("a user", 400, head(authority="u@" + client.url.netloc)),
        ("no authority", 400, head(authority=None)),
        ("a body", 400, head("/", ("content-length", "5"))),
        ("another version", 426, [it for it in head() if it[0][0] == ":"]),
        ("a plain CONNECT", (400, 405), head(protocol=None, scheme=None, path=None)),
        ("too many fields", 431, head("/", *[(f"x-{n}", "") for n in range(150)])),
        ("too large a head", 431, head("/", ("x", "a" * 20_000))),
    ]:
        stream = client.ask(headers, end=False)
        statuses = status if isinstance(status, tuple) else (status,)
        assert stream.status in statuses, (what, stream.__dict__)
    it = client.open()
    it.send("still here")
    assert it.message() == "still here"


def noise(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def stalled(url, most=2_000_000, rounds=100):
    """One stream that is not read stops itself, and no other; then it goes on where it was."""
    client = Client(url)
    slow, quick = client.open(), client.open()
    client.stalled.add(slow.number)
    sizes = [size for _ in range(int(rounds)) for size in (1, 200, 5_000, 100_000)]
    frames = [slow.frames._serialize_frame(Opcode.BINARY, noise(size)) for size in sizes]
    data = b"".join(map(bytes, frames))
    sent = slow.fill(data)
    assert 64_000 < sent < int(most), sent
    for number in range(200):
        quick.send(f"lively {number}")
        assert quick.message() == f"lively {number}"
    big = bytes(1 << 20)
    quick.send(big)
    assert quick.message() == big
    assert client.goaway is None
    # What has waited is let through.
    client.stalled.remove(slow.number)
    waiting = client.h2.remote_flow_control_window(slow.number)
    assert waiting == 0, waiting
    client.h2.acknowledge_received_data(65_535, slow.number)
    client.flush()
    slow.write(data[sent:])
    for size in sizes:
        assert slow.message() == noise(size), size


def all_stalled(url):
    """Many streams that stall with small messages in them; another one is heard all the same."""
    client = Client(url)
    for _ in range(20):
        it = client.open()
        client.stalled.add(it.number)
        it.fill(bytes(it.frames._serialize_frame(Opcode.BINARY, b"x" * 100)) * 20_000, 0.1)
    quick = client.open()
    quick.send("hello")
    assert quick.message() == "hello" and client.goaway is None, client.goaway


def full(url, peers):
    """No more WebSockets than there are places."""
    client = Client(url)
    sockets = [client.open() for _ in range(int(peers))]
    answer = client.ask(client.head(), end=False)
    assert answer.status == 503 and answer.body == b"no more peers fit in\n", answer.__dict__
    sockets[1].close(1000)
    # The place is free a moment after the peer has left.
    while client.ask_quietly() != 200:
        pass
    sockets[0].send("hello")
    assert sockets[0].message() == "hello"


def too_many(url, most):
    """No more WebSockets than a client may have."""
    client = Client(url)
    for _ in range(int(most)):
        client.open()
    answer = client.ask(client.head(), end=False)
    assert answer.status == 429, answer.__dict__
    assert client.get("/healthz").status == 200


def ask_quietly(self):
    number = self.start(self.head())
    stream = self.streams[number]
    self.pump(lambda: stream.status is not None)
    return stream.status


Client.ask_quietly = ask_quietly


def streams(url):
    """More streams than the server takes at once are refused."""
    client = Client(url)
    most = client.settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS]
    assert 100 <= most <= 256, most
    for _ in range(most):
        client.open()
    encoder = client.h2.encoder
    number = client.h2.get_next_available_stream_id()
    frame = hyperframe.frame.HeadersFrame(number, encoder.encode(client.head()))
    frame.flags.add("END_HEADERS")
    client.socket.sendall(frame.serialize())
    client.streams[number] = Stream()
    codes = []
    raw = hyperframe.frame.Frame
    buffer = b""
    while not codes:
        buffer += client.socket.recv(65536)
        while len(buffer) >= 9:
            frame, length = raw.parse_frame_header(memoryview(buffer[:9]))
            if len(buffer) < 9 + length:
                break
            frame.parse_body(memoryview(buffer[9 : 9 + length]))
            buffer = buffer[9 + length :]
            if isinstance(frame, hyperframe.frame.RstStreamFrame) and frame.stream_id == number:
                codes.append(frame.error_code)
    assert codes == [Code.REFUSED_STREAM], codes


def rapid_reset(url):
    """CVE-2023-44487: streams that are reset as soon as they are opened end the connection."""
    client = Client(url)
    try:
        for _ in range(20_000):
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, client.head())
            client.h2.reset_stream(number, Code.CANCEL)
            if number % 1000 == 1:
                client.flush()
        client.pump(lambda: client.goaway is not None)
    except (ConnectionError, ssl.SSLError):
        client.goaway = client.goaway or Code.ENHANCE_YOUR_CALM
    assert client.goaway in (None, Code.ENHANCE_YOUR_CALM), client.goaway


def continuation(url):
    """A head without an end (CVE-2024-27316) ends the connection."""
    client = Client(url)
    block = hpack.Encoder().encode(client.head())
    frame = hyperframe.frame.HeadersFrame(1, block)
    client.socket.sendall(frame.serialize())
    more = hyperframe.frame.ContinuationFrame(1, hpack.Encoder().encode([("x", "a" * 1000)]))
    try:
        for _ in range(1_000_000):
            client.socket.sendall(more.serialize())
    except (ConnectionError, ssl.SSLError):
        return
    raise AssertionError("the server reads on")


def leave(url):
    """A client that loses interest in an answer resets its stream."""
    client = Client(url)
    number = client.start(client.head("/", protocol=None, method="GET"), end=True)
    client.flush()
    sys.stdin.readline()
    client.h2.reset_stream(number, Code.CANCEL)
    client.flush()
    sys.stdin.readline()
    assert client.get("/other").status == 200


def late_end(url):
    """The end of a request can come behind its head, and content in many pieces."""
    client = Client(url)
    number = client.start(client.head("/a", protocol=None, method="POST"))
    for piece in (b"one ", b"two ", b"three"):
        client.h2.send_data(number, piece)
        client.flush()
    client.h2.end_stream(number)
    stream = client.streams[number]
    client.pump(lambda: stream.ended or stream.reset is not None)
    print(stream.status, stream.reset, stream.body.decode())


def cut(url):
    """An answer that is cut off shows, and the connection goes on."""
    client = Client(url)
    answer = client.get("/cut")
    # The reset may overtake what of the answer was not sent yet.
    assert answer.status in (200, None), answer.__dict__
    assert not answer.ended and answer.reset, answer.__dict__
    assert client.get("/whole").body == b"whole"


def idle(url):
    """A connection that nothing is open on is ended, and one with a WebSocket is not."""
    quiet, busy = Client(url), Client(url)
    it = busy.open()
    quiet.pump(lambda: quiet.closed)
    assert quiet.goaway == Code.NO_ERROR, quiet.goaway
    it.send("hello")
    assert it.message() == "hello"


def until_close(url):
    """Waits for the server to end the WebSocket and the connection."""
    client = Client(url)
    it = client.open()
    print("open", flush=True)
    frame = it.recv()
    print(frame.payload[0] if frame else it.stream.__dict__, flush=True)
    it.write(bytes(it.frames.close(1000, "")))
    client.h2.end_stream(it.number)
    client.pump(lambda: client.closed)
    assert client.goaway == Code.NO_ERROR, client.goaway


globals()[sys.argv[1]](*sys.argv[2:])
