"""CLIENT PAUSE: who waits, and that nothing changes meanwhile, beside a real redis-server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tables import each_row

from .transcripts import SERVERS, running
from .wire import Wire


@pytest.fixture(params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that is new for each test."""
    yield from running(request.param)


def blocked(wire: Wire) -> int:
    lines = wire.ask("INFO clients").decode().split("\r\n")
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("blocked_clients:"))


def expired(wire: Wire) -> int:
    lines = wire.ask("INFO stats").decode().split("\r\n")
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("expired_keys:"))


@pytest.mark.parametrize(
    "held", ["SET k 2", "DEL k", "PUBLISH c m", "INCR n", "LPUSH l x", "EXPIRE k 1", "GETDEL k", "SPUBLISH c m"]
)
def test_writes_wait_and_reads_do_not(port: int, held: str) -> None:
    with Wire(port) as wire, Wire(port) as other:
        wire.ask("SET k 1")
        assert wire.ask("CLIENT PAUSE 60000 WRITE") == b"+OK\r\n"
        other.send("GET k", held, "PING")
        assert other.reply() == b"$1\r\n1\r\n"
        while blocked(wire) != 1:
            pass
        assert wire.ask("GET k") == b"$1\r\n1\r\n"
        assert wire.ask("CLIENT UNPAUSE") == b"+OK\r\n"
        assert not other.reply().startswith(b"-")
        assert other.reply() == b"+PONG\r\n"
        assert blocked(wire) == 0


NO_WRITES = "#!lua flags=no-writes\nreturn 12"


def test_scripts_wait_unless_they_say_that_they_write_nothing(port: int) -> None:
    with Wire(port) as wire, Wire(port) as other:
        sha = wire.ask(["SCRIPT", "LOAD", NO_WRITES]).split(b"\r\n")[1]
        assert wire.ask("CLIENT PAUSE 60000 WRITE") == b"+OK\r\n"
        other.send(["EVAL", NO_WRITES, 0], ["EVALSHA", sha, 0], ["EVAL_RO", "return 12", 0])
        assert [other.reply() for _ in range(3)] == [b":12\r\n"] * 3
        other.send("MULTI", ["EVAL", NO_WRITES, 0], ["EVALSHA", sha, 0], "EXEC")
        assert [other.reply() for _ in range(4)][-1] == b"*2\r\n:12\r\n:12\r\n"
        assert blocked(wire) == 0
        for script in ("return 1", "#!lua\nreturn 1"):
            other.send(["EVAL", script, 0])
            while blocked(wire) != 1:
                pass
            assert wire.ask("CLIENT UNPAUSE") == b"+OK\r\n"
            assert other.reply() == b":1\r\n"
            assert wire.ask("CLIENT PAUSE 60000 WRITE") == b"+OK\r\n"


def test_a_transaction_waits_if_it_writes(port: int) -> None:
    with Wire(port) as wire, Wire(port) as reading, Wire(port) as writing:
        wire.ask("CLIENT PAUSE 60000 WRITE")
        reading.send("MULTI", "GET k", "EXEC")
        assert [reading.reply() for _ in range(3)] == [b"+OK\r\n", b"+QUEUED\r\n", b"*1\r\n$-1\r\n"]
        writing.send("MULTI", "SET k 1", "EXEC")
        assert writing.reply() == b"+OK\r\n"  # the SET is not even queued
        while blocked(wire) != 1:
            pass
        assert wire.ask("GET k") == b"$-1\r\n"
        wire.ask("CLIENT UNPAUSE")
        assert [writing.reply() for _ in range(2)] == [b"+QUEUED\r\n", b"*1\r\n+OK\r\n"]


def test_no_key_is_evicted(port: int) -> None:
    with Wire(port) as wire:
        wire.ask("SETRANGE k 100000 x")
        wire.ask("CLIENT PAUSE 60000 WRITE")
        assert wire.ask("CONFIG SET maxmemory 50kb maxmemory-policy allkeys-random") == b"+OK\r\n"
        assert wire.ask("EXISTS k") == wire.ask("EXISTS k") == b":1\r\n"
        wire.ask("CLIENT UNPAUSE")
        while wire.ask("EXISTS k") == b":1\r\n":
            pass


def test_it_ends_by_itself(port: int) -> None:
    with Wire(port) as wire, Wire(port) as other:
        wire.ask("CLIENT PAUSE 30 ALL")
        other.send("PING")
        assert other.reply() == b"+PONG\r\n"


def test_a_client_that_leaves_while_it_waits_has_changed_nothing(port: int) -> None:
    with Wire(port) as wire:
        wire.ask("CLIENT PAUSE 60000 WRITE")
        with Wire(port) as other:
            other.send("SET k 1")
            while blocked(wire) != 1:
                pass
        while blocked(wire) != 0:
            pass
        wire.ask("CLIENT UNPAUSE")
        assert wire.ask("GET k") == b"$-1\r\n"


def test_expired_keys_are_not_seen_and_not_removed(port: int) -> None:
    with Wire(port) as wire:
        wire.send("MULTI", "SET a 1 PX 5", "SET b 1 PX 5", "CLIENT PAUSE 60000 WRITE", "EXEC")
        assert [wire.reply() for _ in range(5)][-1] == b"*3\r\n+OK\r\n+OK\r\n+OK\r\n"
        while wire.ask("MGET a b") != b"*2\r\n$-1\r\n$-1\r\n":
            pass
        assert expired(wire) == 0
        assert wire.ask("DBSIZE") == b":2\r\n"
        wire.ask("CLIENT UNPAUSE")
        wire.ask("MGET a b")
        assert expired(wire) == 2
        assert wire.ask("DBSIZE") == b":0\r\n"


@each_row(
    ("command", "reply"),
    [
        ("CLIENT PAUSE", b"-ERR wrong number of arguments for 'client|pause' command\r\n"),
        ("CLIENT PAUSE x", b"-ERR timeout is not an integer or out of range\r\n"),
        ("CLIENT PAUSE -1", b"-ERR timeout is negative\r\n"),
        ("CLIENT PAUSE 1 READ", b"-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n"),
        ("CLIENT UNPAUSE x", b"-ERR wrong number of arguments for 'client|unpause' command\r\n"),
        ("CLIENT UNPAUSE", b"+OK\r\n"),
    ],
)
def test_what_is_wrong_is_said(port: int, command: str, reply: bytes) -> None:
    with Wire(port) as wire:
        assert wire.ask(command) == reply
