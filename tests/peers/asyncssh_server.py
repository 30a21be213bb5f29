"""An SSH server whose users log in with a password, in answer to a question, or both.

Arguments: the port, the private host key. The name of the user is the method; the password is
always the same. Every command prints the user's name.
"""

import asyncio
import sys

import asyncssh

PASSWORD = "open sesame"


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        self.methods = ["password", "keyboard-interactive"] if username == "both" else [username]
        return True

    def password_auth_supported(self):
        return "password" in self.methods

    def validate_password(self, username, password):
        return password == PASSWORD

    def kbdint_auth_supported(self):
        return "keyboard-interactive" in self.methods

    def get_kbdint_challenge(self, username, lang, submethods):
        return "", "Say friend and enter", "", [("Word: ", False)]

    def validate_kbdint_response(self, username, responses):
        return list(responses) == [PASSWORD]


def answer(process):
    process.stdout.write(f"{process.get_extra_info('username')}\n")
    process.exit(0)


async def main(port, key):
    await asyncssh.listen(
        "127.0.0.1", port, server_factory=Server, server_host_keys=[key], process_factory=answer
    )
    await asyncio.get_running_loop().create_future()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
