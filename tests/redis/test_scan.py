"""SCAN and its kin: options, errors, and what an iteration promises while everything changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evio_redis.keyspace.cursors import Scans
from tests.extent import examples

from .transcripts import Conversation, check, conversations
from .wire import Wire

TRANSCRIPT = r"""
SCAN -> -ERR wrong number of arguments for 'scan' command

SET k v -> +OK
SCAN 0 -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN +0 -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN -0 -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 00 -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN "" -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN x -> -ERR invalid cursor

SET k v -> +OK
SCAN 0x -> -ERR invalid cursor

SET k v -> +OK
SCAN " 0" -> -ERR invalid cursor

SET k v -> +OK
SCAN "0 " -> -ERR invalid cursor

SET k v -> +OK
SCAN - -> -ERR invalid cursor

SET k v -> +OK
SCAN 1.5 -> -ERR invalid cursor

SET k v -> +OK
SCAN 18446744073709551616 -> -ERR invalid cursor

SET k v -> +OK
SCAN -18446744073709551616 -> -ERR invalid cursor

SET k v -> +OK
SCAN 0 MATCH -> -ERR syntax error

SET k v -> +OK
SCAN 0 COUNT -> -ERR syntax error

SET k v -> +OK
SCAN 0 TYPE -> -ERR syntax error

SET k v -> +OK
SCAN 0 FOO -> -ERR syntax error

SET k v -> +OK
SCAN 0 FOO 1 -> -ERR syntax error

SET k v -> +OK
SCAN 0 COUNT 0 -> -ERR syntax error

SET k v -> +OK
SCAN 0 COUNT -1 -> -ERR syntax error

SET k v -> +OK
SCAN 0 COUNT x -> -ERR value is not an integer or out of range

SET k v -> +OK
SCAN 0 COUNT 9223372036854775808 -> -ERR value is not an integer or out of range

SET k v -> +OK
SCAN 0 COUNT 9223372036854775807 -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 MATCH * -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 MATCH k -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 MATCH x -> *2 $1 0 *0

SET k v -> +OK
SCAN 0 match K -> *2 $1 0 *0

SET k v -> +OK
SCAN 0 MATCH [k] -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 TYPE string -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 TYPE STRING -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 TYPE list -> *2 $1 0 *0

SET k v -> +OK
SCAN 0 TYPE foo -> *2 $1 0 *0

SET k v -> +OK
SCAN 0 type string match k count 5 -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 MATCH x MATCH k -> *2 $1 0 *1 $1 k

SET k v -> +OK
SCAN 0 COUNT x FOO -> -ERR value is not an integer or out of range

SET k v -> +OK
SCAN 0 FOO x COUNT 0 -> -ERR syntax error

SCAN 0 -> *2 $1 0 *0

RPUSH l a -> :1
SCAN 0 TYPE list -> *2 $1 0 *1 $1 l
SCAN 0 TYPE string -> *2 $1 0 *0

ZADD z 1 a -> :1
SCAN 0 TYPE zset -> *2 $1 0 *1 $1 z

DEBUG SET-ACTIVE-EXPIRE 0 -> +OK
SET k v PXAT 1 -> +OK
SCAN 0 -> *2 $1 0 *0
SCAN 0 TYPE string -> *2 $1 0 *0
DEBUG SET-ACTIVE-EXPIRE 1 -> +OK

SSCAN k 0 -> *2 $1 0 *0

SSCAN k -> -ERR wrong number of arguments for 'sscan' command

HSCAN k 0 -> *2 $1 0 *0

ZSCAN k 0 -> *2 $1 0 *0

SADD s a -> :1
SSCAN s 0 -> *2 $1 0 *1 $1 a
SSCAN s 0 MATCH b -> *2 $1 0 *0
SSCAN s 0 COUNT 0 -> -ERR syntax error
SSCAN s 0 TYPE x -> -ERR syntax error
SSCAN s x -> -ERR invalid cursor
HSCAN s 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
ZSCAN s 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value

SADD s 1 2 3 -> :3
SSCAN s 0 COUNT 1 -> *2 $1 0 *3 $1 1 $1 2 $1 3
SSCAN s 0 MATCH [12] -> *2 $1 0 *2 $1 1 $1 2

HSET h a 1 -> :1
HSCAN h 0 -> *2 $1 0 *2 $1 a $1 1
HSCAN h 0 MATCH 1 -> *2 $1 0 *0
HSCAN h 0 NOVALUES -> -ERR syntax error

