"""Expiry times: setting them, and keys going when their time has come, however the clock is set."""

from __future__ import annotations

from itertools import count

import pytest

from evio_redis.keyspace.clock import Clock
from evio_redis.keyspace.database import Database
from evio_redis.keyspace.expirer import BUDGET, SAMPLE, Expirer
from evio_redis.keyspace.keyspace import Keyspace
from evio_redis.model.route import Route

from . import changes
from .transcripts import Conversation, check, conversations
from .wire import Wire

TRANSCRIPT = r"""
EXPIRE -> -ERR wrong number of arguments for 'expire' command

EXPIRE k -> -ERR wrong number of arguments for 'expire' command

PEXPIRE -> -ERR wrong number of arguments for 'pexpire' command

PEXPIRE k -> -ERR wrong number of arguments for 'pexpire' command

EXPIREAT -> -ERR wrong number of arguments for 'expireat' command

EXPIREAT k -> -ERR wrong number of arguments for 'expireat' command

PEXPIREAT -> -ERR wrong number of arguments for 'pexpireat' command

PEXPIREAT k -> -ERR wrong number of arguments for 'pexpireat' command

TTL -> -ERR wrong number of arguments for 'ttl' command

TTL k 1 -> -ERR wrong number of arguments for 'ttl' command

PTTL -> -ERR wrong number of arguments for 'pttl' command

PTTL k 1 -> -ERR wrong number of arguments for 'pttl' command

EXPIRETIME -> -ERR wrong number of arguments for 'expiretime' command

EXPIRETIME k 1 -> -ERR wrong number of arguments for 'expiretime' command

PEXPIRETIME -> -ERR wrong number of arguments for 'pexpiretime' command

PEXPIRETIME k 1 -> -ERR wrong number of arguments for 'pexpiretime' command

PERSIST -> -ERR wrong number of arguments for 'persist' command

PERSIST k 1 -> -ERR wrong number of arguments for 'persist' command

SET k v -> +OK
EXPIRE k 9223372036854775807 -> -ERR invalid expire time in 'expire' command
EXISTS k -> :1

SET k v -> +OK
EXPIRE k -9223372036854775808 -> -ERR invalid expire time in 'expire' command
EXISTS k -> :1

SET k v -> +OK
EXPIRE k 9223372036854775 -> -ERR invalid expire time in 'expire' command
EXISTS k -> :1

SET k v -> +OK
EXPIRE k 9223372036854776 -> -ERR invalid expire time in 'expire' command
EXISTS k -> :1

SET k v -> +OK
EXPIRE k -9223372036854775 -> :1
EXISTS k -> :0

SET k v -> +OK
EXPIRE k -9223372036854776 -> -ERR invalid expire time in 'expire' command
EXISTS k -> :1

SET k v -> +OK
EXPIRE k 0 -> :1
EXISTS k -> :0

SET k v -> +OK
EXPIRE k -1 -> :1
EXISTS k -> :0

SET k v -> +OK
EXPIRE k x -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIRE k "" -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIRE k 1.5 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIRE k 9223372036854775808 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIRE k 33177117420 -> :1
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k 9223372036854775807 -> -ERR invalid expire time in 'pexpire' command
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k -9223372036854775808 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIRE k 9223372036854775 -> :1
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k 9223372036854776 -> :1
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k -9223372036854775 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIRE k -9223372036854776 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIRE k 0 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIRE k -1 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIRE k x -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k "" -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k 1.5 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k 9223372036854775808 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIRE k 33177117420 -> :1
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k 9223372036854775807 -> -ERR invalid expire time in 'expireat' command
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k -9223372036854775808 -> -ERR invalid expire time in 'expireat' command
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k 9223372036854775 -> :1
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k 9223372036854776 -> -ERR invalid expire time in 'expireat' command
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k -9223372036854775 -> :1
EXISTS k -> :0

SET k v -> +OK
EXPIREAT k -9223372036854776 -> -ERR invalid expire time in 'expireat' command
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k 0 -> :1
EXISTS k -> :0

SET k v -> +OK
EXPIREAT k -1 -> :1
EXISTS k -> :0

SET k v -> +OK
EXPIREAT k x -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k "" -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k 1.5 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k 9223372036854775808 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
EXPIREAT k 33177117420 -> :1
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k 9223372036854775807 -> :1
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k -9223372036854775808 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIREAT k 9223372036854775 -> :1
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k 9223372036854776 -> :1
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k -9223372036854775 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIREAT k -9223372036854776 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIREAT k 0 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIREAT k -1 -> :1
EXISTS k -> :0

SET k v -> +OK
PEXPIREAT k x -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k "" -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k 1.5 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k 9223372036854775808 -> -ERR value is not an integer or out of range
EXISTS k -> :1

SET k v -> +OK
PEXPIREAT k 33177117420 -> :1
EXISTS k -> :0

TTL k -> :-2
PTTL k -> :-2
EXPIRETIME k -> :-2
PEXPIRETIME k -> :-2
PERSIST k -> :0
EXPIRE k 10 -> :0
PEXPIREAT k 1 -> :0

SET k v -> +OK
TTL k -> :-1
PTTL k -> :-1
EXPIRETIME k -> :-1
PEXPIRETIME k -> :-1
PERSIST k -> :0

SET k v -> +OK
EXPIRE k 100 -> :1
TTL k -> :100
PERSIST k -> :1
TTL k -> :-1

SET k v -> +OK
PEXPIRE k 100000 -> :1
TTL k -> :100

SET k v -> +OK
EXPIREAT k 33177117420 -> :1
EXPIRETIME k -> :33177117420
PEXPIRETIME k -> :33177117420000

SET k v -> +OK
PEXPIREAT k 33177117420123 -> :1
EXPIRETIME k -> :33177117420
PEXPIRETIME k -> :33177117420123

SET k v -> +OK
PEXPIREAT k 33177117420500 -> :1
EXPIRETIME k -> :33177117421

SET k v PXAT 33177117420123 -> +OK
EXPIRETIME k -> :33177117420

EXPIRE k x -> -ERR value is not an integer or out of range
EXPIRE k 10 FOO -> -ERR Unsupported option FOO
EXPIRE k x FOO -> -ERR Unsupported option FOO
EXPIRE k x NX XX -> -ERR NX and XX, GT or LT options at the same time are not compatible

SET k v -> +OK
EXPIRE k 200 NX -> :1
TTL k -> :200

SET k v -> +OK
EXPIRE k 200 XX -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 200 GT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 200 LT -> :1
TTL k -> :200

SET k v -> +OK
EXPIRE k 200 XX GT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 200 XX LT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 200 xx xx -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 50 NX -> :1
TTL k -> :50

SET k v -> +OK
EXPIRE k 50 XX -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 50 GT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 50 LT -> :1
TTL k -> :50

SET k v -> +OK
EXPIRE k 50 XX GT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 50 XX LT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k 50 xx xx -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k -1 NX -> :1
TTL k -> :-2

SET k v -> +OK
EXPIRE k -1 XX -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k -1 GT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k -1 LT -> :1
TTL k -> :-2

SET k v -> +OK
EXPIRE k -1 XX GT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k -1 XX LT -> :0
TTL k -> :-1

SET k v -> +OK
EXPIRE k -1 xx xx -> :0
TTL k -> :-1

SET k v EX 100 -> +OK
EXPIRE k 200 NX -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k 200 XX -> :1
TTL k -> :200

SET k v EX 100 -> +OK
EXPIRE k 200 GT -> :1
TTL k -> :200

SET k v EX 100 -> +OK
EXPIRE k 200 LT -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k 200 XX GT -> :1
TTL k -> :200

SET k v EX 100 -> +OK
EXPIRE k 200 XX LT -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k 200 xx xx -> :1
TTL k -> :200

SET k v EX 100 -> +OK
EXPIRE k 50 NX -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k 50 XX -> :1
TTL k -> :50

SET k v EX 100 -> +OK
EXPIRE k 50 GT -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k 50 LT -> :1
TTL k -> :50

SET k v EX 100 -> +OK
EXPIRE k 50 XX GT -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k 50 XX LT -> :1
TTL k -> :50

SET k v EX 100 -> +OK
EXPIRE k 50 xx xx -> :1
TTL k -> :50

SET k v EX 100 -> +OK
EXPIRE k -1 NX -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k -1 XX -> :1
TTL k -> :-2

SET k v EX 100 -> +OK
EXPIRE k -1 GT -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k -1 LT -> :1
TTL k -> :-2

SET k v EX 100 -> +OK
EXPIRE k -1 XX GT -> :0
TTL k -> :100

SET k v EX 100 -> +OK
EXPIRE k -1 XX LT -> :1
TTL k -> :-2

SET k v EX 100 -> +OK
EXPIRE k -1 xx xx -> :1
TTL k -> :-2

SET k v -> +OK
EXPIRE k 10 NX XX -> -ERR NX and XX, GT or LT options at the same time are not compatible

SET k v -> +OK
EXPIRE k 10 NX GT -> -ERR NX and XX, GT or LT options at the same time are not compatible

SET k v -> +OK
EXPIRE k 10 NX LT -> -ERR NX and XX, GT or LT options at the same time are not compatible

SET k v -> +OK
EXPIRE k 10 GT LT -> -ERR GT and LT options at the same time are not compatible

SET k v -> +OK
EXPIRE k 10 FOO -> -ERR Unsupported option FOO

SET k v -> +OK
EXPIRE k 10 NX FOO -> -ERR Unsupported option FOO

SET k v -> +OK
EXPIRE k 10 "" -> -ERR Unsupported option

SET k v -> +OK
EXPIRE k 10 XX GT LT -> -ERR GT and LT options at the same time are not compatible

SET k v EX 100 -> +OK
EXPIRE k 99 GT -> :0
EXPIRE k 101 GT -> :1

SET k v PXAT 33177117420123 -> +OK
PEXPIREAT k 33177117420123 LT -> :0
PEXPIREAT k 33177117420123 GT -> :0
PEXPIREAT k 33177117420122 LT -> :1

SET k v EX 100 -> +OK
GETSET k w -> $1 v
TTL k -> :-1

SET k v EX 100 -> +OK
MSET k w -> +OK
TTL k -> :-1

SET k v EX 100 -> +OK
INCRBYFLOAT k 1 -> -ERR value is not a valid float

RPUSH l a -> :1
EXPIRE l 100 -> :1
RPUSH l b -> :2
LPOP l -> $1 a
TTL l -> :100
LPOP l -> $1 b
RPUSH l a -> :1
TTL l -> :-1

SADD s a -> :1
EXPIRE s 100 -> :1
SADD s b -> :1
TTL s -> :100
SUNIONSTORE s s -> :2
TTL s -> :-1

HSET h a 1 -> :1
EXPIRE h 100 -> :1
HSET h a 2 -> :0
HDEL h b -> :0
TTL h -> :100

ZADD z 1 a -> :1
EXPIRE z 100 -> :1
ZINCRBY z 1 a -> $1 2 | ,2
TTL z -> :100

SET k v EX 100 -> +OK
DEL k -> :1
SET k v -> +OK
TTL k -> :-1

DEBUG SET-ACTIVE-EXPIRE 0 -> +OK
SET k v -> +OK
PEXPIREAT k 33177117420123 -> :1
SET k v PXAT 1 -> +OK
EXISTS k -> :0
DBSIZE -> :0
DEBUG SET-ACTIVE-EXPIRE 1 -> +OK
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


EVENTS: list[changes.Case] = [
    (["SET k 1"], "EXPIRE k 100", 1, [("0__:k", "expire")]),
    (["SET k 1"], "EXPIRE k -1", 1, [("0__:k", "del")]),
    (["SET k 1"], "PEXPIREAT k 1", 1, [("0__:k", "del")]),
    (["SET k 1"], "EXPIRE k 100 XX", 0, []),
    ([], "EXPIRE k 100", 0, []),
    (["SET k 1"], "PERSIST k", 0, []),
    (["SET k 1 EX 9"], "PERSIST k", 1, [("0__:k", "persist")]),
    (["SET k 1 EX 9"], "TTL k", 0, []),
]


@pytest.mark.parametrize("group", changes.cases(EVENTS))
def test_events_and_changes(port: int, group: list[changes.Case]) -> None:
    changes.check(port, group)


class Stepped(Clock):
    """A clock that a test moves."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000

    def ms(self) -> int:
        return self.now


