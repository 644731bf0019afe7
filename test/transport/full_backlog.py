"""Listens on argv[1]:argv[2] without accepting connections, and fills the queue, so that the kernel drops further SYNs."""

import socket
import sys

server = socket.socket()
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen(0)
clients = [socket.socket() for _ in range(4)]
for client in clients:
    client.setblocking(False)
    client.connect_ex(server.getsockname())
print("ready", flush=True)
sys.stdin.read()
