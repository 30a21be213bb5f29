"""A server of the `websockets` package, on a free port; the path says what it does.

Usage: websockets_server.py [SUBPROTOCOL]...
"""

import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def late(ws):
    """Answers 0.4 s after the message, by which time the client's input has ended."""
    message = await ws.recv()
    await asyncio.sleep(0.4)
    await ws.send(f"re: {message}")
    await ws.wait_closed()


async def granted(ws):
    message = await ws.recv()
    await ws.send(f"{message}: {ws.subprotocol}")


async def close(ws, code, reason):
    await ws.send("last words")
    await ws.close(int(code), reason)


async def vanish(ws):
    await ws.send("half a st")
    ws.transport.close()


async def fragments(ws):
    await ws.send(["one ", "message ", "in fo", "ur"])
    await ws.send([b"\xff", b"", b"\x00"])


async def pings(ws):
    for _ in range(3):
        await (await ws.ping())
    await ws.send("3 pongs")


WHAT = [echo, late, granted, close, vanish, fragments, pings]


async def handler(ws):
    _, name, *args = ws.request.path.split("/")
    await {what.__name__: what for what in WHAT}[name](ws, *args)


def process_request(connection, request):
    if request.path == "/refuse":
        return connection.respond(401, "log in first\n")


async def main():
    server = await serve(
        handler,
        "127.0.0.1",
        0,
        process_request=process_request,
        subprotocols=sys.argv[1:] or None,
        ping_interval=0.05,
        max_size=None,
    )
    port = server.sockets[0].getsockname()[1]
    print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await server.serve_forever()


asyncio.run(main())
