"""The echo benchmark: evio_echo, with one loop, beside a bare loop, asyncio and uvloop."""

from __future__ import annotations

from .. import certificate, measures
from ..load import REDIS_BENCHMARK, allow_files
from ..server import Peer
from ..suite import REQUEST_METRICS, Group, Metric, Suite, Target, Workload
from ..traffic import CLIENTS
from . import messages
from .peers import BUSY, LOOPS, PLAIN, TLS

__all__ = ["SUITE"]

AT_MOST_BARE = 1.10
BELOW_UVLOOP = 1.00
LEVEL_WITH_UVLOOP = 1.05
AT_MOST_ASYNCIO = 0.70
TLS_AT_MOST_UVLOOP = 1.00
"""CPU time per request, as a part of the other server's."""

BULK_AT_LEAST_UVLOOP = 1.00
"""Bytes per CPU second, as a part of uvloop's."""

MEMORY_AT_MOST = 1024
RETRIES_AT_MOST = 0
WAKEUPS_AT_MOST = 0
"""Bytes per idle connection; segments sent again while connecting; wake-ups of an idle server."""

BULK_CLIENTS, BULK_SIZE = 10, 64 * 1024
MEMORY_CLIENTS = 10_000
IDLE_CLIENTS = 1_000


GROUP = Group("messages", "messages on 50 connections, and on 500 of 10,000")

SMALL = Workload(
    key="small",
    title=f"14 bytes, one at a time on {CLIENTS} connections",
    metrics=REQUEST_METRICS,
    peers=PLAIN,
    load=messages.turns(message=messages.SMALL),
    label="14 bytes, one at a time",
    group=GROUP,
)

SIZES = Workload(
    key="sizes",
    title=f"{messages.SMALLEST} bytes to {messages.LARGEST // 1024} KiB, 3 in flight on each of {CLIENTS} connections",
    metrics=REQUEST_METRICS,
    peers=PLAIN,
    load=messages.turns(in_flight=3),
    label="16 bytes to 4 KiB, 3 in flight",
    group=GROUP,
)

CROWD = Workload(
    key="crowd",
    title=f"the same, one in flight on {messages.ACTIVE} of {messages.CROWD:,} connections",
    metrics=REQUEST_METRICS,
    peers=PLAIN,
    measure=messages.crowd,
    prepare=lambda _: allow_files(messages.CROWD),
    label="500 of 10,000 connections active",
    group=GROUP,
)

CURVE = tuple(
    Workload(
        key=f"connections:{count}",
        title=f"16 bytes to 4 KiB, one in flight on each of {count:,} connections",
        metrics=REQUEST_METRICS,
        peers=PLAIN,
        measure=messages.sizes(count, in_flight=1),
        prepare=lambda _: allow_files(max(messages.CURVE)),
        label=f"{count:,} connections",
        group=Group("connections", "messages of 16 bytes to 4 KiB, one in flight, as connections grow", "connections"),
        shared=True,
    )
    for count in messages.CURVE
)

BULK = Workload(
    key="bulk",
    title=f"{BULK_SIZE // 1024} KiB, one at a time on {BULK_CLIENTS} connections",
    metrics=(
        Metric("per_cpu", "MB/CPU second", higher_is_better=True),
        Metric("rate", "MB/s", higher_is_better=True),
    ),
    peers=PLAIN,
    measure=lambda server, settings: measures.bulk(server, settings.seconds, size=BULK_SIZE, clients=BULK_CLIENTS),
)

SMALL_TLS = Workload(
    key="tls",
    title=f"14 bytes over TLS, one at a time on {CLIENTS} connections",
    metrics=REQUEST_METRICS,
    peers=TLS,
    load=messages.turns(message=messages.SMALL, tls=True),
    prepare=certificate.issue,
    requires=(certificate.TRUSTME,),
    label="14 bytes over TLS",
    group=GROUP,
)

MEMORY = Workload(
    key="memory",
    title=f"{MEMORY_CLIENTS:,} connections opened back to back, then idle",
    metrics=(
        Metric("memory", "bytes/connection"),
        Metric("retries", "segments sent again"),
        Metric("connecting", "s to connect", 2),
        Metric("cpu", "CPU µs/connection", 1),
    ),
    peers=PLAIN,
    measure=lambda server, _: measures.idle_memory(server, count=MEMORY_CLIENTS),
    prepare=lambda _: allow_files(MEMORY_CLIENTS),
    repeat=False,
)

IDLE = Workload(
    key="idle",
    title=f"{IDLE_CLIENTS:,} open connections, nothing happens",
    metrics=(Metric("wakeups", "wake-ups"),),
    peers=PLAIN,
    measure=lambda server, settings: measures.idle(server, settings.idle_seconds, count=IDLE_CLIENTS),
    prepare=lambda _: allow_files(IDLE_CLIENTS),
    repeat=False,
)

THROUGHPUT = (
    Metric("rate", "requests/s", higher_is_better=True),
    *(metric for metric in REQUEST_METRICS if metric.key != "rate"),
)
"""For what may use several cores: there the CPU time of a request is not what it is about."""


def spread(key: str, title: str, peers: tuple[Peer, ...]) -> Workload:
    return Workload(
        key=key,
        title=f"{title}, {CLIENTS} connections, server and load on all cores",
        metrics=THROUGHPUT,
        peers=peers,
        measure=lambda server, settings: measures.requests(server, settings.seconds, clients=CLIENTS),
        requires=(REDIS_BENCHMARK,),
        pinned=False,
    )


SPREAD = (
    spread("loops", "14 bytes, one at a time", LOOPS),
    spread("busy", "the same with a handler that computes for 20 µs", BUSY),
)

SUITE = Suite(
    name="echo",
    title="echo: evio_echo, 1 loop, beside a bare loop, asyncio and uvloop",
    subject="evio",
    reference="uvloop",
    short=("sizes", "crowd", "small", "tls"),
    documented=("*",),
    workloads=(SIZES, CROWD, SMALL, SMALL_TLS, *CURVE, BULK, MEMORY, IDLE, *SPREAD),
    targets=(
        Target("sizes", "cpu", "<=", AT_MOST_BARE, against="bare"),
        Target("sizes", "cpu", "<=", LEVEL_WITH_UVLOOP, against="uvloop"),
        Target("crowd", "cpu", "<=", AT_MOST_BARE, against="bare"),
        Target("crowd", "cpu", "<=", LEVEL_WITH_UVLOOP, against="uvloop"),
        Target("small", "cpu", "<=", AT_MOST_BARE, against="bare"),
        Target("small", "cpu", "<", BELOW_UVLOOP, against="uvloop"),
        Target("small", "cpu", "<=", AT_MOST_ASYNCIO, against="asyncio"),
        Target("bulk", "per_cpu", ">=", BULK_AT_LEAST_UVLOOP, against="uvloop"),
        Target("tls", "cpu", "<=", TLS_AT_MOST_UVLOOP, against="uvloop"),
        Target("memory", "memory", "<=", MEMORY_AT_MOST),
        Target("memory", "retries", "<=", RETRIES_AT_MOST),
        Target("idle", "wakeups", "<=", WAKEUPS_AT_MOST),
    ),
)
