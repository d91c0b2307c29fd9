"""Requests of browsers: 1,000 files, no two heads alike, a third of them conditional."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from random import Random

from .. import measures, procfs
from ..load import connected, connections
from ..server import BenchError, Peer, Server
from ..suite import REQUEST_METRICS, Group, Metric, Settings, Target, Workload
from ..traffic import figures
from ..traffic import measured as driven
from . import files, heads
from .open_loop import arrivals, offer
from .peers import PLAIN, PLAIN_AND_FLOOR, TLS_AND_FLOOR
from .responses import Responses, read
from .tls import secured
from .wrk import CLIENTS, WRK, measured, wrk

__all__ = ["TARGETS", "WORKLOADS", "entity_tags"]

PLAIN_AT_MOST = 1.40
TLS_AT_MOST = 1.70
P99_AT_MOST = 1.50
NOT_MODIFIED_AT_MOST = 1.90
NOT_FOUND_AT_MOST = 1.60
COLD_AT_MOST = 4.00
OPEN_P99_AT_MOST = 2.20
"""CPU time per request, or its 99th percentile, as a part of nginx's. docs/benchmarks.md says what was wanted over TLS
(1.3) and for 304 (1.6), and where the time goes."""

RESIDENT_AT_MOST = 60.0
GROWTH_AT_MOST = 1.0
"""MiB of memory after a million heads, and how many of those came after the first 100,000."""

HEADS = 20_000
"""Different heads of a load, which sends them again with other numbers in their cookies."""
PROBED = 20
"""Requests that are sent first to see that they are answered as they should be."""

CONDITIONAL = 1 / 3
CURRENT = 0.75
"""The share of heads with If-None-Match, and the share of those with the entity tag of the file as it is."""
STALE = b'"0-0"'

COLD_WARM_UP = 2_000

OPEN_RATE = 1_000
"""Requests a second."""
OPEN_SECONDS = 10.0

MANY_HEADS = 1_000_000

GROUP = Group("real", "real heads: 200 user agents, cookies, referers, 1,000 files of 0.3 to 10 KB")

# What comes before the number and what comes behind it end with a NUL each. The time makes runs differ.
SCRIPT = """
local before, after, size = {}, {}, 0
local file = assert(io.open("HEADS", "rb"))
for first, second in file:read("*a"):gmatch("(%Z*)%z(%Z*)%z") do
    size = size + 1
    before[size], after[size] = first, second
end
file:close()
local run, count = os.time(), 0
request = function()
    count = count + 1
    local index = count % size + 1
    return before[index] .. run .. "-" .. count .. after[index]
end
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request, and its answer."""

    folder: str
    """The prefix of the paths of the site's files."""
    conditional: float
    """0 to 1: how many of the requests have If-None-Match."""
    current: float
    """0 to 1: how many of those have the file's entity tag."""
    statuses: tuple[int, ...]


FOUND = Kind("", CONDITIONAL, CURRENT, (200, 304))
NOT_MODIFIED = Kind("", 1, 1, (304,))
NOT_FOUND = Kind("/absent", CONDITIONAL, 0, (404,))


def entity_tags(sock: socket.socket) -> dict[str, bytes]:
    """The entity tag of each file of the site. Raises :class:`BenchError` for a file without one."""
    tags = {}
    for path in files.PATHS:
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        response = read(sock)
        tag = response.field(b"ETag")
        if response.status != 200 or tag is None:
            raise BenchError(f"{path} is answered without an entity tag: {response.head!r}")
        tags[path] = tag
    return tags


@cache
def drawn(kind: Kind) -> list[tuple[str, bytes]]:
    """Paths and heads; a bar is in the place of an entity tag, which only the server knows."""
    random = Random(1)
    chosen = []
    for _ in range(HEADS):
        path, tag = kind.folder + random.choice(files.PATHS), b""
        if random.random() < kind.conditional:
            tag = b"|" if random.random() < kind.current else STALE
        chosen.append((path, heads.draw(random, path, files.PATHS, tag)))
    return chosen


def probed(kind: Kind, server: Server, tls: bool) -> list[bytes]:
    """The heads for that server. Raises :class:`BenchError` when some are not answered as they should be."""
    with secured(server) if tls else connected(server.port) as sock:
        tags = entity_tags(sock)
        requests = [
            head.replace(b"If-None-Match: |", b"If-None-Match: %b" % tags.get(path, STALE))
            for path, head in drawn(kind)
        ]
        for head in requests[:PROBED]:
            sock.sendall(head)
            response = read(sock)
            if response.status not in kind.statuses:
                raise BenchError(f"status {response.status} for {head!r}")
    return requests


