"""A server of HTTP/2 that misbehaves on purpose, on a free port of cleartext.

Usage: h2_server.py MODE

  mute        does not say that it takes extended CONNECT
  reset       resets each stream in answer
  goaway      ends the connection in answer
  redirect    redirects to /there, and there says what it was asked
  cut         grants, says half a frame, and ends the stream
  crumble     grants, and says a message a byte a frame, before it is asked
  connections grants, and says which connection it came on and which stream it is
  one         as connections, but takes one stream a connection
"""

import socket
import sys
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

MODE = sys.argv[1]
Codes = h2.settings.SettingCodes
numbers = iter(range(1, 1_000_000))


def serve(sock):
    config = h2.config.H2Configuration(client_side=False, validate_inbound_headers=False)
    conn = h2.connection.H2Connection(config)
    settings = {} if MODE == "mute" else {Codes.ENABLE_CONNECT_PROTOCOL: 1}
    if MODE == "one":
        settings[Codes.MAX_CONCURRENT_STREAMS] = 1
    conn.local_settings = h2.settings.Settings(client=False, initial_values=settings)
    conn.initiate_connection()
    number = next(numbers)
    while True:
        sock.sendall(conn.data_to_send())
        data = sock.recv(65536)
        if not data:
            return
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                answer(conn, event.stream_id, headers, number)
            elif isinstance(event, h2.events.DataReceived):
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                # A Close is answered by the end of the stream.
                if event.data[:1] == b"\x88":
                    conn.send_data(event.stream_id, b"\x88\x02\x03\xe8", end_stream=True)


def text(words):
    data = words.encode()
    assert len(data) < 126
    return bytes([0x81, len(data)]) + data


def answer(conn, stream, headers, number):
    if MODE == "reset":
        return conn.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
    if MODE == "goaway":
        return conn.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, last_stream_id=0)
    if MODE == "redirect" and headers[":path"] != "/there?x":
        fields = [(":status", "307"), ("location", "/there?x")]
        return conn.send_headers(stream, fields, end_stream=True)
    conn.send_headers(stream, [(":status", "200")])
    if MODE == "redirect":
        asked = [headers.get(f":{it}") for it in ["method", "protocol", "scheme", "path"]]
        asked += [headers.get(it) for it in ["upgrade", "connection", "sec-websocket-key", "host"]]
        conn.send_data(stream, text(f"{asked}"[:125]))
        conn.send_data(stream, text(f"{headers[':authority']} {headers['x-own']}"))
    elif MODE == "cut":
        conn.send_data(stream, b"\x81\x05he", end_stream=True)
    elif MODE == "crumble":
        for byte in text("crumbs"):
            conn.send_data(stream, bytes([byte]))
    else:
        conn.send_data(stream, text(f"connection {number} stream {stream}"))


listener = socket.create_server(("127.0.0.1", 0))
print(f"listening on ws://127.0.0.1:{listener.getsockname()[1]}/", file=sys.stderr)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
