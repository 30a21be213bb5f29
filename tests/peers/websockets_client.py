"""A client of the `websockets` package that asserts what a server does.

Usage: websockets_client.py echo|deflate|hub|exec URL
"""

import asyncio
import itertools
import json
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def echo(url):
    async with connect(url, max_size=None, ping_interval=0.05) as ws:
        # It offers permessage-deflate, which must not be granted without being spoken.
        assert ws.response.headers.get("Sec-WebSocket-Extensions") is None
        for message in ["héllo", "", b"\x00\xff", b"", "two\nlines\n"]:
            await ws.send(message)
            assert await ws.recv() == message, message
        await ws.send(["one ", "message ", "in three"])
        assert await ws.recv() == "one message in three"
        big = os.urandom(20 << 20)
        await ws.send(big)
        assert await ws.recv() == big
        await (await ws.ping(b"are you there"))
        await ws.close(4001, "enough")
        assert ws.protocol.close_rcvd.code == 4001, ws.protocol.close_rcvd


async def deflate(url):
    """Every parameter that can be offered, and messages around the limits of frames and windows."""
    record = json.dumps({"n": list(range(40)), "name": "a record among many"})
    texts = [(record * (n // len(record) + 1))[:n] for n in (0, 1, 64, 126, 1000, 70_000, 2_000_000)]
    noise = [os.urandom(n) for n in (1, 64, 1000, 70_000, 2_000_000)]
    offers = itertools.product((False, True), (False, True), (None, 8, 9, 12, 15), (True, 9, 15))
    for server_alone, client_alone, server_bits, client_bits in offers:
        offer = ClientPerMessageDeflateFactory(server_alone, client_alone, server_bits, client_bits)
        async with connect(url, extensions=[offer], compression=None, max_size=None) as ws:
            [extension] = ws.protocol.extensions
            assert server_bits is None or extension.remote_max_window_bits <= server_bits
            # Two of each refer to each other, if they may.
            few = texts[:4] + noise[:3]
            for message in (few if server_bits or client_alone else texts + noise) * 2:
                await ws.send(message)
                assert await ws.recv() == message, offer
            await ws.send([record, record, "", record])
            assert await ws.recv() == record * 3


CALL = "anybody there?"


async def meet(everybody):
    """A peer is in the room a moment after its handshake; then it hears the next call."""
    for listener in everybody:
        heard = asyncio.create_task(listener.recv())
        while not heard.done():
            await everybody[listener is everybody[0]].send(CALL)
            await asyncio.wait([heard], timeout=0.05)


async def said(listener):
    while (message := await listener.recv()) == CALL:
        pass
    return message


async def hub(url):
    async with connect(url) as one, connect(url) as two, connect(url) as three:
        everybody = [one, two, three]
        await meet(everybody)
        for speaker in everybody:
            await speaker.send("hello")
            for listener in everybody:
                if listener is not speaker:
                    assert await said(listener) == "hello"
        # Nobody hears what it has said itself: the next thing that comes is this.
        await one.close()
        await two.send(b"\x00")
        assert await said(three) == b"\x00"


async def exec(url):
    async with connect(url, subprotocols=["chat"]) as ws:
        assert ws.subprotocol is None
        for n in range(100):
            await ws.send(f"line {n}")
        for n in range(100):
            assert await ws.recv() == f"line {n}"
        await ws.send("exit 7")
        try:
            await ws.recv()
        except ConnectionClosed as error:
            assert (error.rcvd.code, error.rcvd.reason) == (1011, "exit 7"), error
        else:
            raise AssertionError("the child goes on")


asyncio.run({"echo": echo, "deflate": deflate, "hub": hub, "exec": exec}[sys.argv[1]](sys.argv[2]))