def stored(requests: list[bytes], server: Server) -> str:
    """The script with which wrk sends them."""
    store = server.directory / f"heads-{server.port}"
    store.write_bytes(b"".join(b"%b\0%b\0" % tuple(head.split(heads.MARK)) for head in requests))
    return SCRIPT.replace("HEADS", str(store))


def measure(kind: Kind, tls: bool) -> Callable[[Server, Settings], dict[str, float]]:
    """A measurement of requests of that ``kind``."""

    def run(server: Server, settings: Settings) -> dict[str, float]:
        requests = probed(kind, server, tls)
        script = stored(requests, server)
        return measured(server, settings.seconds, "/", script=script, tls=tls, refused=kind is NOT_FOUND)

    return run


def open_loop(server: Server, settings: Settings) -> dict[str, float]:
    """Requests that come when they come, ``OPEN_RATE`` a second."""
    requests = cycle(probed(FOUND, server, tls=False))
    with connections(server.port, CLIENTS) as opened:
        offer(opened, lambda: Responses(*FOUND.statuses), requests, arrivals(OPEN_RATE, 1))
        with measures.cpu(server) as spent:
            run = offer(opened, lambda: Responses(*FOUND.statuses), requests, arrivals(OPEN_RATE, OPEN_SECONDS))
    return figures(run, spent.seconds, 1)


def million(server: Server, _: Settings) -> dict[str, float]:
    """Memory once a tenth of ``MANY_HEADS`` heads were answered, and once all were."""
    script = stored(probed(FOUND, server, tls=False), server)
    resident, sent = [], 0
    for part in (MANY_HEADS // 10, MANY_HEADS):
        while sent < part:
            sent += wrk(server, 2, "/", clients=CLIENTS, script=script).requests
        resident.append(procfs.memory_bytes(server.pid) / (1 << 20))
    return {"resident": resident[1], "growth": resident[1] - resident[0]}


@cache
def cold_requests() -> list[bytes]:
    """One for each file that is cold."""
    random = Random(2)
    return [heads.draw(random, path, files.PATHS) for path in files.COLD_PATHS]


def cold(server: Server, _: Settings) -> dict[str, float]:
    """Each file asked for once, by 50 connections."""
    batches = iter(cold_requests())
    return driven(
        server, lambda: Responses(200), batches, requests=1, clients=CLIENTS, warm_up=COLD_WARM_UP, seconds=60
    )


def workload(
    key: str,
    title: str,
    measure: Callable[[Server, Settings], dict[str, float]],
    *,
    peers: tuple[Peer, ...] = PLAIN,
    prepare: Callable[[Path], None] = files.prepare_site,
) -> Workload:
    return Workload(
        key=f"real:{key}",
        title=f"{title}, {CLIENTS} connections",
        metrics=REQUEST_METRICS,
        peers=peers,
        measure=measure,
        prepare=prepare,
        requires=(WRK,),
        label=f"real heads: {title}",
        group=GROUP,
    )


WORKLOADS = (
    workload("plain", "a third conditional", measure(FOUND, tls=False), peers=PLAIN_AND_FLOOR),
    workload("tls", "over TLS", measure(FOUND, tls=True), peers=TLS_AND_FLOOR, prepare=files.prepare_site_tls),
    workload("304", "304", measure(NOT_MODIFIED, tls=False), peers=PLAIN_AND_FLOOR),
    workload("404", "404", measure(NOT_FOUND, tls=False)),
    workload("cold", "cold files", cold, prepare=files.prepare_cold),
    workload("open", "1,000 a second, open loop", open_loop),
    Workload(
        key="heads",
        title="A million different heads: memory",
        metrics=(Metric("resident", "MiB", 1), Metric("growth", "MiB since 100,000 heads", 2)),
        peers=PLAIN,
        measure=million,
        prepare=files.prepare_site,
        requires=(WRK,),
        repeat=False,
    ),
)

TARGETS = (
    Target("real:plain", "cpu", "<=", PLAIN_AT_MOST, against="nginx"),
    Target("real:plain", "p99", "<=", P99_AT_MOST, against="nginx"),
    Target("real:tls", "cpu", "<=", TLS_AT_MOST, against="nginx"),
    Target("real:tls", "p99", "<=", P99_AT_MOST, against="nginx"),
    Target("real:304", "cpu", "<=", NOT_MODIFIED_AT_MOST, against="nginx"),
    Target("real:404", "cpu", "<=", NOT_FOUND_AT_MOST, against="nginx"),
    Target("real:cold", "cpu", "<=", COLD_AT_MOST, against="nginx"),
    Target("real:open", "p99", "<=", OPEN_P99_AT_MOST, against="nginx"),
    Target("heads", "resident", "<=", RESIDENT_AT_MOST),
    Target("heads", "growth", "<=", GROWTH_AT_MOST),
)
