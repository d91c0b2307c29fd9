"""DUMP and RESTORE, and that a real redis-server and this one take each other's payloads."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import redis

import evio_redis
from tests.tables import each_row

from .transcripts import Conversation, check, conversations
from .wire import Wire, redis_server

TRANSCRIPT = r"""
DUMP nothing -> $-1 | _
DUMP -> -ERR wrong number of arguments for 'dump' command
RESTORE k 0 -> -ERR wrong number of arguments for 'restore' command

SET n 1 -> +OK
DUMP n -> $13 \x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc

RESTORE k 0 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" -> +OK
GET k -> $1 1
OBJECT ENCODING k -> $3 int
TTL k -> :-1

RESTORE k 0 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xf!" -> -ERR DUMP payload version or checksum are wrong
RESTORE k 0 "" -> -ERR DUMP payload version or checksum are wrong
DEBUG SET-SKIP-CHECKSUM-VALIDATION 1 -> +OK
RESTORE l 0 "\x00\xc0\x02\n\x00........" -> +OK
GET l -> $1 2
RESTORE l 0 "\x00\xc0\x02\x0b\x00........" REPLACE -> -ERR DUMP payload version or checksum are wrong
RESTORE l 0 "." REPLACE -> -ERR DUMP payload version or checksum are wrong
DEBUG SET-SKIP-CHECKSUM-VALIDATION 0 -> +OK
RESTORE l 0 "\x00\xc0\x02\n\x00........" REPLACE -> -ERR DUMP payload version or checksum are wrong
RESTORE k 0 "\x00\xc0\x01\x0b\x00&x\xe7\xb6\xd1\x01\x11\xfc" -> -ERR DUMP payload version or checksum are wrong
RESTORE k x y -> -ERR value is not an integer or out of range
RESTORE k -1 y -> -ERR Invalid TTL value, must be >= 0
RESTORE k 0 y FOO -> -ERR syntax error
RESTORE k 0 y IDLETIME -> -ERR syntax error
RESTORE k 0 y IDLETIME x -> -ERR value is not an integer or out of range
RESTORE k 0 y IDLETIME -1 -> -ERR Invalid IDLETIME value, must be >= 0
RESTORE k 0 y FREQ -1 -> -ERR Invalid FREQ value, must be >= 0 and <= 255
RESTORE k 0 y FREQ 256 -> -ERR Invalid FREQ value, must be >= 0 and <= 255
RESTORE k 0 y FREQ 1 IDLETIME 1 -> -ERR syntax error
RESTORE k 0 y IDLETIME 1 FREQ 1 -> -ERR syntax error

SET k v -> +OK
RESTORE k x y FREQ 1 -> -BUSYKEY Target key name already exists.
RESTORE k 0 y REPLACE -> -ERR DUMP payload version or checksum are wrong
GET k -> $1 v
RESTORE k 0 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" replace -> +OK
GET k -> $1 1
RESTORE k 1 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" ABSTTL REPLACE -> +OK
EXISTS k -> :0
RESTORE k 1 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" ABSTTL -> +OK
EXISTS k -> :0
RESTORE k 9999999999999 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" ABSTTL FREQ 5 -> +OK
PEXPIRETIME k -> :9999999999999
RESTORE k 0 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" REPLACE -> +OK
TTL k -> :-1
RESTORE k 1000000 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" REPLACE -> +OK
TTL k -> :1000

RESTORE k 0 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" IDLETIME 1000 -> +OK
TYPE k -> +string
OBJECT IDLETIME k -> :1000
GET k -> $1 1
OBJECT IDLETIME k -> :0
RESTORE k 0 "\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc" REPLACE -> +OK
OBJECT IDLETIME k -> :0
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


def test_why_a_payload_is_refused_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    from evio_redis.persistence.rdb.crc64 import crc64

    data = b"\xff\x0a\x00"
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        assert wire.ask(["RESTORE", "k", "0", data + crc64(data).to_bytes(8, "little")]).startswith(b"-ERR Bad data")
    assert "RESTORE: the payload's integrity check failed: " in caplog.text


@each_row("body", ["ff", "10", "0f00", "0200", "0400", "0a00", "1200", "0d0461626364", "12010100"])
def test_what_is_no_value_or_an_empty_one_is_refused(port: int, body: str) -> None:
    from evio_redis.persistence.rdb.crc64 import crc64

    data = bytes.fromhex(body) + b"\x0a\x00"
    data += crc64(data).to_bytes(8, "little")
    with Wire(port) as wire:
        wire.ask("FLUSHALL")
        assert wire.ask(["RESTORE", "k", "0", data]) == b"-ERR Bad data format\r\n"
        assert wire.ask("EXISTS k") == b":0\r\n"


def test_what_becomes_known_of_it(port: int) -> None:
    """Notifications, WATCH, blocked clients and the number of changes."""
    with redis.Redis(port=port) as client, redis.Redis(port=port) as other, Wire(port) as blocked:
        client.flushall()
        client.rpush("l", "a")
        data = client.dump("l")
        client.delete("l")
        client.config_set("notify-keyspace-events", "KEA")
        listener = client.pubsub()
        listener.psubscribe("__keyevent@0__:*")
        assert listener.get_message(timeout=20)["type"] == "psubscribe"
        before = changes(client)
        client.restore("l", 0, data)
        client.restore("l", 1000, data, replace=True)
        client.restore("l", 1, data, replace=True, absttl=True)
        client.restore("l", 1, data, absttl=True)
        assert changes(client) - before == 3
        heard = [listener.get_message(timeout=20)["channel"].rpartition(b":")[2] for _ in range(3)]
        assert heard == [b"restore", b"restore", b"del"]
        listener.close()
        client.config_set("notify-keyspace-events", "")
        with other.pipeline() as pipe:
            pipe.watch("l")
            client.restore("l", 0, data)
            pipe.multi()
            pipe.ping()
            with pytest.raises(redis.WatchError):
                pipe.execute()
        client.delete("l")
        blocked.send("BLPOP l 0")
        while client.info("clients")["blocked_clients"] == 0:
            pass
        client.restore("l", 0, data)
        assert blocked.reply() == b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"


