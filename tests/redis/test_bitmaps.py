"""Bitmaps and bit fields, as redis-server has them."""

from __future__ import annotations

from itertools import product

import pytest

import evio_redis
import evio_redis.commands.bitmaps

from . import changes
from .transcripts import Conversation, check, conversations
from .wire import Wire

TRANSCRIPT = r"""
SETBIT -> -ERR wrong number of arguments for 'setbit' command

GETBIT -> -ERR wrong number of arguments for 'getbit' command

BITCOUNT -> -ERR wrong number of arguments for 'bitcount' command

BITPOS -> -ERR wrong number of arguments for 'bitpos' command

BITOP -> -ERR wrong number of arguments for 'bitop' command

BITFIELD -> -ERR wrong number of arguments for 'bitfield' command

BITFIELD_RO -> -ERR wrong number of arguments for 'bitfield_ro' command

SETBIT k 1 -> -ERR wrong number of arguments for 'setbit' command

SETBIT k 1 1 1 -> -ERR wrong number of arguments for 'setbit' command

GETBIT k -> -ERR wrong number of arguments for 'getbit' command

GETBIT k 1 1 -> -ERR wrong number of arguments for 'getbit' command

BITPOS k -> -ERR wrong number of arguments for 'bitpos' command

BITOP AND k -> -ERR wrong number of arguments for 'bitop' command

RPUSH l a -> :1
SETBIT l 0 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
GETBIT l 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITCOUNT l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITCOUNT l 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITPOS l 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITPOS l 1 x -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITOP AND d l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITOP NOT d l -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITOP OR l k -> :0
TYPE l -> +none

RPUSH l a -> :1
SET k a -> +OK
BITOP OR l k -> :1
TYPE l -> +string

RPUSH l a -> :1
BITFIELD l GET u8 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITFIELD l SET u8 0 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITFIELD_RO l GET u8 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value

RPUSH l a -> :1
BITFIELD l GET u99 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but
  i64 is.

RPUSH l a -> :1
BITFIELD_RO l SET u8 0 1 -> -ERR BITFIELD_RO only supports the GET subcommand

RPUSH l a -> :1
BITFIELD l -> -WRONGTYPE Operation against a key holding the wrong kind of value

SETBIT k 7 1 -> :0
GET k -> $1 \x01
SETBIT k 7 1 -> :1
SETBIT k 7 0 -> :1
GET k -> $1 \x00
GETBIT k 7 -> :0
GETBIT k 100 -> :0
STRLEN k -> :1

SETBIT k 20 0 -> :0
STRLEN k -> :3
GET k -> $3 \x00\x00\x00
GETBIT k 20 -> :0

SET k v EX 100 -> +OK
SETBIT k 0 1 -> :0
TTL k -> :100

SETBIT k 0 2 -> -ERR bit is not an integer or out of range

SETBIT k 0 -1 -> -ERR bit is not an integer or out of range

SETBIT k 0 x -> -ERR bit is not an integer or out of range

SETBIT k -1 1 -> -ERR bit offset is not an integer or out of range

SETBIT k x 1 -> -ERR bit offset is not an integer or out of range

SETBIT k "" 1 -> -ERR bit offset is not an integer or out of range

SETBIT k #1 1 -> -ERR bit offset is not an integer or out of range

SETBIT k 4294967296 1 -> -ERR bit offset is not an integer or out of range

SETBIT k 9223372036854775807 1 -> -ERR bit offset is not an integer or out of range

GETBIT k 4294967295 -> :0

GETBIT k 4294967296 -> -ERR bit offset is not an integer or out of range

GETBIT k -1 -> -ERR bit offset is not an integer or out of range

GETBIT k x -> -ERR bit offset is not an integer or out of range

SET k 0 -> +OK
GETBIT k 2 -> :1
GETBIT k 1 -> :0
BITCOUNT k -> :2

SET k foobar -> +OK
BITCOUNT k -> :26
BITCOUNT k 0 0 -> :4
BITCOUNT k 1 1 -> :6
BITCOUNT k 0 -5 -> :10
BITCOUNT k 5 30 BIT -> :17
BITCOUNT k 1 1 BYTE -> :6

SET k foobar -> +OK
BITCOUNT k -1 -2 -> :0
BITCOUNT k -1 -2 FOO -> :0
BITCOUNT k 0 -1 FOO -> -ERR syntax error
BITCOUNT k -9223372036854775808 9223372036854775807 -> :26
BITCOUNT k -9223372036854775808 9223372036854775807 BIT -> :26

SET k foobar -> +OK
BITCOUNT k 0 -> -ERR syntax error
BITCOUNT k x 1 -> -ERR value is not an integer or out of range
BITCOUNT k 0 x -> -ERR value is not an integer or out of range
BITCOUNT k 0 1 BIT 2 -> -ERR syntax error
BITCOUNT k 100 200 -> :0
BITCOUNT k -200 -100 -> :4

BITCOUNT k 0 -> :0
BITCOUNT k x y -> :0
BITCOUNT k 0 1 FOO -> :0

SET k "" -> +OK
BITCOUNT k -> :0
BITCOUNT k 0 -1 -> :0
BITPOS k 0 -> :-1
BITPOS k 1 -> :-1
BITPOS k 0 0 -1 -> :-1

SET k "\xff\xf0\x00" -> +OK
BITPOS k 0 -> :12
BITPOS k 1 -> :0
BITPOS k 1 2 -> :-1
BITPOS k 0 2 -> :16
BITPOS k 0 0 0 -> :-1
BITPOS k 1 0 -1 BIT -> :0

SET k "\x00\xff\xf0" -> +OK
BITPOS k 1 -> :8
BITPOS k 1 0 -> :8
BITPOS k 1 2 -> :16
BITPOS k 1 2 -1 BYTE -> :16
BITPOS k 1 7 15 BIT -> :8
BITPOS k 1 -8 -1 BIT -> :16

SET k "\xff\xff" -> +OK
BITPOS k 0 -> :16
BITPOS k 0 0 -> :16
BITPOS k 0 0 -1 -> :-1
BITPOS k 0 2 -> :-1
BITPOS k 0 1 1 -> :-1
BITPOS k 0 0 15 BIT -> :-1

SET k "\xff" -> +OK
BITPOS k 1 -1 -2 -> :0
BITPOS k 1 -5 -9 -> :0
BITPOS k 1 1 0 -> :-1

BITPOS k 0 -> :0
BITPOS k 1 -> :-1
BITPOS k 1 x -> :-1
BITPOS k 2 -> -ERR The bit argument must be 1 or 0.
BITPOS k x -> -ERR value is not an integer or out of range
BITPOS k 1 0 1 FOO -> :-1

SET k a -> +OK
BITPOS k 2 -> -ERR The bit argument must be 1 or 0.
BITPOS k -1 -> -ERR The bit argument must be 1 or 0.
BITPOS k 1 x -> -ERR value is not an integer or out of range
BITPOS k 1 0 x -> -ERR value is not an integer or out of range
BITPOS k 1 0 x FOO -> -ERR syntax error
BITPOS k 1 0 1 BIT 2 -> -ERR syntax error

MSET a "\xf0\xff" b "\x0f" -> +OK
BITOP AND d a b -> :2
GET d -> $2 \x00\x00
BITOP OR d a b -> :2
GET d -> $2 \xff\xff
BITOP XOR d a b -> :2
GET d -> $2 \xff\xff
BITOP NOT d a -> :2
GET d -> $2 \x0f\x00

SET a x -> +OK
BITOP AND d a nokey -> :1
GET d -> $1 \x00
BITOP or a a a a -> :1
GET a -> $1 x

BITOP NOT d nokey -> :0
EXISTS d -> :0
SET d x -> +OK
BITOP AND d nokey -> :0
EXISTS d -> :0

SET d x EX 100 -> +OK
SET a y -> +OK
BITOP OR d a -> :1
TTL d -> :-1

BITOP NOT d a b -> -ERR BITOP NOT must be called with a single source key.

BITOP FOO d a -> -ERR syntax error

BITFIELD k -> *0
EXISTS k -> :0

BITFIELD k GET u8 0 GET i64 #3 -> *2 :0 :0
EXISTS k -> :0

BITFIELD k SET u8 0 255 GET i8 0 INCRBY u8 0 10 GET u8 0 -> *4 :0 :-1 :9 :9
GET k -> $1 \t

BITFIELD k INCRBY i5 100 1 GET u4 0 -> *2 :1 :0

BITFIELD k SET u8 #0 65 SET u8 #1 66 -> *2 :0 :0
GET k -> $2 AB

BITFIELD k OVERFLOW SAT INCRBY u2 100 5 OVERFLOW FAIL INCRBY u2 102 5 INCRBY u2 100 1 OVERFLOW WRAP INCRBY u2 100 1
  -> *4 :3 $-1 $-1 :0 | *4 :3 _ _ :0

BITFIELD k OVERFLOW SAT SET u8 0 -1 SET i8 8 -129 SET i8 16 128 GET u8 0 GET i8 8 GET i8 16 -> *6 :0 :0 :0 :255
  :-128 :127

BITFIELD k OVERFLOW FAIL SET u8 0 256 -> *1 $-1 | *1 _
STRLEN k -> :1

BITFIELD k SET i64 0 -9223372036854775808 INCRBY i64 0 -1 OVERFLOW SAT INCRBY i64 0 1 OVERFLOW FAIL INCRBY i64 0 1
  -> *4 :0 :9223372036854775807 :9223372036854775807 $-1 | *4 :0 :9223372036854775807 :9223372036854775807 _

BITFIELD k SET u63 1 9223372036854775807 INCRBY u63 1 1 GET u63 1 -> *3 :0 :0 :0

BITFIELD k OVERFLOW SAT SET i8 3 -9223372036854775808 GET i8 3 -> *2 :0 :127

BITFIELD k OVERFLOW FOO -> -ERR Invalid OVERFLOW type specified

BITFIELD k OVERFLOW -> -ERR syntax error

BITFIELD k FOO u8 0 -> -ERR syntax error

BITFIELD k GET -> -ERR syntax error

BITFIELD k GET u8 -> -ERR syntax error

BITFIELD k SET u8 0 -> -ERR syntax error

BITFIELD k SET i99 0 -> -ERR syntax error

BITFIELD k SET i99 0 1 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but
  i64 is.

BITFIELD k SET u8 0 x -> -ERR value is not an integer or out of range

BITFIELD k GET u64 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but
  i64 is.

BITFIELD k GET i65 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but
  i64 is.

BITFIELD k GET u0 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64
  is.

BITFIELD k GET x8 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64
  is.

BITFIELD k GET U8 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64
  is.

BITFIELD k GET u 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64
  is.

BITFIELD k GET "" 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64
  is.

BITFIELD k GET u8 -1 -> -ERR bit offset is not an integer or out of range

BITFIELD k GET u8 #-1 -> -ERR bit offset is not an integer or out of range

BITFIELD k GET u8 #x -> -ERR bit offset is not an integer or out of range

BITFIELD k GET u8 4294967295 -> *1 :0

BITFIELD k GET u8 4294967296 -> -ERR bit offset is not an integer or out of range

BITFIELD k GET u8 #536870911 -> *1 :0

BITFIELD k GET u8 #536870912 -> -ERR bit offset is not an integer or out of range

BITFIELD k GET u8 #9223372036854775807 -> -ERR bit offset is not an integer or out of range

BITFIELD_RO k GET u8 0 -> *1 :0
BITFIELD_RO k SET u8 0 1 -> -ERR BITFIELD_RO only supports the GET subcommand
BITFIELD_RO k SET u8 0 1 GET u99 0 -> -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not
  supported but i64 is.
BITFIELD_RO k OVERFLOW SAT -> *0

SET k "\x80" -> +OK
BITFIELD_RO k GET i1 0 GET u1 0 GET i16 0 GET u3 6 -> *4 :-1 :1 :-32768 :0
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


EVENTS: list[changes.Case] = [
    ([], "SETBIT k 1 1", 1, [("0__:k", "setbit")]),
    (["SETBIT k 1 1"], "SETBIT k 1 1", 0, []),
    (["SETBIT k 1 1"], "SETBIT k 1 0", 1, [("0__:k", "setbit")]),
    (["SETBIT k 1 1"], "SETBIT k 100 0", 1, [("0__:k", "setbit")]),
    ([], "BITFIELD k GET u8 0", 0, []),
    ([], "BITFIELD k SET u8 0 1 SET u8 8 1", 2, [("0__:k", "setbit")]),
    (["SETBIT k 7 1"], "BITFIELD k SET u8 0 1", 0, []),
    (["SETBIT k 7 1"], "BITFIELD k INCRBY u8 0 1 GET u8 0", 1, [("0__:k", "setbit")]),
    ([], "BITFIELD k OVERFLOW FAIL SET u8 0 256", 0, []),
    (["SET k a"], "BITOP OR d k", 1, [("0__:d", "set")]),
    ([], "BITOP OR d k", 0, []),
    (["SET d a"], "BITOP OR d k", 1, [("0__:d", "del")]),
]


@pytest.mark.parametrize("group", changes.cases(EVENTS))
def test_events_and_changes(port: int, group: list[changes.Case]) -> None:
    changes.check(port, group)


def test_ranges_as_in_a_text_of_bits(port: int) -> None:
    """BITCOUNT, BITPOS and GETRANGE against what Python says of the bits as a text."""
    bounds = (0, 1, 2, 5, 7, 8, 23, 24, 100, -1, -2, -3, -8, -24, -25, -100)
    with Wire(port) as wire:
        for value in (b"a", b"\xff\xff\xff", b"\0\0\0", b"\0\xff\xf0", b"\xff\xf0\0"):
            wire.ask(["SET", "k", value])
            bits = "".join(f"{byte:08b}" for byte in value)
            for first, last, unit in product(bounds, bounds, (b"BYTE", b"BIT")):
                start, stop = span(len(value) if unit == b"BYTE" else len(bits), first, last)
                wide = 8 if unit == b"BYTE" else 1
                part = bits[start * wide : stop * wide]
                # Only BITCOUNT takes two negative bounds in the wrong order for an empty range, whatever the length.
                counted = "" if first < 0 and last < 0 and first > last else part
                asked = wire.ask(["BITCOUNT", "k", first, last, unit])
                assert asked == b":%d\r\n" % counted.count("1"), (value, first, last, unit)
                for bit in "01":
                    asked = wire.ask(["BITPOS", "k", bit, first, last, unit])
                    at = part.find(bit)
                    assert asked == b":%d\r\n" % (at if at < 0 else at + start * wide), (value, bit, first, last, unit)


def test_blocks_of_a_large_value_are_seen_as_one(monkeypatch: pytest.MonkeyPatch, server: evio_redis.Server) -> None:
    """All that goes block by block gives the same with blocks of any size."""
    values = [bytes(7) + b"\x01" + bytes(6), b"\xff" * 9 + b"\xf7\xff", b"\0\xff\xf0" * 5, b"", b"\0", b"\xaa" * 13]
    with Wire(server.port) as wire:

        def replies() -> list[bytes]:
            found = []
            for name in ("OR", "XOR"):
                found += [wire.ask(["BITOP", name, "to", *range(len(values))]) + wire.ask("GET to")]
            for key, value in enumerate(values):
                wire.ask(["SET", key, value])
                found += [wire.ask(["BITOP", "NOT", "to", key]) + wire.ask("GET to")]
                found += [wire.ask(["BITOP", "AND", "to", key, "2", "5"]) + wire.ask("GET to")]
                for first, last in product((0, 1, 9, 23, 24, 70, -20, -1), repeat=2):
                    found += [wire.ask(["BITCOUNT", key, first, last, "BIT"])]
                    found += [wire.ask(["BITPOS", key, bit, first, last, "BIT"]) for bit in (0, 1)]
                found += [wire.ask(["BITPOS", key, bit]) for bit in (0, 1)]
            return found

        replies()
        whole = replies()
        for size in (1, 2, 3, 8):
            monkeypatch.setattr(evio_redis.commands.bitmaps, "BLOCK", size)
            assert replies() == whole, size


def span(size: int, first: int, last: int) -> tuple[int, int]:
    """Inclusive bounds, of which negative ones count from the end, as those of a slice."""
    start = max(first + size if first < 0 else first, 0)
    return start, min(max(last + size if last < 0 else last, 0), size - 1) + 1