@pytest.fixture
def keyspace() -> Keyspace:
    return Keyspace(2, Route(), Stepped())


def volatile(keyspace: Keyspace, count: int, when: int) -> Database:
    database = keyspace.databases[0]
    for n in range(count):
        database.put(b"%d" % n, b"")
        database.set_expiry(b"%d" % n, when)
    return database


def step(keyspace: Keyspace, milliseconds: int) -> None:
    assert isinstance(keyspace.clock, Stepped)
    keyspace.clock.now += milliseconds


def test_a_key_expires_at_its_time_and_not_before(keyspace: Keyspace) -> None:
    database = volatile(keyspace, 1, keyspace.clock.ms() + 100)
    step(keyspace, 99)
    assert database.lookup(b"0") == b""
    step(keyspace, 1)
    assert database.lookup(b"0") is None
    assert not database.data
    assert not database.expires
    assert keyspace.expired_keys == 1


def test_a_clock_set_back_gives_keys_more_time(keyspace: Keyspace) -> None:
    database = volatile(keyspace, 100, keyspace.clock.ms() + 100)
    step(keyspace, -1_000_000)
    Expirer(keyspace).cycle()
    assert len(database.data) == 100
    step(keyspace, 1_000_100)
    Expirer(keyspace).cycle()
    assert not database.data


