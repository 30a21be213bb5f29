"""asyncssh logs in to a towline that serves echo:, and does what it may.

Arguments: the server's port, the private key, known_hosts, the port of a TCP echo that is open.
"""

import asyncio
import sys

import asyncssh


async def main(port, key, known_hosts, open_port):
    async with asyncssh.connect(
        "127.0.0.1", port, username="me", client_keys=[key], known_hosts=known_hosts, config=None
    ) as session:
        echoed = await session.run(input="from asyncssh\n")
        assert (echoed.stdout, echoed.exit_status) == ("from asyncssh\n", 0), echoed

        failed = await session.run("fail", input="out\n")
        assert (failed.stdout, failed.exit_status) == ("out\n", 7), failed

        unknown = await session.run("rm -rf /")
        assert unknown.exit_status == 1 and "no route" in unknown.stderr, unknown

        big = bytes(range(256)) * 8192
        back = await session.run(input=big, encoding=None)
        assert back.stdout == big, len(back.stdout)

        reader, writer = await session.open_connection("127.0.0.1", open_port)
        writer.write(b"through\n")
        writer.write_eof()
        assert await reader.read() == b"through\n"
        try:
            await session.open_connection("127.0.0.1", 1)
            raise AssertionError("it may connect anywhere")
        except asyncssh.ChannelOpenError as refusal:
            assert refusal.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, refusal

        listener = await session.forward_remote_port("localhost", 0, "127.0.0.1", open_port)
        assert listener.get_port() != 0
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        writer.write(b"back\n")
        writer.write_eof()
        assert await reader.read() == b"back\n"

        try:
            await session.start_sftp_client()
            raise AssertionError("there is an sftp server")
        except asyncssh.ChannelOpenError:
            pass


asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
print("ok")
