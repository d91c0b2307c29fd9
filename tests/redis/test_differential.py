"""The same commands on a real redis-server and here: the same replies and the same keys."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import evio_redis
from evio_redis.persistence.encode import encode

from .differential import commands, normalised

EXAMPLES = int(os.environ.get("EVIO_DIFFERENTIAL_EXAMPLES", "60"))


class Client:
    """Sends commands and reads replies as they are."""

    def __init__(self, port: int, protocol: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 20)
        self._reader = hiredis.Reader()
        if protocol == 3:
            self.call([b"HELLO", b"3"])

    def call(self, args: list[bytes]) -> Any:
        self._sock.sendall(encode(args))
        while True:
            reply = self._reader.gets()
            if reply is not False:
                return str(reply) if isinstance(reply, hiredis.ReplyError) else plain(reply)
            received = self._sock.recv(1 << 16)
            assert received, f"closed after {args}"
            self._reader.feed(received)

    def close(self) -> None:
        self._sock.close()


def plain(reply: Any) -> Any:
    if isinstance(reply, dict):
        return [part for pair in reply.items() for part in pair]
    if isinstance(reply, hiredis.ReplyError):
        return str(reply)
    return [plain(each) for each in reply] if isinstance(reply, list) else reply


@pytest.fixture(scope="module")
def real() -> Iterator[int]:
    """The port of a real redis-server."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    arguments = [command, "--port", str(port), "--save", "", "--rdbcompression", "no", "--bind", "127.0.0.1"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield port
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def ours() -> Iterator[int]:
    with evio_redis.Server(port=0) as server:
        yield server.port


def keys_of(client: Client) -> list[Any]:
    """Everything there is, by what is independent of how it is stored."""
    reads: dict[bytes, tuple[bytes, ...]] = {
        b"string": (b"GET",),
        b"list": (b"LRANGE", b"0", b"-1"),
        b"set": (b"SMEMBERS",),
        b"hash": (b"HGETALL",),
        b"zset": (b"ZRANGE", b"0", b"-1", b"WITHSCORES"),
    }
    found = []
    for number in (b"0", b"1"):
        client.call([b"SELECT", number])
        for key in sorted(client.call([b"KEYS", b"*"])):
            kind = client.call([b"TYPE", key])
            name, *rest = reads[kind]
            value = client.call([name, key, *rest])
            encoding = normalised(b"OBJECT", client.call([b"OBJECT", b"ENCODING", key]))
            lives = client.call([b"TTL", key]) >= 0
            packed = client.call([b"DUMP", key]) if encoding in (b"string", b"listpack", b"quicklist") else b""
            found.append((number, key, kind, normalised(name, value), encoding, lives, packed))
    return found


def changes(client: Client) -> int:
    """How often anything was modified since the start, by which snapshots are made."""
    found = re.search(rb"rdb_changes_since_last_save:(\d+)", client.call([b"INFO", b"persistence"]))
    assert found
    return int(found[1])


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
def test_replies_and_keys_are_the_same(real: int, ours: int, protocol: int) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(commands)
    def compare(script: list[list[bytes]]) -> None:
        clients = [Client(port, protocol) for port in (real, ours)]
        try:
            for client in clients:
                client.call([b"FLUSHALL"])
            before = [changes(client) for client in clients]
            for args in script:
                expected, given_ = (normalised(args[0], client.call(args)) for client in clients)
                assert given_ == expected or same_time(args[0], given_, expected), args
            for client in clients:
                client.call([b"DISCARD"])
            assert keys_of(clients[1]) == keys_of(clients[0])
            expected, given_ = (changes(client) - count for client, count in zip(clients, before, strict=True))
            assert given_ == expected
        finally:
            for client in clients:
                client.close()

    compare()


def same_time(command: bytes, one: Any, other: Any) -> bool:
    """Whether two times that were counted from two moments are close."""
    return (
        command in (b"EXPIRETIME", b"TTL") and isinstance(one, int) and isinstance(other, int) and abs(one - other) < 3
    )
