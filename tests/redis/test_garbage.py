"""Sessions and their parts are freed at once: ``python -m evio_redis`` makes no full collections."""

from __future__ import annotations

import gc
import socket

import evio_redis
from evio_redis.clients.session import Session

TIMEOUT = 10.0

STATES = [
    b"PING\r\n",
    b"SUBSCRIBE channel\r\n",
    b"HELLO 3\r\nPSUBSCRIBE pattern*\r\n",
    b"MULTI\r\nSET a b\r\n",
    b"WATCH key\r\nGET key\r\n",
    b"MONITOR\r\n",
    b"NOSUCH\r\nGET\r\n",
    b"SET text 1\r\nLPUSH text 1\r\n",
    b"PING\r\n*2\r\n$3\r\nhalf a command",
    b"PING\r\nBLPOP nothing 0\r\n",
]


def test_sessions_and_their_connections_are_no_cycles(server: evio_redis.Server) -> None:
    gc.collect()
    before = {id(each) for each in gc.get_objects()}  # of other tests
    gc.disable()
    try:
        clients = [socket.create_connection(("127.0.0.1", server.port), TIMEOUT) for _ in STATES]
        for client, request in zip(clients, STATES, strict=True):
            client.sendall(request)
            assert client.recv(4096)
        kinds = {Session} | {type(each.conn) for each in server.sessions.values()}
        for client in clients:
            client.close()
        with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as client:
            client.sendall(b"PING\r\n")  # whatever the loop has kept of the last turn is replaced
            while server.sessions.keys() != {len(STATES) + 1}:
                client.recv(100)
                client.sendall(b"PING\r\n")
            left = [each for each in gc.get_objects() if type(each) in kinds and id(each) not in before]
            assert len(left) == 2  # its session and its connection
    finally:
        gc.enable()
