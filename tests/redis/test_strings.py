"""Strings: what each command replies, does to expiry times and tells subscribers, as redis-server does it."""

from __future__ import annotations

import random
from hashlib import sha1

import pytest

from . import changes
from .transcripts import Conversation, check, conversations
from .wire import Wire

TRANSCRIPT = r"""
GET -> -ERR wrong number of arguments for 'get' command

GET k 1 -> -ERR wrong number of arguments for 'get' command

STRLEN -> -ERR wrong number of arguments for 'strlen' command

STRLEN k 1 -> -ERR wrong number of arguments for 'strlen' command

GETDEL -> -ERR wrong number of arguments for 'getdel' command

GETDEL k 1 -> -ERR wrong number of arguments for 'getdel' command

INCR -> -ERR wrong number of arguments for 'incr' command

INCR k 1 -> -ERR wrong number of arguments for 'incr' command

DECR -> -ERR wrong number of arguments for 'decr' command

DECR k 1 -> -ERR wrong number of arguments for 'decr' command

MGET -> -ERR wrong number of arguments for 'mget' command

GETRANGE -> -ERR wrong number of arguments for 'getrange' command

SUBSTR -> -ERR wrong number of arguments for 'substr' command

SET -> -ERR wrong number of arguments for 'set' command

SETNX -> -ERR wrong number of arguments for 'setnx' command

SETEX -> -ERR wrong number of arguments for 'setex' command

PSETEX -> -ERR wrong number of arguments for 'psetex' command

GETSET -> -ERR wrong number of arguments for 'getset' command

GETEX -> -ERR wrong number of arguments for 'getex' command

MSET -> -ERR wrong number of arguments for 'mset' command

MSETNX -> -ERR wrong number of arguments for 'msetnx' command

APPEND -> -ERR wrong number of arguments for 'append' command

SETRANGE -> -ERR wrong number of arguments for 'setrange' command

INCRBY -> -ERR wrong number of arguments for 'incrby' command

DECRBY -> -ERR wrong number of arguments for 'decrby' command

INCRBYFLOAT -> -ERR wrong number of arguments for 'incrbyfloat' command

LCS -> -ERR wrong number of arguments for 'lcs' command

GETRANGE k -> -ERR wrong number of arguments for 'getrange' command

GETRANGE k 1 2 3 4 -> -ERR wrong number of arguments for 'getrange' command

SETNX k -> -ERR wrong number of arguments for 'setnx' command

SETNX k 1 2 3 4 -> -ERR wrong number of arguments for 'setnx' command

SETEX k -> -ERR wrong number of arguments for 'setex' command

SETEX k 1 2 3 4 -> -ERR wrong number of arguments for 'setex' command

PSETEX k -> -ERR wrong number of arguments for 'psetex' command

PSETEX k 1 2 3 4 -> -ERR wrong number of arguments for 'psetex' command

GETSET k -> -ERR wrong number of arguments for 'getset' command

GETSET k 1 2 3 4 -> -ERR wrong number of arguments for 'getset' command

APPEND k -> -ERR wrong number of arguments for 'append' command

APPEND k 1 2 3 4 -> -ERR wrong number of arguments for 'append' command

SETRANGE k -> -ERR wrong number of arguments for 'setrange' command

SETRANGE k 1 2 3 4 -> -ERR wrong number of arguments for 'setrange' command

INCRBY k -> -ERR wrong number of arguments for 'incrby' command

INCRBY k 1 2 3 4 -> -ERR wrong number of arguments for 'incrby' command

DECRBY k -> -ERR wrong number of arguments for 'decrby' command

DECRBY k 1 2 3 4 -> -ERR wrong number of arguments for 'decrby' command

INCRBYFLOAT k -> -ERR wrong number of arguments for 'incrbyfloat' command

INCRBYFLOAT k 1 2 3 4 -> -ERR wrong number of arguments for 'incrbyfloat' command

RPUSH l a -> :1
GET l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
MGET l k -> *2 $-1 $-1 | *2 _ _

RPUSH l a -> :1
STRLEN l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
GETRANGE l 0 -1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
SUBSTR l 0 -1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
GETSET l v -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
GETDEL l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
GETEX l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
GETEX l EX 10 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
APPEND l x -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
SETRANGE l 0 x -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
SETRANGE l 0 "" -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
INCR l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
DECR l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
INCRBY l 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
DECRBY l 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
INCRBYFLOAT l 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
LCS l k -> -ERR The specified keys must contain string values

RPUSH l a -> :1
LCS k l -> -ERR The specified keys must contain string values

RPUSH l a -> :1
LCS l k FOO -> -ERR The specified keys must contain string values

RPUSH l a -> :1
SET l v GET -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
SET l v NX -> $-1 | _

RPUSH l a -> :1
SET l v XX -> +OK
GET l -> $1 v

RPUSH l a -> :1
SET l v -> +OK
TYPE l -> +string

RPUSH l a -> :1
SETNX l v -> :0

RPUSH l a -> :1
SETEX l 100 v -> +OK
TYPE l -> +string

RPUSH l a -> :1
MSET l v -> +OK
TYPE l -> +string

RPUSH l a -> :1
MSETNX l v k v -> :0
EXISTS k -> :0

SET "" "" -> +OK
GET "" -> $0
STRLEN "" -> :0
EXISTS "" -> :1

SET "\x00\xff" "a\r\nb\x00" -> +OK
GET "\x00\xff" -> $5 a b\x00
STRLEN "\x00\xff" -> :5

GET k -> $-1 | _
MGET k j -> *2 $-1 $-1 | *2 _ _
STRLEN k -> :0
GETRANGE k 0 -1 -> $0

MSET a 1 b 2 a 3 -> +OK
MGET a b c a -> *4 $1 3 $1 2 $-1 $1 3 | *4 $1 3 $1 2 _ $1 3
DBSIZE -> :2

MSET a 1 b -> -ERR wrong number of arguments for 'mset' command

MSETNX a 1 b 2 c -> -ERR wrong number of arguments for 'msetnx' command

SET a 1 -> +OK
MSETNX b 2 a 3 -> :0
MGET a b -> *2 $1 1 $-1 | *2 $1 1 _

MSETNX a 1 a 2 -> :1
GET a -> $1 2

SETNX k 1 -> :1
SETNX k 2 -> :0
GET k -> $1 1

SET k v NX -> +OK
SET k w NX -> $-1 | _
GET k -> $1 v

SET k v XX -> $-1 | _
GET k -> $-1 | _
SET k v -> +OK
SET k w XX -> +OK
GET k -> $1 w

SET k v NX XX -> -ERR syntax error

SET k v XX NX -> -ERR syntax error

SET k v NX NX -> +OK
GET k -> $1 v

SET k v GET -> $-1 | _
SET k w GET -> $1 v
GET k -> $1 w

SET k v -> +OK
SET k w NX GET -> $1 v
GET k -> $1 v

SET k w NX GET -> $-1 | _
GET k -> $1 w

SET k w XX GET -> $-1 | _
GET k -> $-1 | _

SET k v EX 100 -> +OK
TTL k -> :100
SET k w -> +OK
TTL k -> :-1

SET k v EX 100 -> +OK
SET k w KEEPTTL -> +OK
TTL k -> :100
GET k -> $1 w

SET k v EX 100 -> +OK
SET k w GET KEEPTTL XX -> $1 v
TTL k -> :100
GET k -> $1 w

SET k v ex 100 -> +OK
TTL k -> :100

SET k v PX 100000 -> +OK
TTL k -> :100

SET k v EXAT 33177117420 -> +OK
EXPIRETIME k -> :33177117420

SET k v PXAT 33177117420123 -> +OK
PEXPIRETIME k -> :33177117420123

SET k v PXAT 1 -> +OK
GET k -> $-1 | _
EXISTS k -> :0

SET k v EX 10 EX 100 -> +OK
TTL k -> :100

SET k v EX 10 PX 100 -> -ERR syntax error

SET k v EX 10 EXAT 100 -> -ERR syntax error

SET k v EX 10 KEEPTTL -> -ERR syntax error

SET k v KEEPTTL PX 10 -> -ERR syntax error

SET k v EX -> -ERR syntax error

SET k v FOO -> -ERR syntax error

SET k v "" -> -ERR syntax error

SET k v PERSIST -> -ERR syntax error

SET k v EX 0 -> -ERR invalid expire time in 'set' command

SET k v EX -1 -> -ERR invalid expire time in 'set' command

SET k v PX 0 -> -ERR invalid expire time in 'set' command

SET k v EX x -> -ERR value is not an integer or out of range

SET k v EX 1.5 -> -ERR value is not an integer or out of range

SET k v EX 9223372036854775807 -> -ERR invalid expire time in 'set' command

SET k v EX 9223372036854775 -> -ERR invalid expire time in 'set' command

SET k v PX 9223372036854775807 -> -ERR invalid expire time in 'set' command

SET k v EXAT 9223372036854775 -> +OK
EXPIRETIME k -> :9223372036854775

SET k v PXAT 9223372036854775807 -> +OK
PEXPIRETIME k -> :9223372036854775807

SET k v PXAT 9223372036854775808 -> -ERR value is not an integer or out of range

RPUSH l a -> :1
SET l v EX 0 GET -> -ERR invalid expire time in 'set' command

SETEX k 0 v -> -ERR invalid expire time in 'setex' command

SETEX k -5 v -> -ERR invalid expire time in 'setex' command

SETEX k x v -> -ERR value is not an integer or out of range

SETEX k 9223372036854775807 v -> -ERR invalid expire time in 'setex' command

SETEX k 9223372036854775 v -> -ERR invalid expire time in 'setex' command

SETEX k 100 v -> +OK
TTL k -> :100
GET k -> $1 v

PSETEX k 0 v -> -ERR invalid expire time in 'psetex' command

PSETEX k 9223372036854775807 v -> -ERR invalid expire time in 'psetex' command

PSETEX k 100000 v -> +OK
TTL k -> :100

SET k v EX 100 -> +OK
GETSET k w -> $1 v
TTL k -> :-1
GET k -> $1 w

GETSET k v -> $-1 | _
GETSET k "" -> $1 v

GETDEL k -> $-1 | _
SET k v -> +OK
GETDEL k -> $1 v
EXISTS k -> :0

SET k v -> +OK
GETEX k -> $1 v
TTL k -> :-1
GETEX k EX 100 -> $1 v
TTL k -> :100
GETEX k -> $1 v
TTL k -> :100
GETEX k PERSIST -> $1 v
TTL k -> :-1

SET k v -> +OK
GETEX k PX 100000 -> $1 v
TTL k -> :100
GETEX k PERSIST PERSIST -> $1 v
TTL k -> :-1

SET k v -> +OK
GETEX k EXAT 33177117420 -> $1 v
EXPIRETIME k -> :33177117420
GETEX k PXAT 33177117420123 -> $1 v
PEXPIRETIME k -> :33177117420123

SET k v -> +OK
GETEX k PXAT 1 -> $1 v
EXISTS k -> :0

SET k v -> +OK
GETEX k EX 10 EX 100 -> $1 v
TTL k -> :100

SET k v -> +OK
GETEX k EX 0 -> -ERR invalid expire time in 'getex' command
TTL k -> :-1

SET k v -> +OK
GETEX k EX x -> -ERR value is not an integer or out of range

SET k v -> +OK
GETEX k EX 9223372036854775807 -> -ERR invalid expire time in 'getex' command

SET k v -> +OK
GETEX k EX -> -ERR syntax error

SET k v -> +OK
GETEX k EX 10 PERSIST -> -ERR syntax error

SET k v -> +OK
GETEX k PERSIST EX 10 -> -ERR syntax error

SET k v -> +OK
GETEX k KEEPTTL -> -ERR syntax error

SET k v -> +OK
GETEX k NX -> -ERR syntax error

GETEX k EX 0 -> $-1 | _

GETEX k FOO -> -ERR syntax error

APPEND k "" -> :0
EXISTS k -> :1
APPEND k ab -> :2
APPEND k c -> :3
GET k -> $3 abc

SET k v EX 100 -> +OK
APPEND k w -> :2
TTL k -> :100
GET k -> $2 vw

SETRANGE k 0 "" -> :0
EXISTS k -> :0

SETRANGE k 3 ab -> :5
GET k -> $5 \x00\x00\x00ab
SETRANGE k 0 xyz1 -> :5
GET k -> $5 xyz1b
SETRANGE k 4 "" -> :5
GET k -> $5 xyz1b
STRLEN k -> :5

SETRANGE k -1 x -> -ERR offset is out of range

SETRANGE k -1 "" -> -ERR offset is out of range

SETRANGE k x x -> -ERR value is not an integer or out of range

SETRANGE k 9223372036854775807 x -> -ERR string exceeds maximum allowed size (proto-max-bulk-len)

SETRANGE k 9223372036854775807 "" -> :0

SETRANGE k 536870911 ab -> -ERR string exceeds maximum allowed size (proto-max-bulk-len)

SETRANGE k 536870912 x -> -ERR string exceeds maximum allowed size (proto-max-bulk-len)

SET k v EX 100 -> +OK
SETRANGE k 0 w -> :1
TTL k -> :100

SET k "Hello World" -> +OK
GETRANGE k 0 4 -> $5 Hello
GETRANGE k -5 -1 -> $5 World
GETRANGE k 6 100 -> $5 World
GETRANGE k 4 2 -> $0
GETRANGE k -1 -5 -> $0

SET k abc -> +OK
GETRANGE k -100 1 -> $2 ab
GETRANGE k 0 9223372036854775807 -> $3 abc
GETRANGE k -9223372036854775808 9223372036854775807 -> $3 abc
GETRANGE k -9223372036854775808 -9223372036854775808 -> $1 a
GETRANGE k -1 -100 -> $0

SET k abc -> +OK
GETRANGE k x 1 -> -ERR value is not an integer or out of range
GETRANGE k 0 x -> -ERR value is not an integer or out of range
GETRANGE k 0 9223372036854775808 -> -ERR value is not an integer or out of range
SUBSTR k 1 1 -> $1 b

SET k "" -> +OK
GETRANGE k 0 -1 -> $0
GETRANGE k -1 -1 -> $0

INCR k -> :1
INCR k -> :2
DECR k -> :1
INCRBY k 10 -> :11
DECRBY k 3 -> :8
GET k -> $1 8

SET k 10 EX 100 -> +OK
INCR k -> :11
TTL k -> :100

SET k 9223372036854775807 -> +OK
INCR k -> -ERR increment or decrement would overflow
DECR k -> :9223372036854775806
GET k -> $19 9223372036854775806

SET k -9223372036854775808 -> +OK
DECR k -> -ERR increment or decrement would overflow
INCRBY k -1 -> -ERR increment or decrement would overflow
INCR k -> :-9223372036854775807
GET k -> $20 -9223372036854775807

SET k -1 -> +OK
DECRBY k 9223372036854775807 -> :-9223372036854775808
GET k -> $20 -9223372036854775808

INCRBY k 9223372036854775807 -> :9223372036854775807
INCRBY k 9223372036854775807 -> -ERR increment or decrement would overflow
GET k -> $19 9223372036854775807

INCRBY k -9223372036854775808 -> :-9223372036854775808
GET k -> $20 -9223372036854775808

DECRBY k -9223372036854775808 -> -ERR decrement would overflow

INCRBY k 9223372036854775808 -> -ERR value is not an integer or out of range

INCRBY k 1.5 -> -ERR value is not an integer or out of range

INCRBY k "" -> -ERR value is not an integer or out of range

INCRBY k +1 -> -ERR value is not an integer or out of range

INCRBY k 01 -> -ERR value is not an integer or out of range

INCRBY k " 1" -> -ERR value is not an integer or out of range

SET k 01 -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k +1 -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k " 1" -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k "1 " -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k "" -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k -0 -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k 1.0 -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k 9223372036854775808 -> +OK
INCR k -> -ERR value is not an integer or out of range

SET k 1023 -> +OK
INCR k -> :1024
INCR k -> :1025
INCR k -> :1026

SET k -2 -> +OK
INCR k -> :-1
INCR k -> :0
INCR k -> :1

SET a ohmytext -> +OK
SET b mynewtext -> +OK
LCS a b -> $6 mytext
LCS a b LEN -> :6
LCS b a -> $6 mytext

MSET a ohmytext b mynewtext -> +OK
LCS a b IDX -> *4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6 | %2 $7 matches *2 *2 *2 :4 :7
  *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6

MSET a abcd b abcd -> +OK
LCS a b IDX WITHMATCHLEN -> *4 $7 matches *1 *3 *2 :0 :3 *2 :0 :3 :4 $3 len :4 | %2 $7 matches *1 *3 *2 :0 :3 *2 :0
  :3 :4 $3 len :4

MSET a abc b bac -> +OK
LCS a b -> $2 bc
LCS b a -> $2 ac

MSET a axbyc b abc -> +OK
LCS a b IDX MINMATCHLEN 2 -> *4 $7 matches *0 $3 len :3 | %2 $7 matches *0 $3 len :3
LCS a b IDX MINMATCHLEN -5 -> *4 $7 matches *3 *2 *2 :4 :4 *2 :2 :2 *2 *2 :2 :2 *2 :1 :1 *2 *2 :0 :0 *2 :0 :0 $3 len
  :3 | %2 $7 matches *3 *2 *2 :4 :4 *2 :2 :2 *2 *2 :2 :2 *2 :1 :1 *2 *2 :0 :0 *2 :0 :0 $3 len :3

MSET a axbyc b abc -> +OK
LCS a b MINMATCHLEN 4 -> $3 abc
LCS a b WITHMATCHLEN -> $3 abc

LCS a b -> $0
LCS a b LEN -> :0
LCS a b IDX -> *4 $7 matches *0 $3 len :0 | %2 $7 matches *0 $3 len :0

SET a x -> +OK
LCS a a -> $1 x

LCS a b LEN IDX -> -ERR If you want both the length and indexes, please just use IDX.

LCS a b FOO -> -ERR syntax error

LCS a b MINMATCHLEN -> -ERR syntax error

LCS a b MINMATCHLEN x -> -ERR value is not an integer or out of range

LCS a b idx minmatchlen 1 withmatchlen -> *4 $7 matches *0 $3 len :0 | %2 $7 matches *0 $3 len :0
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


EVENTS: list[changes.Case] = [
    ([], "SET k v", 1, [("0__:k", "set")]),
    ([], "SET k v EX 10", 1, [("0__:k", "set"), ("0__:k", "expire")]),
    (["SET k 1 EX 100"], "SET k v KEEPTTL", 1, [("0__:k", "set")]),
    (["SET k 1"], "SET k v NX", 0, []),
    ([], "SETNX k v", 1, [("0__:k", "set")]),
    (["SET k 1"], "SETNX k v", 0, []),
    ([], "SETEX k 10 v", 1, [("0__:k", "set"), ("0__:k", "expire")]),
    ([], "GETSET k v", 1, [("0__:k", "set")]),
    (["SET k 1"], "GETDEL k", 1, [("0__:k", "del")]),
    ([], "GETDEL k", 0, []),
    (["SET k 1"], "GETEX k", 0, []),
    (["SET k 1"], "GETEX k EX 10", 1, [("0__:k", "expire")]),
    (["SET k 1"], "GETEX k PERSIST", 0, []),
    (["SET k 1 EX 9"], "GETEX k PERSIST", 1, [("0__:k", "persist")]),
    (["SET k 1"], "GETEX k PXAT 1", 1, [("0__:k", "del")]),
    ([], "MSET k 1 j 2", 2, [("0__:k", "set"), ("0__:j", "set")]),
    ([], "MSETNX k 1 j 2", 2, [("0__:k", "set"), ("0__:j", "set")]),
    (["SET k 1"], "MSETNX k 1 j 2", 0, []),
    ([], "APPEND k x", 1, [("0__:k", "append")]),
    (["SET k 1"], 'APPEND k ""', 1, [("0__:k", "append")]),
    ([], "SETRANGE k 1 x", 1, [("0__:k", "setrange")]),
    (["SET k 1"], 'SETRANGE k 1 ""', 0, []),
    ([], "INCR k", 1, [("0__:k", "incrby")]),
    ([], "DECRBY k 2", 1, [("0__:k", "incrby")]),
    ([], "INCRBYFLOAT k 1", 1, [("0__:k", "incrbyfloat")]),
    (["RPUSH k a"], "INCR k", 0, []),
]


@pytest.mark.parametrize("group", changes.cases(EVENTS))
def test_events_and_changes(port: int, group: list[changes.Case]) -> None:
    changes.check(port, group)


def test_the_longest_common_subsequence_of_long_strings(port: int) -> None:
    choose = random.Random(1)
    one, other = (bytes(choose.choices(b"ACGT", k=2000)) for _ in range(2))
    with Wire(port) as wire:
        wire.ask(["MSET", "a", one, "b", other])
        common = wire.ask("LCS a b")
        assert sha1(common).hexdigest() == "88f8582cc20ba96c18162ea698f4e7c162272642"
        assert sha1(wire.ask("LCS a b IDX WITHMATCHLEN")).hexdigest() == "57df374278e8fe2567c4cc6fdd05a36b30331bbe"


def test_the_longest_common_subsequence_is_refused_to_what_is_too_long(port: int) -> None:
    too_long = b"-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n"
    with Wire(port) as wire:
        wire.ask(["MSET", "a", b"x" * 11_585, "b", b"x" * 11_584])
        assert wire.ask("LCS a b LEN") == too_long
        wire.ask(["SET", "a", b"x" * 11_583])
        assert wire.ask("LCS a b LEN") == b":11583\r\n"
