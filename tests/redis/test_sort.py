"""SORT, in all combinations of its options."""

from __future__ import annotations

from itertools import combinations

import pytest

from . import changes
from .transcripts import Conversation, check, conversations, running
from .wire import Wire

TRANSCRIPT = r"""
SORT -> -ERR wrong number of arguments for 'sort' command

SORT_RO -> -ERR wrong number of arguments for 'sort_ro' command

RPUSH l a -> :1
SORT_RO l STORE d -> -ERR syntax error

RPUSH l a -> :1
SORT l FOO -> -ERR syntax error

RPUSH l a -> :1
SORT l LIMIT 1 -> -ERR syntax error

RPUSH l a -> :1
SORT l LIMIT x 1 -> -ERR value is not an integer or out of range

RPUSH l a -> :1
SORT l LIMIT 0 x -> -ERR value is not an integer or out of range

RPUSH l a -> :1
SORT l BY -> -ERR syntax error

RPUSH l a -> :1
SORT l GET -> -ERR syntax error

RPUSH l a -> :1
SORT l STORE -> -ERR syntax error

RPUSH l a -> :1
SORT l -> -ERR One or more scores can't be converted into double

RPUSH l a -> :1
SORT l ALPHA -> *1 $1 a

SORT k -> *0
SORT_RO k -> *0
SORT k STORE d -> :0
EXISTS d -> :0

SET k 1 -> +OK
SORT k -> -WRONGTYPE Operation against a key holding the wrong kind of value
SORT_RO k -> -WRONGTYPE Operation against a key holding the wrong kind of value

HSET k a 1 -> :1
SORT k -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH k 3 1 2 10 -1 -> :5
SORT k -> *5 $2 -1 $1 1 $1 2 $1 3 $2 10
SORT k DESC -> *5 $2 10 $1 3 $1 2 $1 1 $2 -1
SORT k ASC -> *5 $2 -1 $1 1 $1 2 $1 3 $2 10
SORT k ALPHA -> *5 $2 -1 $1 1 $2 10 $1 2 $1 3
SORT k ALPHA DESC -> *5 $1 3 $1 2 $2 10 $1 1 $2 -1
SORT_RO k LIMIT 1 2 -> *2 $1 1 $1 2

RPUSH k 3 1 2 -> :3
SORT k LIMIT 0 2 -> *2 $1 1 $1 2
SORT k LIMIT 2 10 -> *1 $1 3
SORT k LIMIT 3 1 -> *0
SORT k LIMIT -5 1 -> *1 $1 1
SORT k LIMIT 1 -1 -> *2 $1 2 $1 3
SORT k LIMIT 0 0 -> *0

RPUSH k 3 1 2 -> :3
SORT k LIMIT 0 9223372036854775807 -> *3 $1 1 $1 2 $1 3
SORT k LIMIT 9223372036854775807 9223372036854775807 -> *0
SORT k LIMIT -9223372036854775808 -9223372036854775808 -> *3 $1 1 $1 2 $1 3

RPUSH k 3 1 2 10 -> :4
MSET w_1 5 w_2 1 w_3 3 w_10 2 -> +OK
SORT k BY w_* -> *4 $1 2 $2 10 $1 3 $1 1
SORT k BY w_* DESC -> *4 $1 1 $1 3 $2 10 $1 2
SORT k BY w_* GET # GET w_* -> *8 $1 2 $1 1 $2 10 $1 2 $1 3 $1 3 $1 1 $1 5
SORT k BY w_* GET nokey_* -> *4 $-1 $-1 $-1 $-1 | *4 _ _ _ _

RPUSH k 3 1 2 -> :3
SORT k BY nosort -> *3 $1 3 $1 1 $1 2
SORT k BY nosort DESC -> *3 $1 2 $1 1 $1 3
SORT k BY nosort LIMIT 1 1 -> *1 $1 1
SORT k BY nosort BY w_* -> *3 $1 3 $1 1 $1 2

ZADD k 5 3 4 1 3 2 -> :3
SORT k BY nosort -> *3 $1 2 $1 1 $1 3
SORT k BY nosort DESC -> *3 $1 3 $1 1 $1 2
SORT k BY nosort DESC LIMIT 0 2 -> *2 $1 3 $1 1
SORT k -> *3 $1 1 $1 2 $1 3
OBJECT ENCODING k -> $8 skiplist

SADD k 3 1 2 -> :3
SORT k BY nosort STORE d -> :3
LRANGE d 0 -1 -> *3 $1 1 $1 2 $1 3
SORT k DESC -> *3 $1 3 $1 2 $1 1

HSET h_1 f b -> :1
HSET h_2 f a -> :1
RPUSH k 1 2 -> :2
SORT k BY h_*->f ALPHA GET h_*->f GET h_*->g GET h_*-> -> *6 $1 a $-1 $-1 $1 b $-1 $-1 | *6 $1 a _ _ $1 b _ _
SORT k BY h_*->f -> -ERR One or more scores can't be converted into double

RPUSH k b a -> :2
SORT k -> -ERR One or more scores can't be converted into double
SORT k ALPHA -> *2 $1 a $1 b
SORT k BY nosort -> *2 $1 b $1 a

RPUSH k 2 1 -> :2
SORT k STORE d -> :2
TYPE d -> +list
LRANGE d 0 -1 -> *2 $1 1 $1 2
SORT k GET nokey_* STORE d -> :2
LRANGE d 0 -1 -> *2 $0  $0

RPUSH k 2 1 -> :2
SET d x EX 100 -> +OK
SORT k STORE d -> :2
TTL d -> :-1
SORT nokey STORE d -> :0
EXISTS d -> :0

RPUSH k 2 1 -> :2
SORT k STORE k -> :2
LRANGE k 0 -1 -> *2 $1 1 $1 2
SORT k STORE a STORE b -> :2
EXISTS a b -> :1

RPUSH k "" " 1" 0x10 1e2 inf -inf -> :6
SORT k -> *6 $4 -inf $0  $2  1 $4 0x10 $3 1e2 $3 inf

RPUSH k "1 " 2 -> :2
SORT k -> -ERR One or more scores can't be converted into double

RPUSH k nan -> :1
SORT k -> -ERR One or more scores can't be converted into double

RPUSH k 1e400 -> :1
SORT k -> -ERR One or more scores can't be converted into double

RPUSH k "1\x00x" 0 -> :2
SORT k -> *2 $1 0 $3 1\x00x

RPUSH k 1 1.0 01 1 -> :4
SORT k -> *4 $2 01 $1 1 $1 1 $3 1.0
SORT k DESC -> *4 $3 1.0 $1 1 $1 1 $2 01

RPUSH k 1 2 -> :2
SORT k GET * -> *2 $-1 $-1 | *2 _ _
SORT k GET #* GET x*x -> *4 $-1 $-1 $-1 $-1 | *4 _ _ _ _
SORT k by w_* limit 0 1 get # asc alpha -> *1 $1 1

COMMAND GETKEYS SORT k BY w LIMIT 0 1 GET STORE STORE d -> *2 $1 k $1 d

COMMAND GETKEYS SORT k GET STORE x -> *1 $1 k
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


EVENTS: list[changes.Case] = [
    (["RPUSH k 2 1"], "SORT k", 0, []),
    (["RPUSH k 2 1"], "SORT k STORE d", 2, [("0__:d", "sortstore")]),
    (["SET d 1"], "SORT k STORE d", 1, [("0__:d", "del")]),
    ([], "SORT k STORE d", 0, []),
]


@pytest.mark.parametrize("group", changes.cases(EVENTS))
def test_events_and_changes(port: int, group: list[changes.Case]) -> None:
    changes.check(port, group)


OPTIONS = [
    *("BY w_*", "BY nosort", "BY h_*->f", "GET #", "GET w_*", "GET h_*->f", "GET x", "ALPHA", "DESC", "ASC"),
    *("LIMIT 1 2", "LIMIT -5 2", "LIMIT 10 2", "LIMIT 0 -1", "LIMIT 0 0", "STORE d", "GET", "LIMIT 1", "LIMIT x 1"),
]


def test_options_together_as_redis_server_takes_them() -> None:
    """Of lists and sorted sets: a set's elements have no order where weights are equal."""
    setup = ["FLUSHALL", "RPUSH l 3 1 2 10 -1", "ZADD z 5 3 4 1 3 2", "RPUSH a b a c aa"]
    setup += ["MSET w_1 5 w_2 1 w_3 3 w_10 2 w_a 1 w_b 0", "HSET h_1 f x", "HSET h_2 f a", "HSET h_3 f c"]
    commands = [
        command
        for number in (0, 1, 2, 3)
        for chosen in combinations(OPTIONS, number)
        for key in "lza"
        for command in (" ".join(["SORT", key, *chosen]), "LRANGE d 0 -1", "DEL d")
    ]
    assert answers("evio-redis", [*setup, *commands]) == answers("redis-server", [*setup, *commands])


def answers(which: str, commands: list[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for port in running(which):
        with Wire(port) as wire:
            for at in range(0, len(commands), 100):
                part = commands[at : at + 100]
                wire.send(*part)
                found += [(command, wire.reply()) for command in part]
    return found
