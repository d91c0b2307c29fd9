"""OBJECT: the encodings that redis-server would use, after whatever was done to a value."""

from __future__ import annotations

from pathlib import Path

import pytest

import evio_redis
from evio_redis.clients.session import DIRECT
from evio_redis.execution.dispatcher import Dispatcher
from evio_redis.keyspace import idle_times
from evio_redis.keyspace.types.strings import EMBEDDED_MAX, embedded, encoding_of, raw
from evio_redis.model.route import Route

from .transcripts import Conversation, check, conversations
from .wire import Wire

TRANSCRIPT = r"""
OBJECT -> -ERR wrong number of arguments for 'object' command

OBJECT ENCODING -> -ERR wrong number of arguments for 'object|encoding' command

OBJECT ENCODING a b -> -ERR wrong number of arguments for 'object|encoding' command

OBJECT REFCOUNT -> -ERR wrong number of arguments for 'object|refcount' command

OBJECT FREQ -> -ERR wrong number of arguments for 'object|freq' command

OBJECT IDLETIME -> -ERR wrong number of arguments for 'object|idletime' command

OBJECT FOO -> -ERR unknown subcommand 'FOO'. Try OBJECT HELP.

OBJECT FOO a -> -ERR unknown subcommand 'FOO'. Try OBJECT HELP.

OBJECT HELP a -> -ERR wrong number of arguments for 'object|help' command

OBJECT ENCODING k -> $-1 | _
OBJECT REFCOUNT k -> $-1 | _
OBJECT IDLETIME k -> $-1 | _
OBJECT FREQ k -> $-1 | _

SET k v -> +OK
OBJECT FREQ k -> -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when
  switching between policies at runtime LRU and LFU data will take some time to adjust.

SET k v -> +OK
OBJECT IDLETIME k -> :0

SET k 9999 -> +OK
OBJECT REFCOUNT k -> :2147483647
SET k 10000 -> +OK
OBJECT REFCOUNT k -> :1
SET k -1 -> +OK
OBJECT REFCOUNT k -> :1
SET k a -> +OK
OBJECT REFCOUNT k -> :1

SET k "" -> +OK
OBJECT ENCODING k -> $6 embstr

SET k a -> +OK
OBJECT ENCODING k -> $6 embstr

SET k 10 -> +OK
OBJECT ENCODING k -> $3 int

SET k -5 -> +OK
OBJECT ENCODING k -> $3 int

SET k 007 -> +OK
OBJECT ENCODING k -> $6 embstr

SET k 1.5 -> +OK
OBJECT ENCODING k -> $6 embstr

SET k xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx -> +OK
OBJECT ENCODING k -> $6 embstr

SET k xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx -> +OK
OBJECT ENCODING k -> $3 raw

SET k 9999999999999999999 -> +OK
OBJECT ENCODING k -> $6 embstr

SET k 9223372036854775807 -> +OK
OBJECT ENCODING k -> $3 int

SET k -9223372036854775808 -> +OK
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
APPEND k 3 -> :3
OBJECT ENCODING k -> $3 raw
GET k -> $3 123
INCR k -> :124
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
APPEND k "" -> :2
OBJECT ENCODING k -> $3 raw
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
SETRANGE k 0 4 -> :2
OBJECT ENCODING k -> $3 raw
GET k -> $2 42
INCR k -> :43
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
SETRANGE k 0 "" -> :2
OBJECT ENCODING k -> $3 int
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
SETBIT k 0 0 -> :0
OBJECT ENCODING k -> $3 raw
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
BITFIELD k GET u8 0 -> *1 :49
OBJECT ENCODING k -> $3 int
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
BITFIELD k SET u8 0 49 -> *1 :49
OBJECT ENCODING k -> $3 raw
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
BITFIELD k OVERFLOW FAIL SET u8 0 999 -> *1 $-1 | *1 _
OBJECT ENCODING k -> $3 raw
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
BITOP OR k k -> :2
OBJECT ENCODING k -> $3 raw
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
INCR k -> :13
OBJECT ENCODING k -> $3 int
GET k -> $2 13
INCR k -> :14
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
INCRBYFLOAT k 1 -> $2 13
OBJECT ENCODING k -> $6 embstr
GET k -> $2 13
INCR k -> :14
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
GETEX k -> $2 12
OBJECT ENCODING k -> $3 int
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
GETRANGE k 0 1 -> $2 12
OBJECT ENCODING k -> $3 int
GET k -> $2 12
INCR k -> :13
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
SET k 5 KEEPTTL -> +OK
OBJECT ENCODING k -> $3 int
GET k -> $1 5
INCR k -> :6
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
SET k 6 GET -> $2 12
OBJECT ENCODING k -> $3 int
GET k -> $1 6
INCR k -> :7
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
GETSET k 7 -> $2 12
OBJECT ENCODING k -> $3 int
GET k -> $1 7
INCR k -> :8
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
SETEX k 100 8 -> +OK
OBJECT ENCODING k -> $3 int
GET k -> $1 8
INCR k -> :9
OBJECT ENCODING k -> $3 int

SET k 12 -> +OK
MSET k 9 -> +OK
OBJECT ENCODING k -> $3 int
GET k -> $1 9
INCR k -> :10
OBJECT ENCODING k -> $3 int

APPEND k 3 -> :1
OBJECT ENCODING k -> $3 int
STRLEN k -> :1

APPEND k a -> :1
OBJECT ENCODING k -> $6 embstr
STRLEN k -> :1

APPEND k "" -> :0
OBJECT ENCODING k -> $6 embstr
STRLEN k -> :0

SETRANGE k 0 4 -> :1
OBJECT ENCODING k -> $3 raw
STRLEN k -> :1

SETRANGE k 3 a -> :4
OBJECT ENCODING k -> $3 raw
STRLEN k -> :4

SETBIT k 0 0 -> :0
OBJECT ENCODING k -> $3 raw
STRLEN k -> :1

BITFIELD k SET u8 0 49 -> *1 :0
OBJECT ENCODING k -> $3 raw
STRLEN k -> :1

INCR k -> :1
OBJECT ENCODING k -> $3 int
STRLEN k -> :1

INCRBYFLOAT k 1 -> $1 1
OBJECT ENCODING k -> $6 embstr
STRLEN k -> :1

INCRBYFLOAT k 0.1 -> $3 0.1
OBJECT ENCODING k -> $6 embstr
STRLEN k -> :3

SETNX k 1 -> :1
OBJECT ENCODING k -> $3 int
STRLEN k -> :1

GETSET k 1 -> $-1 | _
OBJECT ENCODING k -> $3 int
STRLEN k -> :1

INCRBYFLOAT k 1e44 -> $45 100000000000000000001038625398088182045605888
OBJECT ENCODING k -> $3 raw
STRLEN k -> :45

SET k a -> +OK
APPEND k b -> :2
GET k -> $2 ab
MGET k k -> *2 $2 ab $2 ab
GETRANGE k 0 0 -> $1 a
STRLEN k -> :2
TYPE k -> +string
GETSET k c -> $2 ab
OBJECT ENCODING k -> $6 embstr

SET k a -> +OK
APPEND k b -> :2
COPY k j -> :1
RENAME k i -> +OK
OBJECT ENCODING j -> $3 raw
OBJECT ENCODING i -> $3 raw
GET j -> $2 ab

SET k a -> +OK
APPEND k b -> :2
SET k ab -> +OK
OBJECT ENCODING k -> $6 embstr

SET k 1 -> +OK
APPEND k 2 -> :2
DECRBY k 2 -> :10
GET k -> $2 10
OBJECT ENCODING k -> $3 int

SET k 1 -> +OK
APPEND k 2 -> :2
INCRBYFLOAT k 0.5 -> $4 12.5
OBJECT ENCODING k -> $6 embstr

SET k a -> +OK
APPEND k b -> :2
GETBIT k 1 -> :1
BITCOUNT k -> :6
BITPOS k 1 -> :1
LCS k k -> $2 ab
APPEND k c -> :3
GETDEL k -> $3 abc
EXISTS k -> :0

SET k a -> +OK
APPEND k b -> :2
LPUSH k x -> -WRONGTYPE Operation against a key holding the wrong kind of value
SADD k x -> -WRONGTYPE Operation against a key holding the wrong kind of value
HGET k x -> -WRONGTYPE Operation against a key holding the wrong kind of value
ZSCORE k x -> -WRONGTYPE Operation against a key holding the wrong kind of value
SORT k -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH k a -> :1
OBJECT ENCODING k -> $9 quicklist
OBJECT REFCOUNT k -> :1

SADD k 1 2 -> :2
OBJECT ENCODING k -> $6 intset
SADD k a -> :1
OBJECT ENCODING k -> $9 hashtable
SREM k a -> :1
OBJECT ENCODING k -> $9 hashtable

HSET k a 1 -> :1
OBJECT ENCODING k -> $8 listpack
HSET k a xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx -> :0
OBJECT ENCODING k -> $9 hashtable

ZADD k 1 a -> :1
OBJECT ENCODING k -> $8 listpack
ZADD k 1 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx -> :1
OBJECT ENCODING k -> $8 skiplist
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


def test_what_is_marked_is_bytes_all_the_same() -> None:
    assert raw(b"a") == b"a"
    assert hash(raw(b"a")) == hash(b"a")
    assert type(raw(b"a" * (EMBEDDED_MAX + 1))) is bytes
    assert type(embedded(b"1.5")) is bytes
    assert [encoding_of(each(b"12")) for each in (bytes, raw, embedded)] == ["int", "raw", "embstr"]


def test_strings_changed_in_place_are_written_to_the_log_and_digested_as_strings(tmp_path: Path) -> None:
    settings = {"port": 0, "dir": str(tmp_path), "appendonly": True, "enable_debug_command": "yes"}
    with evio_redis.Server(**settings) as server, Wire(server.port) as wire:
        for command in ("SET a 1", "APPEND a 2", "SETBIT b 1 1", "INCRBYFLOAT c 3", "SET d 12"):
            wire.ask(command)
        digest, same = wire.ask("DEBUG DIGEST"), wire.ask("DEBUG DIGEST-VALUE a d").split(b"\r\n")
        assert same[2] == same[4]
        assert wire.ask("MEMORY USAGE a").startswith(b":")
        assert wire.ask("DEBUG RELOAD") == b"+OK\r\n"
        assert wire.ask("DEBUG DIGEST") == digest
        assert wire.ask("MGET a b c") == b"*3\r\n$2\r\n12\r\n$1\r\n@\r\n$1\r\n3\r\n"


def test_idle_times_are_those_since_the_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(idle_times, "monotonic", lambda: now)
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        wire.ask("MSET a 1 b 1 c 1 d 1")
        assert wire.ask("OBJECT IDLETIME a") == b":0\r\n"
        now += 100
        server.services[idle_times.Accesses].tick()
        for command in ("GET a", "gEt b", "MULTI", "GET c", "EXEC", "EXISTS d"):
            wire.ask(command)
        now += 20
        server.services[idle_times.Accesses].tick()
        idle = [wire.ask(f"OBJECT IDLETIME {key}") for key in "abcd"]
        assert idle == [b":20\r\n", b":20\r\n", b":20\r\n", b":120\r\n"]
        assert wire.ask("MSET a 1 b 2") == b"+OK\r\n"
        assert [wire.ask(f"OBJECT IDLETIME {key}") for key in "abc"] == [b":0\r\n", b":0\r\n", b":20\r\n"]


def test_after_asking_for_an_idle_time_commands_are_run_directly() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        wire.ask("SET k v")
        assert wire.ask("OBJECT IDLETIME k") == b":0\r\n"
        assert not server.services[Route].long
        assert b"GET" in server.services[Dispatcher].ways[DIRECT][2]
