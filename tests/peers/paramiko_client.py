"""paramiko logs in to a towline that serves echo:, and does what it may.

Arguments: the server's port, the private key, known_hosts, the port of a TCP echo that is open.
"""

import sys

import paramiko

port, key, known_hosts, open_port = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])

client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
client.set_missing_host_key_policy(paramiko.RejectPolicy())
client.connect(
    "127.0.0.1", port, username="me", key_filename=key, allow_agent=False, look_for_keys=False
)

stdin, stdout, stderr = client.exec_command("fail")
stdin.write("out\n")
stdin.channel.shutdown_write()
assert stdout.read() == b"out\n"
assert stdout.channel.recv_exit_status() == 7

stdin, stdout, stderr = client.exec_command("id")
assert stdout.channel.recv_exit_status() == 1
assert b"no route" in stderr.read()

transport = client.get_transport()
shell = transport.open_session()
shell.invoke_shell()
shell.sendall(b"from paramiko\n")
shell.shutdown_write()
assert shell.makefile("rb").read() == b"from paramiko\n"
assert shell.recv_exit_status() == 0

through = transport.open_channel("direct-tcpip", ("127.0.0.1", open_port), ("127.0.0.1", 1))
through.sendall(b"through\n")
through.shutdown_write()
assert through.makefile("rb").read() == b"through\n"
try:
    transport.open_channel("direct-tcpip", ("127.0.0.1", 1), ("127.0.0.1", 1))
    raise AssertionError("it may connect anywhere")
except paramiko.ChannelException as refusal:
    assert refusal.code == 1, refusal

client.close()
print("ok")
