"""A server of the `aiohttp` package, on a free port: it says back what it hears, up to 4 MiB.

Posts to /mirror are said back while they come, those to /refuse are refused before they are read. It
knows the subprotocol `chat`, sends a Ping to each client, and wants the token `secret` for /private.
"""

import asyncio
import sys

from aiohttp import WSMsgType, web


async def echo(request):
    ws = web.WebSocketResponse(protocols=["chat"])
    await ws.prepare(request)
    await ws.ping()
    if ws.ws_protocol:
        await ws.send_str(f"this is {ws.ws_protocol}")
    async for message in ws:
        if message.type == WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def private(request):
    if request.headers.get("Authorization") != "Bearer secret":
        return web.json_response({"error": "log in first"}, status=401)
    return await echo(request)


async def moved(request):
    raise web.HTTPFound("/private")


async def mirror(request):
    response = web.StreamResponse()
    response.headers["X-Asked-By"] = request.headers.get("X-Real-IP", "nobody")
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    return response


async def refuse(request):
    return web.Response(status=413, text="too much")


async def main():
    app = web.Application()
    app.add_routes([web.get("/", echo), web.get("/private", private), web.get("/moved", moved)])
    app.add_routes([web.post("/mirror", mirror), web.post("/refuse", refuse)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
