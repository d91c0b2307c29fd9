"""Damaged snapshots, logs and values: bits flipped, pieces cut and repeated, hostile lengths. They load, or are refused
in one line with an offset; never a traceback, a hang, or memory without bounds.

``EVIO_DAMAGES=100000 pytest tests/redis/test_damaged_files.py`` for more than the usual.
"""

from __future__ import annotations

import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import hiredis
import pytest

import evio_redis
from evio_redis.config.config import Config
from evio_redis.errors import LogCorrupt
from evio_redis.keyspace.keyspace import Keyspace
from evio_redis.keyspace.types.streams import Stream
from evio_redis.model.route import Route
from evio_redis.persistence.aof.encode import commands_of, encode
from evio_redis.persistence.aof.loader import load_commands
from evio_redis.persistence.rdb import intset, listpack
from evio_redis.persistence.rdb.payload import sealed
from evio_redis.persistence.rdb.primitives import MALFORMED, Reader, length, string
from evio_redis.persistence.rdb.reader import load_rdb
from evio_redis.persistence.rdb.values import code_of, pieces, read_value
from tests.extent import examples

from .test_rdb_values import OLD_ZIPLIST, OLD_ZIPMAP, ziplist_of
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


# -- values whose checksum is right


VALUES = [
    (0, b"\xc3" + length(5) + length(40) + b"\x00a\xe0\x1e\x00"),  # compressed
    (1, length(3) + string(b"a") + string(b"5") + string(b"x" * 70)),
    (3, length(3) + b"\x01a\x041e+2\x01b\xfe\x01c\xff"),
    (9, string(OLD_ZIPMAP)),
    (10, string(OLD_ZIPLIST)),
    (11, string(intset.pack([b"1", b"-2", b"70000"]))),
    (12, string(ziplist_of(b"\x01a", b"\x031.5", b"\x01b", b"\xf4"))),
    (13, string(ziplist_of(b"\x01f", b"\x01v", b"\x01g", b"\xf2"))),
    (14, length(2) + string(ziplist_of(b"\x01a")) + string(OLD_ZIPLIST)),
    (18, length(2) + b"\x01\x03abc" + b"\x02" + string(listpack.pack([b"d", b"7"]))),
    (20, string(listpack.pack([b"a", b"7"]))),
]
"""Encodings that are only read, and their codes; the others are dumped."""

LENGTHS = [length(size) for size in (0, 1, 2, 63, 64, 2**14, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)]
ELEMENTS = [b"%d" % number for number in (0, 1, -1, 2, 127, 128, 2**31, -(2**63), 2**63 - 1)]
ELEMENTS += [b"", b"-0", b"nan", b"1e400", b"a\r\nb", b"\xff", b"9223372036854775808", b"x" * 5000]

READS = {
    "string": ["GET k", "BITCOUNT k"],
    "list": ["LRANGE k 0 -1", "LINDEX k -1"],
    "set": ["SORT k ALPHA", "SSCAN k 0"],
    "hash": ["HGETALL k", "HRANDFIELD k -3 WITHVALUES"],
    "zset": ["ZRANGE k 0 -1 WITHSCORES", "ZRANGE k - + BYLEX", "ZSCAN k 0"],
    "stream": ["XRANGE k - +", "XREVRANGE k + -", "XINFO STREAM k FULL COUNT 0", "XINFO GROUPS k"],
}
"""Commands by type; of the first one the reply stays the same when the value is written and read again."""


class Places(Reader):
    """Notes where lengths and strings are."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.lengths: list[tuple[int, int]] = []
        self.texts: list[tuple[int, int, bytes]] = []

    def length(self) -> int:
        start = self.at
        found = super().length()
        self.lengths.append((start, self.at))
        return found

    def string(self) -> bytes:
        start = self.at
        found = super().string()
        self.texts.append((start, self.at, found))
        return found


def altered(code: int, body: bytes, choose: random.Random) -> bytes:
    """The value with another length or string in it, or damaged anywhere."""
    places = Places(body)
    read_value(places, code, Config())
    kind = choose.randrange(4)
    if kind == 0 and places.lengths:
        start, end = choose.choice(places.lengths)
        return body[:start] + choose.choice(LENGTHS) + body[end:]
    if kind in (1, 2) and places.texts:
        start, end, inner = choose.choice(places.texts)
        return body[:start] + string(other(inner, choose)) + body[end:]
    return damaged(body, choose)


def other(inner: bytes, choose: random.Random) -> bytes:
    """A string in the place of ``inner``: of a listpack mostly one that is sound, but for an element."""
    try:
        elements = listpack.unpack(inner)
    except MALFORMED:
        elements = []
    if not elements or choose.randrange(4) == 0:
        return damaged(inner, choose) if inner else choose.choice(ELEMENTS)
    at = choose.randrange(len(elements))
    elements[at : at + choose.randrange(2)] = choose.choices(ELEMENTS, k=choose.randrange(2))
    return listpack.pack(elements)


def understood(wire: Wire, command: str | bytes | list[bytes]) -> Any:
    """A reply, which a client has to understand and which is no error; without negative zeros, which few members of a
    sorted set do not keep."""
    reader = hiredis.Reader()
    reader.feed(wire.ask(command))
    reply = reader.gets()
    assert not isinstance(reply, hiredis.ReplyError), (command, reply)
    return [b"0" if each == b"-0" else each for each in reply] if "ZRANGE" in command else reply


def test_values_that_are_sound_but_for_one_place() -> None:
    """Read, dump and log what is taken: it is the same again."""
    choose, taken = random.Random(10), 0
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        fill(wire)
        found = [database.data[key] for database in server.keyspace.databases for key in sorted(database.data)]
        found += [value for value in found if isinstance(value, Stream)] * 15  # in which there is most
        whole = [*VALUES, *((code_of(value), b"".join(pieces(value, server.config))) for value in found)]
        wire.ask("SELECT 0")
        for _ in range(DAMAGES // 2):
            wire.ask("FLUSHALL")
            code, body = choose.choice(whole)
            data = sealed(bytes((code,)), altered(code, body, choose))
            reply = wire.ask([b"RESTORE", b"k", b"0", data])
            if reply != b"+OK\r\n":
                assert reply == b"-ERR Bad data format\r\n"
                continue
            taken += 1
            reads = READS[understood(wire, "TYPE k").decode()]
            replies = [understood(wire, command) for command in reads]
            log = [command for command in commands_of(server.keyspace.databases) if command[0] != b"SELECT"]
            understood(wire, [b"RESTORE", b"k", b"0", understood(wire, "DUMP k"), b"REPLACE"])
            assert understood(wire, reads[0]) == replies[0], data
            wire.ask("FLUSHALL")
            for command in log:
                understood(wire, command)
            assert understood(wire, reads[0]) == replies[0], data
    assert 0 < taken < DAMAGES // 2
