"""maxmemory: what is counted, and which keys go."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evio_redis
from evio_redis.keyspace.eviction import POLICIES
from evio_redis.keyspace.idle_times import Accesses
from evio_redis.keyspace.usage import STRING, Usage
from evio_redis.stats.memory import MemoryLimit
from tests.core.harness import eventually
from tests.extent import FULL, examples

from .differential import commands
from .wire import Wire

MB = 1 << 20
OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


@contextmanager
def limited(limit: int = MB, **settings: Any) -> Iterator[tuple[evio_redis.Server, Wire]]:
    with evio_redis.Server(port=0, maxmemory=limit, **settings) as server, Wire(server.port) as wire:
        yield server, wire


def counted(server: evio_redis.Server) -> tuple[int, int]:
    """Return what is counted, and what a count of all keys gives."""
    usage = server.services[Usage]
    total = 0
    for database in server.keyspace.databases:
        here = 0
        for key, value in database.data.items():
            if isinstance(value, bytes):
                here += STRING + len(key) + len(value)
            else:
                here += STRING - 33 + len(key) + database.counted[key].bytes
        assert set(database.counted) <= set(database.data)
        assert database.bytes == here
        total += here
    return usage.bytes, total


# -- what is counted


@settings(max_examples=examples(60), deadline=None)
@given(commands, st.sampled_from(POLICIES))
def test_what_is_counted_is_there(sequence: list[list[bytes]], policy: str) -> None:
    with limited(1 << 30, maxmemory_policy=policy) as (server, wire):
        for args in sequence:
            wire.ask(list(args))
        found, expected = counted(server)
        assert found == expected


def test_a_string_of_its_own_class_that_does_not_change_is_counted_once() -> None:
    with limited(1 << 30) as (server, wire):
        for each in ("PFADD h", "PFADD h", "PFADD h a", "PFADD h a", "SETRANGE s 0 x", "SETRANGE s 0 x", "APPEND s ''"):
            assert not wire.ask(each).startswith(b"-")
            assert counted(server)[0] == counted(server)[1] > 0


def test_expiry_swaps_and_flushes_are_counted() -> None:
    with limited(1 << 30) as (server, wire):
        for each in ("SET a x PX 1", "SELECT 1", "RPUSH l a b c", "SET b y", "SELECT 0", "HSET h f v", "SWAPDB 0 1"):
            assert not wire.ask(each).startswith(b"-")
        while wire.ask("EXISTS a") == b":1\r\n" or wire.ask("SELECT 1") + wire.ask("EXISTS a") != b"+OK\r\n:0\r\n":
            wire.ask("SELECT 0")
        wire.ask("SELECT 0")
        assert counted(server)[0] == counted(server)[1] > 0
        for each in ("MOVE b 3", "COPY l m DB 2", "RENAME l k", "EXPIRE k -1", "FLUSHDB"):
            assert not wire.ask(each).startswith(b"-")
            assert counted(server)[0] == counted(server)[1] > 0
        wire.ask("FLUSHALL")
        assert counted(server) == (0, 0)


def test_those_who_waited_are_counted() -> None:
    with limited(1 << 30) as (server, wire), Wire(server.port) as waiting:
        waiting.send("BLMOVE a b LEFT RIGHT 0")
        while b"blocked_clients:1" not in wire.ask("INFO clients"):
            pass
        wire.ask("RPUSH a " + 300 * "x")
        assert waiting.reply().startswith(b"$300")
        assert counted(server)[0] == counted(server)[1] > 300


def test_a_limit_that_is_set_later_counts_what_is_there() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire:
        for each in ("SET a x", "RPUSH l a b c", "XADD s * f v", "ZADD z 1 m", "SADD u 1 2"):
            wire.ask(each)
        assert server.services[Usage].bytes == 0
        assert wire.ask("CONFIG SET maxmemory 1gb") == b"+OK\r\n"
        assert counted(server)[0] == counted(server)[1] > 500
        assert f"used_memory:{server.services[MemoryLimit].used}\r\n".encode() in wire.ask("INFO memory")
        wire.ask("CONFIG SET maxmemory 0")
        assert server.services[Usage].bytes == 0


def test_uses_of_keys_that_come_and_go_are_forgotten() -> None:
    with limited(1 << 30, maxmemory_policy="allkeys-lru") as (server, wire):
        for number in range(2000):
            wire.send(f"RPUSH key:{number} x", f"LPOP key:{number}")
        for _ in range(2000):
            assert wire.reply() + wire.reply() == b":1\r\n$1\r\nx\r\n"
        assert eventually(lambda: len(server.keyspace.databases[0].uses) <= 1000)


def test_large_members_of_a_collection_count() -> None:
    with limited(1 << 30) as (server, wire):
        for command in ("HSET h f", "RPUSH l", "SADD s", "ZADD z 1", "XADD x * f"):
            before = server.services[Usage].bytes
            wire.ask([*command.split(), "y" * MB])
            assert MB < server.services[Usage].bytes - before < 1.2 * MB, command


# -- who has to go


USED = ["allkeys-lru", "volatile-lfu"]
DAILY = ["allkeys-lru", "volatile-ttl"]
EVICTING = [each for each in POLICIES if each != "noeviction"] if FULL else DAILY


@pytest.mark.parametrize("policy", EVICTING)
def test_keys_go_until_the_limit_is_kept(policy: str) -> None:
    with limited(MB, maxmemory_policy=policy) as (server, wire):
        for number in range(4000):
            wire.send(["SET", f"key:{number}", "x" * 200, "EX", str(1000 + number)], f"GET key:{number // 2}")
            assert wire.reply() == b"+OK\r\n"
            wire.reply()
        limit = server.services[MemoryLimit]
        limit.update()
        while limit.eviction.going_on:
            limit.update()
        assert 0.7 * MB < limit.used <= MB
        found, expected = counted(server)
        assert found == expected
        assert b"evicted_keys:0\r\n" not in wire.ask("INFO stats")


@pytest.mark.parametrize("policy", [each for each in EVICTING if each.startswith("volatile")])
def test_only_keys_that_expire_go(policy: str) -> None:
    with limited(MB, maxmemory_policy=policy) as (_, wire):
        for number in range(1000):
            assert wire.ask(["SET", f"kept:{number}", "x" * 100]) == b"+OK\r\n"
        for number in range(5000):
            assert wire.ask(["SET", f"volatile:{number}", "x" * 200, "EX", "1000"]) == b"+OK\r\n"
        assert wire.ask(["EXISTS", *(f"kept:{number}" for number in range(1000))]) == b":1000\r\n"
        number = 0
        while wire.ask(["SET", f"more:{number}", "x" * 500]) == b"+OK\r\n":
            number += 1
        assert wire.ask(["SET", "more", "x"]) == OOM
        assert wire.ask("INFO keyspace").count(b"expires=0") == 1
        wire.ask("DEL " + " ".join(f"kept:{number}" for number in range(1000)))
        assert wire.ask("SET k v") == b"+OK\r\n"


def test_those_go_that_expire_first() -> None:
    with limited(MB, maxmemory_policy="volatile-ttl", maxmemory_samples=10) as (_, wire):
        order = random.Random(7).sample(range(6000), 6000)
        for number in order:
            wire.ask(["SET", f"k:{number}", "x" * 100, "EX", str(1000 + number)])
        kept = [number for number in range(6000) if wire.ask(f"EXISTS k:{number}") == b":1\r\n"]
        assert sum(kept) / len(kept) > 4000


@pytest.mark.parametrize("policy", [*USED, "volatile-lru", "allkeys-lfu"] if FULL else USED[:1])
def test_keys_that_are_used_stay(policy: str) -> None:
    with limited(MB, maxmemory_policy=policy, maxmemory_samples=10) as (server, wire):
        hot = [f"hot:{number}" for number in range(100)]
        for each in hot:
            wire.ask(["SET", each, "x" * 100, "EX", "1000"])
        for number in range(10_000):
            wire.send(["SET", f"cold:{number}", "x" * 100, "EX", "1000"], f"GET {hot[number % 100]}")
            wire.reply()
            wire.reply()
            if number % 200 == 0:
                server.services[Accesses].tick()  # as if more time had passed
        assert int(wire.ask("EXISTS " + " ".join(hot))[1:-2]) > 95


def test_noeviction_refuses_and_what_frees_memory_runs() -> None:
    with limited(MB) as (server, wire):
        assert wire.ask(["SET", "large", "x" * MB]) == b"+OK\r\n"
        assert wire.ask("SET k v") == OOM
        assert wire.ask("GET k") == b"$-1\r\n"
        assert wire.ask("EVAL \"return redis.call('SET','k','v')\" 0".replace('"', "'", 0)).startswith(b"-")
        assert wire.ask("MULTI") == b"+OK\r\n"
        assert wire.ask("SET k v") == OOM
        assert wire.ask("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
        assert b"Out of memory" in wire.ask("MEMORY DOCTOR")
        assert wire.ask("DEL large") == b":1\r\n"
        assert wire.ask("SET k v") == b"+OK\r\n"
        assert not server.services[MemoryLimit].exceeded


def test_an_eviction_is_logged_notified_and_fails_transactions(tmp_path: Path) -> None:
    settings = {"dir": str(tmp_path), "appendonly": "yes", "notify_keyspace_events": "Ee"}
    with limited(MB, maxmemory_policy="allkeys-random", **settings) as (server, wire), Wire(server.port) as other:
        wire.ask(["SET", "k", "x" * 1000])
        wire.ask("WATCH k")
        other.ask("SUBSCRIBE __keyevent@0__:evicted")
        with Wire(server.port) as third:
            number = 0
            while third.ask("EXISTS k") == b":1\r\n":
                third.ask(["SET", f"more:{number}", "x" * 50_000])
                number += 1
        for each in ("MULTI", "PING"):
            wire.ask(each)
        assert wire.ask("EXEC") == b"*-1\r\n"
        assert b"evicted" in other.reply()
        keys = sorted(wire.ask("KEYS *").split(b"\r\n")[2::2])
    with evio_redis.Server(port=0, **settings) as server, Wire(server.port) as wire:
        assert sorted(wire.ask("KEYS *").split(b"\r\n")[2::2]) == keys


def test_a_limit_far_below_is_reached_step_by_step() -> None:
    with evio_redis.Server(port=0, maxmemory_policy="allkeys-random", maxmemory_eviction_tenacity=1) as server:
        with Wire(server.port) as wire:
            for start in range(0, 50_000, 1000):
                pairs = ((f"k:{number}", "x" * 50) for number in range(start, start + 1000))
                wire.ask(["MSET", *(word for pair in pairs for word in pair)])
            wire.ask("CONFIG SET maxmemory 2mb")
            limit = server.services[MemoryLimit]
            assert limit.used > 2 * MB
            steps = 0
            while limit.used > 2 * MB:
                assert wire.ask("SET k v") == b"+OK\r\n"
                steps += 1
            assert steps > 1


# -- clients


def test_the_largest_clients_are_dropped() -> None:
    with evio_redis.Server(port=0, maxmemory_clients="1mb") as server, Wire(server.port) as wire:
        with Wire(server.port) as large, Wire(server.port) as spared:
            spared.ask("CLIENT NO-EVICT ON")
            for each in (large, spared):
                each.send(b"*1\r\n$3000000\r\n" + b"x" * 2_000_000)
            while b"evicted_clients:1\r\n" not in wire.ask("INFO stats"):
                pass
            with pytest.raises((OSError, AssertionError)):
                large.reply()
            spared.send(b"x" * 1_000_000 + b"\r\n")
            assert spared.reply().startswith(b"-ERR unknown command")


def test_who_takes_more_than_all_may_is_dropped_before_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire, Wire(server.port) as large:
        monkeypatch.setattr(MemoryLimit, "update", lambda self: None)  # that others are looked at now and then
        wire.ask("CONFIG SET maxmemory-clients 1mb")
        with contextlib.suppress(ConnectionError):
            large.send(["SET", "k", "x" * 3_000_000])
            assert large.rest() == b""
        assert b"evicted_clients:1\r\n" in wire.ask("INFO stats")
        assert wire.ask("EXISTS k") == b":0\r\n"


def test_what_a_client_took_may_be_used_when_it_is_gone() -> None:
    with evio_redis.Server(port=0, maxmemory="1mb", hz=1) as server, Wire(server.port) as wire:
        with Wire(server.port) as large:
            large.send(b"*1\r\n$3000000\r\n" + b"x" * 2_000_000)
            assert eventually(lambda: wire.ask("SET k v").startswith(b"-OOM"))
        while b"connected_clients:1\r\n" not in wire.ask("INFO clients"):
            pass
        assert wire.ask("SET k v") == b"+OK\r\n"


@pytest.mark.parametrize("what", ["WATCH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "CLIENT TRACKING ON BCAST"])
def test_what_a_client_watches_and_listens_to_counts(what: str) -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire, Wire(server.port) as other:
        names = [b"%04d" % number for number in range(1000)]
        identity = other.ask("CLIENT ID")[1:-2].decode()

        def taken() -> int:
            return int(wire.ask(f"CLIENT LIST ID {identity}").decode().partition("tot-mem=")[2].split()[0])

        before = taken()
        words = [word for name in names for word in (b"PREFIX", name)] if what.endswith("BCAST") else names
        other.ask([*what.split(), *words])
        assert taken() > before + 100 * len(names)


# -- idle times


def test_an_idle_time_counts_from_the_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("evio_redis.keyspace.idle_times.monotonic", lambda: now)
    with evio_redis.Server(port=0, hz=1) as server, Wire(server.port) as wire:
        for number in range(2000):
            wire.ask(f"SET k:{number} v")
            server.services[Accesses].tick()
            now += 1
        for number in (0, 1000, 1990, 1999):
            wire.ask(f"DEL k:{number + 1}")
        idle = [int(wire.ask(f"OBJECT IDLETIME k:{number}")[1:-2]) for number in (0, 1000, 1990, 1999)]
        assert all(abs(seconds - wanted) <= 8 for seconds, wanted in zip(idle, (2000, 1000, 10, 1), strict=True)), idle


def test_frequencies_grow_with_use_and_wane_without(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 6000.0
    monkeypatch.setattr("evio_redis.keyspace.idle_times.monotonic", lambda: now)
    with evio_redis.Server(port=0, maxmemory_policy="allkeys-lfu") as server, Wire(server.port) as wire:
        wire.ask("SET k v")
        assert wire.ask("OBJECT FREQ k") == b":5\r\n"
        assert wire.ask("OBJECT IDLETIME k").startswith(b"-ERR An LFU maxmemory policy is selected")
        for _ in range(300):
            wire.ask("GET k")
        high = int(wire.ask("OBJECT FREQ k")[1:-2])
        assert 8 < high < 20
        now += 180
        server.services[Accesses].tick()
        assert wire.ask("OBJECT FREQ k") == b":%d\r\n" % (high - 3)
        assert wire.ask("CONFIG SET maxmemory-policy allkeys-lru") == b"+OK\r\n"
        assert wire.ask("OBJECT FREQ k").startswith(b"-ERR An LFU maxmemory policy is not selected")
        assert wire.ask("OBJECT IDLETIME k") == b":0\r\n"
