"""Damaged snapshots and logs: bits flipped, pieces cut and repeated, hostile lengths. They load, or are refused in one
line with an offset; never a traceback, a hang, or memory without bounds.

``EVIO_DAMAGES=100000 pytest tests/redis/test_damaged_files.py`` for more than the usual.
"""

from __future__ import annotations

import os
import random
import re
import sys
from pathlib import Path

import pytest

import evio_redis
from evio_redis.config.config import Config
from evio_redis.errors import LogCorrupt
from evio_redis.keyspace.keyspace import Keyspace
from evio_redis.model.route import Route
from evio_redis.persistence.aof.encode import commands_of, encode
from evio_redis.persistence.aof.loader import load_commands
from evio_redis.persistence.rdb.primitives import string
from evio_redis.persistence.rdb.reader import load_rdb
from tests.extent import examples

from .wire import Wire

DAMAGES = int(os.environ.get("EVIO_DAMAGES", examples(1500)))
HOSTILE = (
    b"\x80\xff\xff\xff\xff",
    b"\x81" + 8 * b"\xff",
    b"\xc3\x01\x81" + 8 * b"\x7f",
    b"$9999999999\r\n",
    b"*1048576\r\n",
)
MOST_MEMORY = 256 << 20

ZIPLIST = b"\x0d\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x41\xff"
"""One whose only element ends within its length."""

pytestmark = pytest.mark.timeout(60 + DAMAGES // 20)


def fill(wire: Wire) -> None:
    for command in (
        *("SET s text", "SET n 12 PX 100000000", "RPUSH l a b 3", "SADD t x y", "SADD i 1 2 3", "HSET h f v g w"),
        *(
            "ZADD z 1.5 m inf n",
            "XADD x 1-1 f v",
            "XADD x 2-1 f w",
            "XGROUP CREATE x g 0",
            "XREADGROUP GROUP g c STREAMS x >",
        ),
        *("SELECT 3", "SETRANGE large 70000 x", "PFADD p a b c"),
    ):
        assert not wire.ask(command).startswith(b"-"), command
    wire.ask(["HSET", "big", *(f"f{at}" for at in range(600) for _ in "kv")])
    wire.ask(["ZADD", "many", *(word for at in range(200) for word in (str(at), f"m{at}"))])


def damaged(data: bytes, choose: random.Random) -> bytes:
    """The data with one to three changes."""
    changed = bytearray(data)
    for _ in range(choose.randint(1, 3)):
        at = choose.randrange(len(changed))
        kind = choose.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << choose.randrange(8)
        elif kind == 1:
            changed[at] = choose.randrange(256)
        elif kind == 2:
            del changed[at : at + choose.randint(1, 50)]
        elif kind == 3:
            changed[at:at] = changed[at : at + choose.randint(1, 50)]
        else:
            hostile = choose.choice(HOSTILE)
            changed[at : at + len(hostile)] = hostile
        if not changed:
            break
    return bytes(changed)


def peak() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def refused(error: LogCorrupt) -> None:
    assert str(error).isascii()
    assert str(error).isprintable()
    assert re.search(r"at offset \d+", str(error)), error
    assert not re.search(r"out of range at|unpack|buffer|codec", str(error)), error  # Python's words


@pytest.mark.parametrize("command", [[b"a\nb"], [b"GET"], [b"OBJECT", b"\xf3\r\nb"], [b"SELECT", b"a\nb"]])
def test_a_command_that_cannot_be_run_is_one_line(tmp_path: Path, command: list[bytes]) -> None:
    path = tmp_path / "damaged.aof"
    path.write_bytes(encode([b"SET", b"k", b"v"]) + encode(command))
    with evio_redis.Server(port=0) as server, pytest.raises(LogCorrupt) as caught:
        load_commands(server.services, path, may_be_torn=True)
    refused(caught.value)


@pytest.mark.parametrize("before", [b"", b"PING"])
def test_a_command_without_arguments(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "damaged.aof"
    first = encode([before]) if before else b""
    path.write_bytes(first + encode([]) + encode([b"SET", b"k", b"v"]))
    with evio_redis.Server(port=0) as server, pytest.raises(LogCorrupt) as caught:
        load_commands(server.services, path, may_be_torn=True)
    refused(caught.value)
    assert f"offset {len(first)} (a command without arguments)" in str(caught.value)


def test_a_library_whose_error_repeats_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "damaged.rdb"
    path.write_bytes(b"REDIS0010\xf5" + string(b"#!lua name=m\nx \xf3\ny") + b"\xff" + bytes(8))
    with evio_redis.Server(port=0) as server, pytest.raises(LogCorrupt, match="a library of functions") as caught:
        load_rdb(server.keyspace, path, server.config)
    refused(caught.value)


@pytest.mark.parametrize(
    "value", [(11, b"\x04"), (13, b"\x04"), (13, ZIPLIST), (9, b"\x01\x01"), (16, b"\x08\x00\x00\x00\x01\x00\xc0\xff")]
)
def test_a_value_that_is_cut_within(tmp_path: Path, value: tuple[int, bytes]) -> None:
    path = tmp_path / "damaged.rdb"
    path.write_bytes(b"REDIS0010" + bytes((value[0],)) + b"\x01k" + string(value[1]) + b"\xff" + bytes(8))
    with pytest.raises(LogCorrupt) as caught:
        load_rdb(Keyspace(16, Route()), path, Config())
    refused(caught.value)


def test_snapshots(tmp_path: Path) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path), rdbchecksum="no") as server, Wire(server.port) as wire:
        fill(wire)
        assert wire.ask("SAVE") == b"+OK\r\n"
    whole = (tmp_path / "dump.rdb").read_bytes()
    path, choose, before = tmp_path / "damaged.rdb", random.Random(7), peak()
    loaded = 0
    for _ in range(DAMAGES):
        path.write_bytes(damaged(whole, choose))
        try:
            load_rdb(Keyspace(16, Route()), path, server.config)
            loaded += 1
        except LogCorrupt as error:
            refused(error)
    assert 0 < loaded < DAMAGES
    assert peak() - before < MOST_MEMORY


def test_logs(tmp_path: Path) -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        fill(wire)
        whole = b"".join(map(encode, commands_of(server.keyspace.databases)))
    path, choose, before = tmp_path / "damaged.aof", random.Random(8), peak()
    loaded = 0
    for _ in range(DAMAGES // 4):
        path.write_bytes(damaged(whole, choose))
        for database in server.keyspace.databases:
            database.take_all()
        try:
            load_commands(server.services, path, may_be_torn=True)
            loaded += 1
        except LogCorrupt as error:
            refused(error)
    assert 0 < loaded < DAMAGES
    assert peak() - before < MOST_MEMORY
