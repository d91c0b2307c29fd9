"""Snapshots: what is written here a real redis-server loads, and the other way round; when they are made, and what
happens when that fails or a file is damaged."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import evio_redis
from evio_redis.__main__ import main, parse_arguments
from evio_redis.config.config import Config
from evio_redis.keyspace.keyspace import Keyspace
from evio_redis.model.route import Route
from evio_redis.persistence.rdb.crc64 import crc64
from evio_redis.persistence.rdb.primitives import string
from evio_redis.persistence.rdb.reader import load_rdb
from tests.core.harness import eventually
from tests.extent import examples
from tests.tables import each_row

from .wire import Wire, redis_server, words

FILL: list[Any] = [
    "SET empty-text-follows 1",
    ["SET", "empty", ""],
    ["SET", "binary", bytes(range(256))],
    ["SET", "long", "x" * 100_000],
    *[["SET", f"int{number}", number] for number in (-129, -1, 0, 127, 128, 32767, 32768, 2**31, -(2**63))],
    "RPUSH list a b c 1 2 -5",
    ["RPUSH", "large-list", *range(3000)],
    ["RPUSH", "plain-list", "x" * 70_000, "y"],
    "HSET hash f v g 1",
    ["HSET", "large-hash", *[f"f{number}" for number in range(1200)]],
    "SADD intset 1 2 300000",
    "SADD set a b 1",
    ["SADD", "large-set", *[f"m{number}" for number in range(1000)]],
    "ZADD zset 1 a 2.5 b -inf c",
    ["ZADD", "large-zset", *[word for number in range(300) for word in (number / 3, f"m{number}")]],
    "PFADD log a b c",
    "GEOADD geo 13.4 52.5 berlin",
    *[f"XADD stream {number}-1 field {number} other x" for number in range(1, 250)],
    "XADD stream 300-1 another field",
    "XDEL stream 5-1 6-1",
    "XGROUP CREATE stream g 0",
    "XGROUP CREATECONSUMER stream g idle",
    "XREADGROUP GROUP g c COUNT 10 STREAMS stream >",
    "XACK stream g 3-1",
    "XGROUP CREATE stream h $ ENTRIESREAD 3",
    "XGROUP CREATE empty-stream g 0 MKSTREAM",
    "SET volatile 1 PXAT 99999999999999",
    "SELECT 3",
    "SET elsewhere 1",
    "SELECT 0",
]


def fill(wire: Wire) -> None:
    for command in FILL:
        assert not wire.ask(command).startswith(b"-"), command


def content(wire: Wire) -> dict[bytes, Any]:
    """Everything there is, in a form that both servers have."""
    found: dict[bytes, Any] = {}
    for database in (0, 3):
        wire.ask(f"SELECT {database}")
        for key in sorted(part for part in wire.ask("KEYS *").split(b"\r\n")[2::2]):
            kind = wire.ask([b"TYPE", key]).strip()
            reads: dict[bytes, list[list[Any]]] = {
                b"+string": [["GET", key]],
                b"+list": [["LRANGE", key, 0, -1]],
                b"+set": [["SORT", key, "ALPHA"]],
                b"+hash": [["HGETALL", key]],
                b"+zset": [["ZRANGE", key, 0, -1, "WITHSCORES"]],
                b"+stream": [["XINFO", "STREAM", key, "FULL", "COUNT", 0]],
            }
            asked = [*reads[kind], ["PEXPIRETIME", key]]
            if kind != b"+string":  # of which encodings say how they came about, too
                asked.append(["OBJECT", "ENCODING", key])
            replies = [wire.ask(command) for command in asked]
            if kind == b"+hash":
                replies[0] = b"".join(sorted(replies[0].split(b"\r\n")))
            found[b"%d %b" % (database, key)] = replies
    wire.ask("SELECT 0")
    return found


@pytest.mark.parametrize("checksum", ["yes", "no"])
def test_a_real_server_loads_what_is_written_here(tmp_path: Path, checksum: str) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path), rdbchecksum=checksum) as server, Wire(server.port) as wire:
        fill(wire)
        expected = content(wire)
        assert wire.ask("SAVE") == b"+OK\r\n"
    with redis_server("--dir", str(tmp_path)) as port, Wire(port) as wire:
        assert content(wire) == expected


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_what_a_real_server_has_written_is_loaded_here(tmp_path: Path, compression: str) -> None:
    with redis_server("--dir", str(tmp_path), "--rdbcompression", compression) as port, Wire(port) as wire:
        fill(wire)
        expected = content(wire)
        assert wire.ask("SAVE") == b"+OK\r\n"
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        assert content(wire) == expected
        assert b"rdb_changes_since_last_save:0\r" in wire.ask("INFO persistence")


def test_functions_are_kept_for_the_next_snapshot(tmp_path: Path) -> None:
    library = "#!lua name=mine\nredis.register_function('f', function() return 1 end)"
    with redis_server("--dir", str(tmp_path)) as port, Wire(port) as wire:
        wire.ask(["FUNCTION", "LOAD", library])
        wire.ask("SAVE")
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        wire.ask("SET k v")
        assert wire.ask("SAVE") == b"+OK\r\n"
    with redis_server("--dir", str(tmp_path)) as port, Wire(port) as wire:
        assert wire.ask("FCALL f 0") == b":1\r\n"
        assert wire.ask("GET k") == b"$1\r\nv\r\n"


def test_keys_that_have_expired_are_not_loaded(tmp_path: Path) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path), enable_debug_command="yes") as server, Wire(server.port) as wire:
        wire.ask("DEBUG SET-ACTIVE-EXPIRE 0")
        wire.ask("SET gone 1 PX 1")
        wire.ask("SET stays 1 PX 1000000")
        wire.ask("SAVE")
    with evio_redis.Server(port=0, dir=str(tmp_path)) as server, Wire(server.port) as wire:
        assert wire.ask("DBSIZE") == b":1\r\n"
        said = wire.ask("INFO persistence")
        assert b"rdb_last_load_keys_expired:1\r\nrdb_last_load_keys_loaded:1\r\n" in said


def until(wire: Wire, field: bytes) -> None:
    """Wait for a field of INFO persistence."""
    deadline = time.monotonic() + 20
    while field + b"\r" not in wire.ask("INFO persistence"):
        assert time.monotonic() < deadline, field


def test_bgsave(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dir": str(tmp_path), "rdb_key_save_delay": 200_000}
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        wire.ask("SET a 1")
        assert wire.ask("BGSAVE NONSENSE") == b"-ERR syntax error\r\n"
        assert wire.ask("BGSAVE") == b"+Background saving started\r\n"
        wire.ask("SET b 2")
        for command in ("BGSAVE", "BGSAVE SCHEDULE", "SAVE"):
            assert wire.ask(command) == b"-ERR Background save already in progress\r\n"
        until(wire, b"rdb_bgsave_in_progress:0")
        assert b"rdb_last_bgsave_status:ok\r" in wire.ask("INFO persistence")
        assert b"rdb_changes_since_last_save:1\r" in wire.ask("INFO persistence")
        wire.ask("MULTI")
        wire.ask("BGSAVE")
        assert wire.ask("EXEC") == b"*1\r\n+Background saving scheduled\r\n"
        until(wire, b"rdb_changes_since_last_save:0")
    assert [each.name for each in tmp_path.iterdir()] == ["dump.rdb"]
    assert loaded(tmp_path / "dump.rdb") == 2


def loaded(path: Path) -> int:
    """The number of keys in a file."""
    keyspace = Keyspace(16, Route())
    load_rdb(keyspace, path, Config())
    return sum(len(database.data) for database in keyspace.databases)


def test_save_points(tmp_path: Path) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path), save="1 2") as server, Wire(server.port) as wire:
        wire.ask("SET a 1")
        wire.ask("SET b 1")
        until(wire, b"rdb_saves:1")
        wire.ask("SET c 1")
    assert loaded(tmp_path / "dump.rdb") == 3  # at the end, too


@pytest.mark.parametrize("save", ["999 9", ""])
def test_no_snapshot_brings_back_what_flushall_has_removed(tmp_path: Path, save: str) -> None:
    with evio_redis.Server(port=0, dir=str(tmp_path), save=save) as server, Wire(server.port) as wire:
        wire.ask("SET a 1")
        assert wire.ask("SAVE") == b"+OK\r\n"
        wire.ask("SET b 1")
        assert wire.ask("FLUSHALL") == b"+OK\r\n"
        assert (b"rdb_changes_since_last_save:0\r\n" in wire.ask("INFO persistence")) == bool(save)
        assert loaded(tmp_path / "dump.rdb") == (0 if save else 1)


def test_flushall_gives_up_the_snapshot_that_is_being_written(tmp_path: Path) -> None:
    slow = {"rdb_key_save_delay": "1000000", "enable_debug_command": "yes"}
    with evio_redis.Server(port=0, dir=str(tmp_path), save="", **slow) as server, Wire(server.port) as wire:
        wire.ask("DEBUG POPULATE 100")
        assert wire.ask("BGSAVE") == b"+Background saving started\r\n"
        assert wire.ask("FLUSHALL") == b"+OK\r\n"
        assert b"rdb_bgsave_in_progress:0\r\n" in wire.ask("INFO persistence")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("save", "command", "written"),
    [
        ("", "SHUTDOWN", False),
        ("", "SHUTDOWN SAVE", True),
        ("9 9", "SHUTDOWN", True),
        ("9 9", "SHUTDOWN NOSAVE", False),
    ],
)
def test_shutdown(tmp_path: Path, save: str, command: str, written: bool) -> None:
    server = evio_redis.Server(port=0, dir=str(tmp_path), save=save)
    with server, Wire(server.port) as wire:
        wire.ask("SET a 1")
        wire.send(command)
        assert wire.rest() == b""
    assert (tmp_path / "dump.rdb").exists() == written


def test_the_file_of_a_child_is_gone_before_the_connections_are(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dir": str(tmp_path), "rdb_key_save_delay": 10_000_000}
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        wire.ask("SET a 1")
        assert wire.ask("BGSAVE") == b"+Background saving started\r\n"
        assert eventually(lambda: any(tmp_path.iterdir()))
        wire.send("SHUTDOWN NOSAVE")
        assert wire.rest() == b""
        assert list(tmp_path.iterdir()) == []


def test_when_the_disk_refuses_writes_are_refused(tmp_path: Path) -> None:
    """The file's name is that of a directory, so that the snapshot cannot take its place."""
    obstacle = tmp_path / "dump.rdb"
    server = evio_redis.Server(port=0, dir=str(tmp_path), save="3600 1")
    with server, Wire(server.port) as wire:
        obstacle.mkdir()
        wire.ask("SET a 1")
        assert wire.ask("SAVE").startswith(b"-ERR")
        assert wire.ask("SHUTDOWN") == b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
        assert wire.ask("BGSAVE") == b"+Background saving started\r\n"
        until(wire, b"rdb_last_bgsave_status:err")
        assert wire.ask("SET a 2").startswith(b"-MISCONF Redis is configured to save RDB snapshots")
        assert wire.ask("GET a") == b"$1\r\n1\r\n"
        assert wire.ask("CONFIG SET stop-writes-on-bgsave-error no") == b"+OK\r\n"
        assert wire.ask("SET a 2") == b"+OK\r\n"
        assert wire.ask("CONFIG SET stop-writes-on-bgsave-error yes") == b"+OK\r\n"
        assert wire.ask("SET a 3").startswith(b"-MISCONF")
        obstacle.rmdir()
        assert wire.ask("BGSAVE") == b"+Background saving started\r\n"
        until(wire, b"rdb_last_bgsave_status:ok")
        assert wire.ask("SET a 3") == b"+OK\r\n"
    assert [each.name for each in tmp_path.iterdir()] == ["dump.rdb"]


