"""Requests of browsers: 1,000 files, no two heads alike, a third of them conditional."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from random import Random

from .. import measures, procfs
from ..load import connected, connections
from ..server import BenchError, Peer, Server
from ..suite import REQUEST_METRICS, Group, Metric, Settings, Target, Workload
from ..tls import secured
from ..traffic import CLIENTS, Load, drive, figures, in_turns
from . import files, heads
from .open_loop import arrivals, offer
from .peers import PLAIN, PLAIN_AND_MORE, TLS_AND_MORE
from .responses import Responses, read

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

WARM_UP = 4_000
COLD_WARM_UP = 2_000
"""Requests."""

OPEN_RATE = 1_000
"""Requests a second."""
OPEN_SECONDS = 10.0

MANY_HEADS = 1_000_000

GROUP = Group("real", "real heads: 200 user agents, cookies, referers, 1,000 files of 0.3 to 10 KB")


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


def answers(kind: Kind) -> Callable[[], Responses]:
    """A counter of the responses on one connection."""
    return lambda: Responses(*kind.statuses)


def endless(requests: list[bytes]) -> Iterator[bytes]:
    """The heads again and again, each with another number in its cookies."""
    return (head.replace(heads.MARK, b"%d" % number) for number, head in enumerate(cycle(requests)))


def load(kind: Kind, tls: bool = False) -> Callable[[Server, Settings], AbstractContextManager[Load]]:
    """Requests of that ``kind``."""

    def open_load(server: Server, _: Settings) -> AbstractContextManager[Load]:
        return in_turns(
            server,
            answers(kind),
            endless(probed(kind, server, tls)),
            requests=1,
            warm_up=WARM_UP,
            connect=secured if tls else None,
        )

    return open_load


def cold(server: Server, _: Settings) -> AbstractContextManager[Load]:
    """Each file asked for once."""
    return in_turns(
        server,
        lambda: Responses(200),
        iter(cold_requests()),
        requests=1,
        warm_up=COLD_WARM_UP,
        turn=CLIENTS,
    )


def open_loop(server: Server, settings: Settings) -> dict[str, float]:
    """Requests that come when they come, ``OPEN_RATE`` a second."""
    requests = endless(probed(FOUND, server, tls=False))
    with connections(server.port, CLIENTS) as opened:
        offer(opened, answers(FOUND), requests, arrivals(OPEN_RATE, 1))
        with measures.cpu(server) as spent:
            run = offer(opened, answers(FOUND), requests, arrivals(OPEN_RATE, OPEN_SECONDS))
    return figures(run, spent.seconds, 1)


def million(server: Server, _: Settings) -> dict[str, float]:
    """Memory once a tenth of ``MANY_HEADS`` heads were answered, and once all were."""
    requests, resident = endless(probed(FOUND, server, tls=False)), []
    with connections(server.port, CLIENTS) as opened:
        for tenths in (1, 9):
            drive(opened, answers(FOUND), islice(requests, MANY_HEADS // 10 * tenths), float("inf"))
            resident.append(procfs.memory_bytes(server.pid) / (1 << 20))
    return {"resident": resident[1], "growth": resident[1] - resident[0]}


@cache
def cold_requests() -> list[bytes]:
    """One for each file that is cold."""
    random = Random(2)
    return [heads.draw(random, path, files.PATHS) for path in files.COLD_PATHS]


def workload(
    key: str,
    title: str,
    *,
    load: Callable[[Server, Settings], AbstractContextManager[Load]] | None = None,
    measure: Callable[[Server, Settings], dict[str, float]] | None = None,
    peers: tuple[Peer, ...] = PLAIN,
    prepare: Callable[[Path], None] = files.prepare_site,
) -> Workload:
    return Workload(
        key=f"real:{key}",
        title=f"{title}, {CLIENTS} connections",
        metrics=REQUEST_METRICS,
        peers=peers,
        measure=measure,
        load=load,
        prepare=prepare,
        label=f"real heads: {title}",
        group=GROUP,
    )


WORKLOADS = (
    workload("plain", "a third conditional", load=load(FOUND), peers=PLAIN_AND_MORE),
    workload("tls", "over TLS", load=load(FOUND, tls=True), peers=TLS_AND_MORE, prepare=files.prepare_site_tls),
    workload("304", "304", load=load(NOT_MODIFIED), peers=PLAIN_AND_MORE),
    workload("404", "404", load=load(NOT_FOUND)),
    workload("cold", "cold files", load=cold, prepare=files.prepare_cold),
    workload("open", "1,000 a second, open loop", measure=open_loop),
    Workload(
        key="heads",
        title="A million different heads: memory",
        metrics=(Metric("resident", "MiB", 1), Metric("growth", "MiB since 100,000 heads", 2)),
        peers=PLAIN,
        measure=million,
        prepare=files.prepare_site,
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
