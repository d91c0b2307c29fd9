"""One command again and again, as redis-benchmark sends it, which flatters; and the memory of a million keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from random import Random

from .. import procfs
from ..server import Server
from ..suite import REQUEST_METRICS, Group, Metric, Settings, Target, Workload
from ..traffic import CLIENTS
from .peers import PLAIN
from .resp import command, fill
from .workloads import Mix, load

__all__ = ["TARGETS", "WORKLOADS"]

ONE_AT_A_TIME_AT_MOST = 1.50
PIPELINED_AT_MOST = 1.40
OTHERS_PIPELINED_AT_MOST = 1.60
"""CPU time per request, as a part of redis-server's: of SET and GET, and of the other commands."""

MEMORY_AT_MOST = 2.50
"""Bytes per key, as a part of redis-server's."""

PIPELINE = 16
KEYSPACE = 100_000
"""Different keys, fields or members that a load draws from."""

MEMORY_KEYS = 1_000_000
ELEMENTS, BATCH = 4_000_000, 1_000
"""Of the list that is popped from, and how many of them are pushed by a command."""


def member(random: Random, kind: str = "element") -> str:
    return f"{kind}:{random.randrange(KEYSPACE):012d}"


def key(random: Random) -> str:
    return member(random, "key")


def strings(count: int) -> Iterator[bytes]:
    """Keys of 16 bytes with values of 3."""
    return (command("SET", f"key:{number:012d}", "xxx") for number in range(count))


def elements(_: Random) -> Iterator[bytes]:
    """A list that is not empty at the end."""
    return repeat(command("RPUSH", "mylist", *(["xxx"] * BATCH)), ELEMENTS // BATCH)


def nothing(_: Random) -> Iterator[bytes]:
    return iter(())


TESTS = tuple(
    Mix(name, name.upper(), filling, draw)
    for name, filling, draw in (
        ("set", nothing, lambda r: command("SET", key(r), "xxx")),
        ("get", lambda _: strings(KEYSPACE), lambda r: command("GET", key(r))),
        ("lpush", nothing, lambda _: command("LPUSH", "mylist", "xxx")),
        ("rpop", elements, lambda _: command("RPOP", "mylist")),
        ("sadd", nothing, lambda r: command("SADD", "myset", member(r))),
        ("hset", nothing, lambda r: command("HSET", "myhash", member(r), "xxx")),
        ("zadd", nothing, lambda r: command("ZADD", "myzset", r.randrange(KEYSPACE), member(r))),
        ("incr", nothing, lambda r: command("INCR", member(r, "counter"))),
        ("mset", nothing, lambda r: command("MSET", *(word for _ in range(10) for word in (key(r), "xxx")))),
    )
)
"""The tests of redis-benchmark."""


def memory(server: Server, _: Settings) -> dict[str, float]:
    """``memory``, bytes a key."""
    before = procfs.settled(procfs.memory_bytes, server.pid)
    fill(server, strings(MEMORY_KEYS))
    return {"memory": (procfs.settled(procfs.memory_bytes, server.pid) - before) / MEMORY_KEYS}


GROUP = Group("repeated", "the same command again and again, as redis-benchmark sends it")


def requests(test: Mix, pipeline: int) -> Workload:
    """A workload of small requests."""
    how = f"{pipeline} pipelined" if pipeline > 1 else "one at a time"
    return Workload(
        key=f"{test.name}:{pipeline}",
        title=f"{test.title}, {how} on {CLIENTS} connections, {KEYSPACE:,} keys or members",
        metrics=REQUEST_METRICS,
        peers=PLAIN,
        load=load(test, pipeline),
        label=f"only {test.title}, {how}",
        group=GROUP,
    )


MEMORY = Workload(
    key="memory",
    title=f"{MEMORY_KEYS:,} strings of 3 bytes",
    metrics=(Metric("memory", "bytes/key"),),
    peers=PLAIN,
    measure=memory,
    repeat=False,
)

WORKLOADS = (
    *(requests(test, 1) for test in TESTS[:2]),
    *(requests(test, PIPELINE) for test in TESTS),
    MEMORY,
)

TARGETS = (
    *(Target(f"{test}:1", "cpu", "<=", ONE_AT_A_TIME_AT_MOST, against="redis") for test in ("set", "get")),
    *(Target(f"{test}:{PIPELINE}", "cpu", "<=", PIPELINED_AT_MOST, against="redis") for test in ("set", "get")),
    *(Target(f"{test.name}:{PIPELINE}", "cpu", "<=", OTHERS_PIPELINED_AT_MOST, against="redis") for test in TESTS[2:]),
    Target("memory", "memory", "<=", MEMORY_AT_MOST, against="redis"),
)