def changes(client: redis.Redis) -> int:
    return int(client.info("persistence")["rdb_changes_since_last_save"])


def fill(client: redis.Redis) -> None:
    """Keys of every type and encoding."""
    client.mset({"int": 5, "int16": -300, "int32": 100000, "int64": 2**40, "embstr": "hello", "raw": "abc" * 100})
    client.mset({"long": bytes(range(256)) * 300, "empty": "", "zeros": "0" * 5000})
    client.rpush("list", "a", 1, -1, 2**63 - 1, "", "x" * 70)
    client.rpush("long list", *(f"element {number}" for number in range(3000)))
    client.rpush("list of large elements", "x" * 100_000, "y", "z" * 20_000)
    client.sadd("intset16", 1, 2, -3)
    client.sadd("intset32", 100_000, -1)
    client.sadd("intset64", 2**40, 1)
    client.sadd("set", "a", "b", 1)
    client.sadd("large set", *range(1000))
    client.hset("hash", mapping={"f": "v", "n": 12345, "": "x" * 64})
    client.hset("hash with a large value", mapping={"f": "v" * 65})
    client.hset("large hash", mapping={f"field {number}": number for number in range(600)})
    client.zadd("zset", {"a": 1, "b": 1.5, "c": float("-inf"), "d": 2**60, "e": 1e300, "f": -0.0})
    client.zadd("large zset", {f"member {number}": number / 7 for number in range(300)})


UNORDERED = {b"set", b"large set", b"large hash", b"hash with a large value"}
"""In hash tables: each server has its own order."""


def seen(client: redis.Redis) -> dict[Any, Any]:
    reads: dict[Any, Any] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": lambda key: sorted(client.smembers(key)),
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    keys: list[Any] = client.keys()
    return {key: (reads[client.type(key)](key), client.object("encoding", key)) for key in keys}


def dumps(client: redis.Redis) -> dict[Any, Any]:
    keys: list[Any] = client.keys()
    return {key: client.dump(key) for key in keys}


def test_each_server_restores_what_the_other_dumped() -> None:
    with (
        evio_redis.Server(port=0) as server,
        redis_server() as real_port,
        redis.Redis(port=server.port) as ours,
        redis.Redis(port=real_port) as real,
    ):
        real.config_set("sanitize-dump-payload", "yes")
        fill(ours)
        fill(real)
        expected = seen(real)
        assert seen(ours) == expected
        compressed, written = dumps(real), dumps(ours)
        real.config_set("rdbcompression", "no")
        plain = dumps(real)
        assert {key: written[key] for key in written if key not in UNORDERED} == {
            key: plain[key] for key in plain if key not in UNORDERED
        }
        for client, each in ((real, written), (ours, compressed), (ours, plain)):
            client.flushall()
            for key, data in each.items():
                client.restore(key, 0, data)
            assert seen(client) == expected


def test_what_exceeds_the_limits_of_now_gets_another_encoding(port: int) -> None:
    with redis.Redis(port=port) as client:
        client.flushall()
        client.hset("h", mapping={"a": "x" * 40, "b": "y"})
        client.zadd("z", {"a" * 40: 1, "b": 2})
        client.sadd("s", 1, 2)
        data = dumps(client)
        names = {b"h": "hash-max-listpack-{}", b"z": "zset-max-listpack-{}", b"s": "set-max-intset-{}"}
        usual = {b"h": (128, 64), b"z": (128, 64), b"s": (512, 0)}
        for key, (entries, size) in usual.items():
            small = b"intset" if key == b"s" else b"listpack"
            large = b"skiplist" if key == b"z" else b"hashtable"
            assert client.object("encoding", key) == small
            client.config_set(names[key].format("entries"), 1)
            client.restore(key, 0, data[key], replace=True)
            assert client.object("encoding", key) == large
            client.config_set(names[key].format("entries"), entries)
            loose = client.dump(key)  # not packed
            client.restore(key, 0, loose, replace=True)
            assert client.object("encoding", key) == small
            if size:
                client.config_set(names[key].format("value"), 8)
                client.restore(key, 0, data[key], replace=True)
                assert client.object("encoding", key) == small  # what is packed is not looked at so closely
                client.restore(key, 0, loose, replace=True)
                assert client.object("encoding", key) == large
                client.config_set(names[key].format("value"), size)


def test_the_log_has_the_absolute_time(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"port": 0, "dir": str(tmp_path), "appendonly": True}
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        client.set("v", "x")
        data = client.dump("v")
        client.restore("k", 1_000_000, data)
        client.restore("gone", 0, data)
        client.restore("gone", 1, data, replace=True, absttl=True)
        client.restore("never", 1, data, absttl=True)
        when = client.pexpiretime("k")
        assert abs(when - time.time() * 1000 - 1_000_000) < 20_000
    with evio_redis.Server(**settings) as server, redis.Redis(port=server.port) as client:
        assert client.keys() == [b"v", b"k"]
        assert client.pexpiretime("k") == when
    log = b"".join(file.read_bytes() for file in (tmp_path / "appendonlydir").glob("*.incr.aof"))
    assert re.findall(rb"\r\n(RESTORE|DEL|ABSTTL|never)\r\n", log) == [b"RESTORE", b"ABSTTL", b"RESTORE", b"DEL"]
