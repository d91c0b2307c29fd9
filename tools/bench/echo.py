"""The echo benchmark: evio_echo, with one loop, beside a bare loop, asyncio and uvloop."""

from __future__ import annotations

from pathlib import Path

from . import certificate, measures
from .load import REDIS_BENCHMARK, allow_files
from .server import Peer, Requirement, Server, python
from .suite import REQUEST_METRICS, Metric, Settings, Suite, Target, Workload

__all__ = ["SUITE"]

AT_MOST_BARE = 1.10
BELOW_UVLOOP = 1.00
AT_MOST_ASYNCIO = 0.70
TLS_AT_MOST_UVLOOP = 1.00
"""CPU time per request, as a part of the other server's."""

BULK_AT_LEAST_UVLOOP = 1.00
"""Bytes per CPU second, as a part of uvloop's."""

MEMORY_AT_MOST = 1024
RETRIES_AT_MOST = 0
WAKEUPS_AT_MOST = 0
"""Bytes per idle connection; segments sent again while connecting; wake-ups of an idle server."""

CLIENTS = 50
BULK_CLIENTS, BULK_SIZE = 10, 64 * 1024
MEMORY_CLIENTS = 10_000
IDLE_CLIENTS = 1_000

EVIO = Requirement("evio_echo", "pip install -e packages/evio-core -e packages/evio-echo")
UVLOOP = Requirement("uvloop", "pip install uvloop (it is among the development dependencies)")

PLAIN = (
    Peer("evio", lambda port, _: python("evio_echo", f"tcp://127.0.0.1:{port}"), (EVIO,)),
    Peer("bare", lambda port, _: python("tools.bench.peers.bare", str(port))),
    Peer("asyncio", lambda port, _: python("tools.bench.peers.protocols", "asyncio", str(port))),
    Peer("uvloop", lambda port, _: python("tools.bench.peers.protocols", "uvloop", str(port)), (UVLOOP,)),
)


def evio_tls(port: int, directory: Path) -> list[str]:
    chain, key = directory / certificate.CERTIFICATE, directory / certificate.KEY
    return python("evio_echo", f"tls://127.0.0.1:{port}?cert={chain}&key={key}")


def protocol_tls(loop: str, port: int, directory: Path) -> list[str]:
    files = (str(directory / certificate.CERTIFICATE), str(directory / certificate.KEY))
    return python("tools.bench.peers.protocols", loop, str(port), *files)


TLS = (
    Peer("evio", evio_tls, (EVIO,)),
    Peer("asyncio", lambda port, directory: protocol_tls("asyncio", port, directory)),
    Peer("uvloop", lambda port, directory: protocol_tls("uvloop", port, directory), (UVLOOP,)),
)


def small(server: Server, settings: Settings) -> dict[str, float]:
    # The command *1 $4 PING: an echo of it is a valid reply, an array.
    return measures.requests(server, settings.seconds, test="ping_mbulk", clients=CLIENTS)


def small_tls(server: Server, settings: Settings) -> dict[str, float]:
    authority = server.directory / certificate.AUTHORITY
    return measures.requests(server, settings.seconds, test="ping_mbulk", clients=CLIENTS, ca=authority)


SMALL = Workload(
    key="small",
    title=f"14 bytes, one at a time on {CLIENTS} connections",
    metrics=REQUEST_METRICS,
    peers=PLAIN,
    measure=small,
    requires=(REDIS_BENCHMARK,),
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
    measure=small_tls,
    prepare=certificate.issue,
    requires=(REDIS_BENCHMARK, certificate.TRUSTME),
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

SUITE = Suite(
    name="echo",
    title="echo: evio_echo, 1 loop, beside a bare loop, asyncio and uvloop",
    subject="evio",
    workloads=(SMALL, BULK, SMALL_TLS, MEMORY, IDLE),
    targets=(
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