def test_a_child_that_is_killed_leaves_the_last_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "evio_redis")
    settings: dict[str, Any] = {"dir": str(tmp_path)}
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        wire.ask("SET a 1")
        wire.ask("SAVE")
        before = (tmp_path / "dump.rdb").read_bytes()
        wire.ask("CONFIG SET rdb-key-save-delay 10000000")
        wire.ask("BGSAVE")
        started = re.search(r"Background saving started by pid (\d+)", caplog.text)
        assert started
        os.kill(int(started[1]), signal.SIGKILL)
        until(wire, b"rdb_last_bgsave_status:err")
        assert (tmp_path / "dump.rdb").read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["dump.rdb"]


def test_a_file_without_save_points_has_those_of_redis(tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    path.write_text("port 0\n")
    assert parse_arguments([str(path)]).save == "3600 1 300 100 60 10000"
    assert parse_arguments([str(path), "--save", ""]).save == ""
    path.write_text('save ""\n')
    assert parse_arguments([str(path)]).save == ""
    assert parse_arguments(["--port", "0"]).save == ""
    for save in ("", "9 9"):
        path.write_text("port 0\n")
        config = parse_arguments([str(path)])
        config.set([("save", save)])
        config.rewrite()
        assert parse_arguments([str(path)]).save == save


# -- the log


def test_the_base_of_the_log_is_a_snapshot(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dir": str(tmp_path), "appendonly": "yes"}
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        fill(wire)
        expected = content(wire)
        assert wire.ask("BGREWRITEAOF").startswith(b"+Background")
        until(wire, b"aof_rewrite_in_progress:0")
        wire.ask("SET after 1")
    (base,) = (tmp_path / "appendonlydir").glob("*.base.rdb")
    assert base.read_bytes()[:5] == b"REDIS"
    with redis_server("--dir", str(tmp_path), "--appendonly", "yes") as port, Wire(port) as wire:
        assert wire.ask("DEL after") == b":1\r\n"
        assert content(wire) == expected
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        assert content(wire) == expected


# -- damaged files


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("snapshot")
    with evio_redis.Server(port=0, dir=str(directory)) as server, Wire(server.port) as wire:
        fill(wire)
        wire.ask("DEL long plain-list large-list large-hash large-set large-zset")
        wire.ask("SAVE")
    return (directory / "dump.rdb").read_bytes()


def test_damage_is_one_line_with_the_offset(snapshot: bytes, tmp_path: Path) -> None:
    """Flipped and cut at random, with a checksum that is right: it loads, or it is refused in one line."""
    draw = random.Random(7)
    path = tmp_path / "dump.rdb"
    refused = 0
    count = examples(400)
    for _ in range(count):
        data = bytearray(snapshot[:-8])
        for _ in range(draw.choice([1, 1, 3])):
            data[draw.randrange(9, len(data))] = draw.choice([draw.randrange(256), 0xFF, 0x80, 0x81, 0xC3])
        if draw.random() < 0.3:
            del data[draw.randrange(9, len(data)) :]
        path.write_bytes(bytes(data) + crc64(bytes(data)).to_bytes(8, "little"))
        try:
            loaded(path)
        except evio_redis.LogCorrupt as error:
            refused += 1
            assert "\n" not in str(error)
            assert " at offset " in str(error)
    assert refused > count / 4


@each_row(
    ("data", "error"),
    [
        (b"", "it is empty, not an RDB file"),
        (b"hello world", "not an RDB file of a version up to 11 at offset 0"),
        (b"REDIS0012\xff", "not an RDB file of a version up to 11 at offset 0"),
        (b"REDIS00x0\xff", "not an RDB file of a version up to 11 at offset 0"),
        (b"REDIS0010", "it ends too early at offset 9"),
        (b"REDIS0010\xfe\x30\x00\x01k\x01v\xff", "database 48, though there are 16 (see 'databases'), at offset 11"),
        (b"REDIS0010\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xff", "it ends too early at offset 19"),
        (b"REDIS0010\x01\x01k\x80\xff\xff\xff\xff", "it ends too early at offset 17"),
        (b"REDIS0010\x00\x01k\x01v\x00\x01k\x01v\xff", "a key twice, b'k', at offset 19"),
        (b"REDIS0010\xf7\x01", "data of a module, which this server does not have, at offset 10"),
        (b"REDIS0010\x07\x01k", "a value of type 7, which this server does not have at offset 12"),
        (b"REDIS0010\xff12345678", "RDB CRC error: the checksum is wrong at offset 18"),
    ],
)
def test_what_is_no_snapshot(data: bytes, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(data)
    with pytest.raises(evio_redis.LogCorrupt) as raised:
        loaded(path)
    assert str(raised.value) == f"{path}: {error}"
    with pytest.raises(evio_redis.LogCorrupt), evio_redis.Server(port=0, dir=str(tmp_path)):
        pass
    if "database" not in error:
        assert main(["--check", str(path)]) == 1
        assert capsys.readouterr().err == f"evio-redis: {path}: {error}\n"


@pytest.mark.parametrize("offset", [pytest.param(b"9" * 5000, id="5000 digits"), b"%d" % (2**63 - 1), b"-1", b"x", b""])
def test_a_place_in_a_stream_that_is_none_is_not_gone_on_from(offset: bytes, tmp_path: Path) -> None:
    facts = {b"repl-id": b"a" * 40, b"repl-offset": offset, b"repl-stream-db": offset}
    notes = b"".join(b"\xfa" + string(name) + string(fact) for name, fact in facts.items())
    (tmp_path / "dump.rdb").write_bytes(b"REDIS0010" + notes + b"\x00\x01k\x01v\xff" + bytes(8))
    for settings in ({}, {"replicaof": "127.0.0.1 1"}):
        with evio_redis.Server(port=0, dir=str(tmp_path), save="", **settings) as server, Wire(server.port) as wire:
            assert wire.ask("GET k") == b"$1\r\nv\r\n"
            assert b"a" * 40 not in wire.ask("INFO replication")


def test_check_says_what_is_in_a_snapshot(snapshot: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(snapshot)
    command = [sys.executable, "-m", "evio_redis", "--check"]
    shown = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == f"{path}: {loaded(path)} keys in 2 databases, 1 of them expire\n"
    assert main(["--check", str(tmp_path / "no")]) == 1
    assert capsys.readouterr().err == f"evio-redis: {tmp_path / 'no'}: No such file or directory\n"
    assert main(["--check"]) == 2


def test_many_keys_are_written_while_others_are_served(tmp_path: Path) -> None:
    """Nothing is measured: replies come while the child writes."""
    settings: dict[str, Any] = {"dir": str(tmp_path), "enable_debug_command": "yes"}
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        wire.ask(f"DEBUG POPULATE {examples(100_000)} key 20")
        wire.ask("BGSAVE")
        served = 0
        while b"rdb_bgsave_in_progress:1\r" in wire.ask("INFO persistence"):
            wire.send(*(words("GET key:1") for _ in range(10)))
            served += len([wire.reply() for _ in range(10)])
        assert served > 0
    assert loaded(tmp_path / "dump.rdb") == examples(100_000)
