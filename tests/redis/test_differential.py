"""The same commands on a real redis-server and here: the same replies and the same keys."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import evio_redis
from evio_redis.persistence.aof.encode import encode
from tests.extent import FULL

from .differential import commands, normalised
from .wire import Wire, redis_server

EXAMPLES = int(os.environ.get("EVIO_DIFFERENTIAL_EXAMPLES", "40"))


class Client:
    """Sends commands and reads replies as they are."""

    def __init__(self, port: int, protocol: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 20)
        self._reader = hiredis.Reader()
        self._queued: list[list[bytes]] = []
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

    def replies(self, args: list[bytes]) -> list[tuple[bytes, Any]]:
        """Return each reply with its command, several in the case of EXEC, without what Redis does not promise."""
        reply = self.call(args)
        if reply == b"QUEUED":
            self._queued.append(args)
        elif args[0] in (b"EXEC", b"DISCARD"):
            queued, self._queued = self._queued, []
            if isinstance(reply, list):
                return [(command[0], normalised(command, each)) for command, each in zip(queued, reply, strict=True)]
        return [(args[0], normalised(args, reply))]

    def close(self) -> None:
        self._sock.close()


def plain(reply: Any) -> Any:
    if isinstance(reply, dict):
        return [plain(part) for pair in reply.items() for part in pair]
    if isinstance(reply, hiredis.ReplyError):
        return str(reply)
    return [plain(each) for each in reply] if isinstance(reply, list) else reply


@pytest.fixture(scope="module")
def real() -> Iterator[int]:
    """The port of a real redis-server."""
    with redis_server("--rdbcompression", "no") as port:
        yield port


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
        b"stream": (b"XRANGE", b"-", b"+"),
    }
    found = []
    for number in (b"0", b"1"):
        client.call([b"SELECT", number])
        for key in sorted(client.call([b"KEYS", b"*"])):
            kind = client.call([b"TYPE", key])
            name, *rest = reads[kind]
            value = client.call([name, key, *rest])
            encoding = normalised([b"OBJECT"], client.call([b"OBJECT", b"ENCODING", key]))
            lives = client.call([b"TTL", key]) >= 0
            packed = client.call([b"DUMP", key]) if encoding in (b"string", b"listpack", b"quicklist") else b""
            found.append((number, key, kind, normalised([name], value), encoding, lives, packed))
    return found


def changes(client: Client) -> int:
    """Return the number of modifications since the start, by which snapshots are made."""
    found = re.search(rb"rdb_changes_since_last_save:(\d+)", client.call([b"INFO", b"persistence"]))
    assert found
    return int(found[1])


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("protocol", [3, *([2] if FULL else [])], ids="resp{}".format)
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
                expected, answered = (client.replies(args) for client in clients)
                assert len(answered) == len(expected), args
                assert all(map(same, answered, expected)), (args, answered, expected)
            for client in clients:
                client.call([b"DISCARD"])
            assert keys_of(clients[1]) == keys_of(clients[0])
            changed = [changes(client) - count for client, count in zip(clients, before, strict=True)]
            assert changed[1] == changed[0]
        finally:
            for client in clients:
                client.close()

    compare()


def normalised_call(args: list[bytes]) -> list[bytes]:
    """A logged command in a form in which the moment at which it ran, and the case of words, make no difference."""
    words = [each.upper() if each in (b"left", b"right") else each for each in args[1:]]
    return [args[0].upper(), *(b"a time" if re.fullmatch(rb"1[789]\d{11}", each) else each for each in words)]


class Log:
    """The lines that a server has logged since it was last read."""

    def __init__(self, directory: Path) -> None:
        (self._path,) = directory.glob("appendonlydir/*.incr.aof")
        self._at = 0
        self._reader = hiredis.Reader()

    def read(self) -> list[list[bytes]]:
        with open(self._path, "rb") as file:
            file.seek(self._at)
            self._reader.feed(file.read())
            self._at = file.tell()
        return [normalised_call(args) for args in iter(self._reader.gets, False)]


@pytest.fixture(scope="module")
def logging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[int, Log]]]:
    """The ports and logs of both servers."""
    directories = [tmp_path_factory.mktemp(name) for name in ("real", "ours")]
    ours: dict[str, Any] = {"appendonly": "yes", "appendfsync": "no", "dir": str(directories[1])}
    with (
        redis_server("--appendonly", "yes", "--appendfsync", "no", "--dir", str(directories[0])) as port,
        evio_redis.Server(port=0, **ours) as server,
    ):
        yield [(port, Log(directories[0])), (server.port, Log(directories[1]))]


@pytest.mark.timeout(3600)
def test_the_same_is_logged(logging: list[tuple[int, Log]]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(commands)
    def compare(script: list[list[bytes]]) -> None:
        clients = [Client(port, 2) for port, _ in logging]
        try:
            for args in [[b"FLUSHALL"], *script, [b"DISCARD"]]:
                for client in clients:
                    client.call(args)
                expected, logged = (log.read() for _, log in logging)
                assert logged == expected, args
        finally:
            for client in clients:
                client.close()

    compare()


@pytest.mark.parametrize(
    ("waiting", "then"),
    [
        ("BLPOP no k 0", "RPUSH k a b"),
        ("BRPOP k 0", "MULTI|RPUSH k a b|EXPIRE k 100|EXEC"),
        ("BLMPOP 0 2 no k RIGHT COUNT 2", "RPUSH k a b c"),
        ("BLMPOP 0 2 no k LEFT COUNT 10", "RPUSH k a b c"),
        ("BLMOVE k target LEFT RIGHT 0", "RPUSH k a"),
        ("BRPOPLPUSH k k 0", "LPUSH k a b"),
        ("BZPOPMIN no k 0", "ZADD k 1 a 2 b"),
        ("BZPOPMAX k 0", "GEOADD k 1 1 a 2 2 b"),
        ("BZMPOP 0 2 no k MIN COUNT 2", "ZADD k 1 a 2 b 3 c"),
        ("BLPOP k 0", "RPUSH other a|RENAME other k"),
        ("BLPOP k 0", "RPUSH other a|COPY other k"),
        ("BLPOP k 0", "SELECT 1|RPUSH k a|SWAPDB 0 1"),
        ("BLPOP k 0", "SELECT 1|RPUSH k a|MOVE k 0"),
        ("BLPOP k 0", "RPUSH other b a|SORT other ALPHA STORE k"),
        ("XREAD BLOCK 0 STREAMS k $", "XADD k 1-1 a b"),
        ("XGROUP CREATE k g $ MKSTREAM|XREADGROUP GROUP g c BLOCK 0 STREAMS k >", "XADD k 1-1 a b"),
        ("XGROUP CREATE k g $ MKSTREAM|XREADGROUP GROUP g c NOACK BLOCK 0 STREAMS k >", "MULTI|XADD k 1-1 a b|EXEC"),
        (
            "XGROUP CREATE k g $ MKSTREAM|XREADGROUP GROUP g c BLOCK 0 STREAMS k >",
            "MULTI|XADD k 1-1 a b|XADD k 2-1 a b|EXEC",
        ),
    ],
)
def test_the_same_is_logged_of_those_who_waited(logging: list[tuple[int, Log]], waiting: str, then: str) -> None:
    *prepared, waiting = waiting.split("|")
    logged = []
    for port, log in logging:
        with Wire(port) as wire, Wire(port) as blocked:
            wire.ask("FLUSHALL")
            for command in prepared:
                wire.ask(command)
            log.read()
            blocked.send(waiting)
            while b"blocked_clients:1\r" not in wire.ask("INFO clients"):
                pass
            for command in then.split("|"):
                assert not wire.ask(command.encode() + b"\r\n").startswith(b"-")
            assert blocked.reply()[:1] in b"*$"
            logged.append(log.read())
    assert logged[1] == logged[0]


def same(one: tuple[bytes, Any], other: tuple[bytes, Any]) -> bool:
    """Tell whether two servers said the same, or two times that were counted from two moments."""
    (command, reply), (_, expected) = one, other
    if command in (b"EXPIRETIME", b"TTL") and isinstance(reply, int) and isinstance(expected, int):
        return abs(reply - expected) < 3
    return bool(reply == expected)