ZADD z 1.5 a -> :1
ZSCAN z 0 -> *2 $1 0 *2 $1 a $3 1.5
ZSCAN z 0 MATCH b -> *2 $1 0 *0
ZSCAN z 0 COUNT -> -ERR syntax error
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["SCAN", "SSCAN", "HSCAN", "ZSCAN"]))
def test_what_stays_is_returned_and_nothing_that_never_was(port: int, data: st.DataObject, kind: str) -> None:
    """Though elements come and go during the iteration, and the tables grow and shrink with them."""
    count = data.draw(st.sampled_from([1, 7, 50]))
    stay = {f"stay{n}" for n in range(data.draw(st.sampled_from([0, 3, 300])))}
    other = {f"other{n}" for n in range(data.draw(st.sampled_from([0, 3, 600])))}
    with Wire(port) as wire:
        wire.ask("FLUSHALL")
        change(wire, kind, "add", stay | other)
        seen: list[str] = []
        cursor, rounds = "0", 0
        while rounds == 0 or cursor != "0":
            cursor, found = scan(wire, kind, cursor, count)
            seen += found
            if rounds < 5:
                what, size = data.draw(st.tuples(st.sampled_from(["add", "remove"]), st.sampled_from([1, 100, 2000])))
                moved = {f"other{n}" for n in range(rounds * size, (rounds + 1) * size)}
                other |= moved
                change(wire, kind, what, moved)
            rounds += 1
            assert rounds < 20_000
    assert stay <= set(seen)
    assert set(seen) <= stay | other


def change(wire: Wire, kind: str, what: str, names: set[str]) -> None:
    """Add elements to what is scanned, or remove them."""
    if not names:
        return
    pairs = [word for name in names for word in (name, "1")]
    swapped = [word for name in names for word in ("1", name)]
    commands = {
        "SCAN": (["MSET", *pairs], ["DEL", *names]),
        "SSCAN": (["SADD", "k", *names], ["SREM", "k", *names]),
        "HSCAN": (["HSET", "k", *pairs], ["HDEL", "k", *names]),
        "ZSCAN": (["ZADD", "k", *swapped], ["ZREM", "k", *names]),
    }
    reply = wire.ask(commands[kind][what == "remove"])
    assert not reply.startswith(b"-"), reply


def scan(wire: Wire, kind: str, cursor: str, count: int) -> tuple[str, list[str]]:
    """The next cursor and the elements of one call."""
    key = [] if kind == "SCAN" else ["k"]
    words = wire.ask([kind, *key, cursor, "COUNT", count]).decode().split("\r\n")
    return words[2], words[5:-1:2] if kind in ("SCAN", "SSCAN") else words[5:-1:4]


def test_many_iterations_at_once(port: int) -> None:
    """More than are remembered: those begin anew, which may repeat elements but loses none."""
    names = {f"key{n}" for n in range(200)}
    with Wire(port) as wire:
        wire.ask("FLUSHALL")
        change(wire, "SCAN", "add", names)
        states = [scan(wire, "SCAN", "0", 100) for _ in range(100)]
        for cursor, found in states:
            seen = set(found)
            while cursor != "0":
                cursor, found = scan(wire, "SCAN", cursor, 100)
                seen |= set(found)
            assert seen == names


class Counted(dict[int, None]):
    """A dictionary that counts the elements that were taken of it."""

    taken = 0

    def __iter__(self) -> Iterator[int]:
        for element in super().__iter__():
            self.taken += 1
            yield element


def test_beginning_an_iteration_costs_what_it_returns() -> None:
    scans, elements = Scans(), Counted((number, None) for number in range(1000))
    cursor, found = scans.scan(elements, lambda: elements, 0, 10)
    assert found == list(range(10))
    assert elements.taken <= 11
    elements[1000] = None
    del elements[500]
    while cursor:
        cursor, more = scans.scan(elements, lambda: elements, cursor, 100)
        found += more
    assert sorted(found) == sorted({*range(1001)} - {500}), "each once"


def test_an_iteration_may_go_on_from_the_same_cursor_again() -> None:
    scans, elements = Scans(), dict.fromkeys(range(100))
    cursor, _ = scans.scan(elements, lambda: elements, 0, 10)
    once = scans.scan(elements, lambda: elements, cursor, 10)
    assert scans.scan(elements, lambda: elements, cursor, 10) == once
