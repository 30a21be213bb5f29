"""Hypercorn, a server of HTTP/2, with an application that says back what it hears.

Usage: hypercorn_server.py [CERT KEY]

It knows the subprotocol `chat`, and refuses /refuse. A text `close` has it close with 4001.
"""

import asyncio
import socket
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config


async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/refuse":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"log in first\n"})
        return
    known = "chat" if "chat" in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": known})
    first = {"type": "websocket.send", "text": f"HTTP/{scope['http_version']} {scope['scheme']}"}
    await send(first)
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
            return
        await send({**event, "type": "websocket.send"})


async def main(files):
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    if files:
        config.certfile, config.keyfile = files
    scheme = "wss" if files else "ws"
    print(f"listening on {scheme}://127.0.0.1:{listener.getsockname()[1]}/", file=sys.stderr)
    await serve(app, config)


asyncio.run(main(sys.argv[1:]))
