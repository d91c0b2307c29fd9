"""Pipelines of one command again and again, by redis-benchmark, which flatter; and the memory of a million keys."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat

from .. import measures, procfs
from ..load import REDIS_BENCHMARK
from ..server import Server
from ..suite import REQUEST_METRICS, Group, Metric, Settings, Target, Workload
from .peers import PLAIN
from .resp import command, fill

__all__ = ["TARGETS", "WORKLOADS"]

ONE_AT_A_TIME_AT_MOST = 1.50
PIPELINED_AT_MOST = 1.40
OTHERS_PIPELINED_AT_MOST = 1.60
"""CPU time per request, as a part of redis-server's: of SET and GET, and of the other commands."""

MEMORY_AT_MOST = 2.50
"""Bytes per key, as a part of redis-server's."""

CLIENTS = 50
PIPELINE = 16
KEYSPACE = 100_000
"""Different keys, fields or members that a load draws from."""

MEMORY_KEYS = 1_000_000
BATCH = 1_000


def fill_keys(server: Server, count: int) -> None:
    """Keys of 16 bytes with values of 3, as redis-benchmark's."""
    fill(server, (command("SET", b"key:%012d" % number, "xxx") for number in range(count)))


def fill_list(server: Server, seconds: float) -> None:
    """Elements enough to pop for so long: no server pops 2 million a second."""
    elements = command("RPUSH", "mylist", *(["xxx"] * BATCH))
    fill(server, repeat(elements, int(2_000_000 * (seconds + 1) / BATCH)))


def load(test: str, pipeline: int) -> Callable[[Server, Settings], dict[str, float]]:
    """A measurement with one of redis-benchmark's tests."""

    def measure(server: Server, settings: Settings) -> dict[str, float]:
        seconds = settings.seconds
        if test == "get":
            fill_keys(server, KEYSPACE)
        elif test == "rpop":
            fill_list(server, seconds)
        return measures.requests(server, seconds, test=test, clients=CLIENTS, pipeline=pipeline, keyspace=KEYSPACE)

    return measure


def memory(server: Server, _: Settings) -> dict[str, float]:
    """``memory``, bytes a key."""
    before = procfs.settled(procfs.memory_bytes, server.pid)
    fill_keys(server, MEMORY_KEYS)
    return {"memory": (procfs.settled(procfs.memory_bytes, server.pid) - before) / MEMORY_KEYS}


GROUP = Group("repeated", "the same command again and again, as redis-benchmark sends it")


def requests(test: str, pipeline: int) -> Workload:
    """A workload of small requests."""
    how = f"{pipeline} pipelined" if pipeline > 1 else "one at a time"
    return Workload(
        key=f"{test}:{pipeline}",
        title=f"{test.upper()}, {how} on {CLIENTS} connections, {KEYSPACE:,} keys or members",
        metrics=REQUEST_METRICS,
        peers=PLAIN,
        measure=load(test, pipeline),
        requires=(REDIS_BENCHMARK,),
        label=f"only {test.upper()}, {how}",
        group=GROUP,
    )


OTHERS = ("lpush", "rpop", "sadd", "hset", "zadd", "incr", "mset")

MEMORY = Workload(
    key="memory",
    title=f"{MEMORY_KEYS:,} strings of 3 bytes",
    metrics=(Metric("memory", "bytes/key"),),
    peers=PLAIN,
    measure=memory,
    repeat=False,
)

WORKLOADS = (
    *(requests(test, 1) for test in ("set", "get")),
    *(requests(test, PIPELINE) for test in ("set", "get", *OTHERS)),
    MEMORY,
)

TARGETS = (
    *(Target(f"{test}:1", "cpu", "<=", ONE_AT_A_TIME_AT_MOST, against="redis") for test in ("set", "get")),
    *(Target(f"{test}:{PIPELINE}", "cpu", "<=", PIPELINED_AT_MOST, against="redis") for test in ("set", "get")),
    *(Target(f"{test}:{PIPELINE}", "cpu", "<=", OTHERS_PIPELINED_AT_MOST, against="redis") for test in OTHERS),
    Target("memory", "memory", "<=", MEMORY_AT_MOST, against="redis"),
)