def test_a_clock_set_forward_expires_all_at_once(keyspace: Keyspace) -> None:
    database = volatile(keyspace, 5000, keyspace.clock.ms() + 10**12)
    step(keyspace, 10**13)
    expirer = Expirer(keyspace)
    cycles = 0
    while database.data:
        expirer.cycle()
        cycles += 1
        assert cycles < 1000
    assert keyspace.expired_keys == 5000


def test_all_expired_keys_are_found_among_many_that_are_not(keyspace: Keyspace) -> None:
    database = volatile(keyspace, 1000, keyspace.clock.ms() + 10**9)
    for n in range(0, 1000, 50):
        database.set_expiry(b"%d" % n, keyspace.clock.ms())
    expirer = Expirer(keyspace)
    for _ in range(2 * 1000 // SAMPLE):
        expirer.cycle()
    assert len(database.data) == 980


def test_a_cycle_ends_when_its_time_is_over(keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time that passes at each look, it stops after the first samples and goes on the next time."""
    database = volatile(keyspace, 1000, keyspace.clock.ms())
    ticks = count(0, BUDGET)
    monkeypatch.setattr("evio_redis.keyspace.expirer.perf_counter", lambda: next(ticks))
    expirer = Expirer(keyspace)
    expirer.cycle()
    assert 0 < 1000 - len(database.data) <= 3 * SAMPLE
    assert expirer.time_cap_reached == 1


def test_no_active_expiry_where_it_is_turned_off(keyspace: Keyspace) -> None:
    database = volatile(keyspace, 10, keyspace.clock.ms())
    expirer = Expirer(keyspace)
    expirer.enabled = False
    expirer.cycle()
    assert len(database.data) == 10
    expirer.enabled = True
    expirer.cycle()
    assert not database.data


def test_keys_are_removed_though_nobody_asks(port: int) -> None:
    with Wire(port) as wire, Wire(port) as subscriber:
        for command in ("FLUSHALL", "CONFIG SET notify-keyspace-events Ex"):
            wire.ask(command)
        subscriber.ask("SUBSCRIBE __keyevent@0__:expired")
        wire.ask("SET k v PX 20")
        assert subscriber.reply().endswith(b"$1\r\nk\r\n")
        assert wire.ask("DBSIZE") == b":0\r\n"


def test_a_transaction_sees_the_same_keys_all_along(port: int) -> None:
    with Wire(port) as wire:
        wire.send("FLUSHALL", "SET k v PX 150", "MULTI", "EXISTS k", "DEBUG SLEEP 0.3", "EXISTS k", "EXEC", "EXISTS k")
        replies = [wire.reply() for _ in range(8)]
        assert replies[-2:] == [b"*3\r\n:1\r\n+OK\r\n:1\r\n", b":0\r\n"]
