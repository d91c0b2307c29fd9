"""Keys, whatever they hold: removing, renaming, copying, moving, listing, as redis-server does it."""

from __future__ import annotations

from pathlib import Path

import pytest

import evio_redis

from . import changes
from .transcripts import Conversation, check, conversations
from .wire import Wire

TRANSCRIPT = r"""
DEL -> -ERR wrong number of arguments for 'del' command

UNLINK -> -ERR wrong number of arguments for 'unlink' command

EXISTS -> -ERR wrong number of arguments for 'exists' command

TYPE -> -ERR wrong number of arguments for 'type' command

TOUCH -> -ERR wrong number of arguments for 'touch' command

RENAME -> -ERR wrong number of arguments for 'rename' command

RENAMENX -> -ERR wrong number of arguments for 'renamenx' command

COPY -> -ERR wrong number of arguments for 'copy' command

MOVE -> -ERR wrong number of arguments for 'move' command

SWAPDB -> -ERR wrong number of arguments for 'swapdb' command

KEYS -> -ERR wrong number of arguments for 'keys' command

WAIT -> -ERR wrong number of arguments for 'wait' command

RENAME k -> -ERR wrong number of arguments for 'rename' command

RENAMENX k -> -ERR wrong number of arguments for 'renamenx' command

MOVE k -> -ERR wrong number of arguments for 'move' command

SWAPDB k -> -ERR wrong number of arguments for 'swapdb' command

COPY k -> -ERR wrong number of arguments for 'copy' command

WAIT k -> -ERR wrong number of arguments for 'wait' command

TYPE a b -> -ERR wrong number of arguments for 'type' command

KEYS a b -> -ERR wrong number of arguments for 'keys' command

RANDOMKEY a -> -ERR wrong number of arguments for 'randomkey' command

DBSIZE a -> -ERR wrong number of arguments for 'dbsize' command

MOVE k 1 2 -> -ERR wrong number of arguments for 'move' command

DEL a -> :0
MSET a 1 b 2 -> +OK
DEL a a b c -> :2
DBSIZE -> :0

MSET a 1 b 2 -> +OK
UNLINK a b a -> :2
EXISTS a b -> :0

MSET a 1 b 2 -> +OK
EXISTS a a b c -> :3
TOUCH a a b c -> :3

SET s 1 -> +OK
RPUSH l 1 -> :1
SADD t 1 -> :1
ZADD z 1 1 -> :1
HSET h a 1 -> :1
TYPE s -> +string
TYPE l -> +list
TYPE t -> +set
TYPE z -> +zset
TYPE h -> +hash
TYPE nokey -> +none

RENAME a b -> -ERR no such key

RENAME a a -> -ERR no such key

RENAMENX a b -> -ERR no such key

RENAMENX a a -> -ERR no such key

SET a 1 -> +OK
RENAME a a -> +OK
RENAMENX a a -> :0
GET a -> $1 1

SET a 1 EX 100 -> +OK
SET b 2 -> +OK
RENAME a b -> +OK
TTL b -> :100
EXISTS a -> :0
GET b -> $1 1

SET a 1 -> +OK
SET b 2 EX 100 -> +OK
RENAME a b -> +OK
TTL b -> :-1

SET a 1 -> +OK
SET b 2 -> +OK
RENAMENX a b -> :0
RENAMENX a c -> :1
MGET a b c -> *3 $-1 $1 2 $1 1 | *3 _ $1 2 $1 1

SET a 1 -> +OK
RPUSH b x -> :1
RENAME a b -> +OK
TYPE b -> +string

COPY a b -> :0

COPY a a -> -ERR source and destination objects are the same

COPY a b DB -> -ERR syntax error

COPY a b FOO -> -ERR syntax error

COPY a b DB x -> -ERR value is not an integer or out of range

COPY a b DB 16 -> -ERR DB index is out of range

COPY a b DB -1 -> -ERR DB index is out of range

COPY a b DB 4294967296 -> -ERR value is out of range, value must between -2147483648 and 2147483647

COPY a a DB 0 -> -ERR source and destination objects are the same

SET a 1 -> +OK
COPY a a DB 1 -> :1
SELECT 1 -> +OK
GET a -> $1 1

SET a 1 EX 100 -> +OK
COPY a b -> :1
TTL b -> :100
SET a 2 -> +OK
COPY a b -> :0
GET b -> $1 1
COPY a b REPLACE -> :1
GET b -> $1 2
TTL b -> :-1

RPUSH l a b -> :2
COPY l m -> :1
RPUSH m c -> :3
LRANGE l 0 -1 -> *2 $1 a $1 b
LRANGE m 0 -1 -> *3 $1 a $1 b $1 c

SADD s a -> :1
COPY s t -> :1
SADD t b -> :1
SCARD s -> :1
SCARD t -> :2

HSET h a 1 -> :1
COPY h g -> :1
HSET g b 1 -> :1
HLEN h -> :1
HLEN g -> :2

ZADD z 1 a -> :1
COPY z y -> :1
ZADD y 2 b -> :1
ZCARD z -> :1
ZCARD y -> :2

SET a 1 -> +OK
RPUSH b x -> :1
COPY a b -> :0
COPY a b replace -> :1
TYPE b -> +string

MOVE a 1 -> :0

MOVE a 0 -> -ERR source and destination objects are the same

MOVE a 16 -> -ERR DB index is out of range

MOVE a -1 -> -ERR DB index is out of range

MOVE a x -> -ERR value is not an integer or out of range

MOVE a 4294967296 -> -ERR value is out of range, value must between -2147483648 and 2147483647

SET a 1 EX 100 -> +OK
MOVE a 1 -> :1
EXISTS a -> :0
SELECT 1 -> +OK
TTL a -> :100

SET a 1 -> +OK
SELECT 1 -> +OK
SET a 2 -> +OK
SELECT 0 -> +OK
MOVE a 1 -> :0
GET a -> $1 1

SWAPDB 0 0 -> +OK

SWAPDB 0 16 -> -ERR DB index is out of range

SWAPDB x 0 -> -ERR invalid first DB index

SWAPDB 0 x -> -ERR invalid second DB index

SWAPDB 4294967296 0 -> -ERR invalid first DB index

SET a 1 -> +OK
SWAPDB 0 1 -> +OK
EXISTS a -> :0
SELECT 1 -> +OK
GET a -> $1 1

RANDOMKEY -> $-1 | _
SET a 1 -> +OK
RANDOMKEY -> $1 a

DBSIZE -> :0
SET a 1 -> +OK
DBSIZE -> :1
SELECT 1 -> +OK
DBSIZE -> :0

KEYS * -> *0
SET key 1 -> +OK
KEYS * -> *1 $3 key
KEYS k?y -> *1 $3 key
KEYS k -> *0
KEYS [k]* -> *1 $3 key
KEYS "" -> *0

FLUSHDB FOO -> -ERR syntax error

FLUSHDB ASYNC SYNC -> -ERR syntax error

FLUSHALL FOO -> -ERR syntax error

SET a 1 -> +OK
SELECT 1 -> +OK
SET b 1 -> +OK
FLUSHDB -> +OK
DBSIZE -> :0
SELECT 0 -> +OK
DBSIZE -> :1
FLUSHALL ASYNC -> +OK
DBSIZE -> :0

SET a 1 -> +OK
FLUSHDB SYNC -> +OK
DBSIZE -> :0
FLUSHDB async -> +OK

WAIT 0 0 -> :0

WAIT -1 0 -> :0

WAIT x 0 -> -ERR value is not an integer or out of range

WAIT 0 x -> -ERR timeout is not an integer or out of range

WAIT 0 -1 -> -ERR timeout is negative

WAIT 1 10 -> :0
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


EVENTS: list[changes.Case] = [
    (["SET k 1"], "DEL k j", 1, [("0__:k", "del")]),
    (["SET k 1", "SET j 1"], "UNLINK k j", 2, [("0__:k", "del"), ("0__:j", "del")]),
    (["SET k 1"], "RENAME k j", 1, [("0__:k", "rename_from"), ("0__:j", "rename_to")]),
    (["SET k 1", "SET j 1"], "RENAME k j", 1, [("0__:k", "rename_from"), ("0__:j", "rename_to")]),
    (["SET k 1"], "RENAME k k", 0, []),
    (["SET k 1"], "RENAMENX k j", 1, [("0__:k", "rename_from"), ("0__:j", "rename_to")]),
    (["SET k 1"], "COPY k j", 1, [("0__:j", "copy_to")]),
    (["SET k 1", "SET j 1"], "COPY k j", 0, []),
    (["SET k 1", "SET j 1"], "COPY k j REPLACE", 1, [("0__:j", "copy_to")]),
    (["SET k 1"], "COPY k j DB 1", 1, [("1__:j", "copy_to")]),
    (["SET k 1"], "MOVE k 1", 1, [("0__:k", "move_from"), ("1__:k", "move_to")]),
    (["SET k 1"], "TOUCH k", 0, []),
    (["SET k 1", "SET j 1"], "FLUSHDB", 2, []),
    ([], "SWAPDB 0 0", 1, []),
    (["SET k 1"], "SWAPDB 0 1", 1, []),
]


@pytest.mark.parametrize("group", changes.cases(EVENTS))
def test_events_and_changes(port: int, group: list[changes.Case]) -> None:
    changes.check(port, group)


def test_moving_is_logged_where_it_began(tmp_path: Path) -> None:
    """The log must hold a MOVE and a COPY to another database although it is that one which changes."""
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True) as server, Wire(server.port) as wire:
        for command in ("SET a 1", "SET b 2", "MOVE a 1", "COPY b c DB 2"):
            wire.ask(command)
    with evio_redis.Server(port=0, dir=str(tmp_path), appendonly=True) as server, Wire(server.port) as wire:
        assert wire.ask("EXISTS a b") == b":1\r\n"
        wire.ask("SELECT 1")
        assert wire.ask("GET a") == b"$1\r\n1\r\n"
        wire.ask("SELECT 2")
        assert wire.ask("GET c") == b"$1\r\n2\r\n"


def test_random_keys_are_all_found(port: int) -> None:
    with Wire(port) as wire:
        wire.ask("FLUSHALL")
        wire.ask(["MSET", *[word for n in range(10) for word in (f"key{n}", n)]])
        assert len({wire.ask("RANDOMKEY") for _ in range(1000)}) == 10
