"""Requests of browsers: 1,000 files, no two heads alike, a third of them conditional."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from ..load import connected
from ..server import BenchError, Peer, Server
from ..suite import REQUEST_METRICS, Group, Settings, Target, Workload
from ..traffic import measured as driven
from . import files, heads
from .peers import PLAIN, TLS
from .responses import Responses, read
from .tls import secured
from .wrk import CLIENTS, WRK, measured

__all__ = ["TARGETS", "WORKLOADS", "entity_tags"]

PLAIN_AT_MOST = 1.40
TLS_AT_MOST = 1.30
P99_AT_MOST = 1.50
NOT_MODIFIED_AT_MOST = 1.60
NOT_FOUND_AT_MOST = 1.60
COLD_AT_MOST = 4.00
"""CPU time per request, or its 99th percentile, as a part of nginx's."""

HEADS = 20_000
"""Different heads of a load, which sends them again with other numbers in their cookies."""
PROBED = 20
"""Requests that are sent first to see that they are answered as they should be."""

CONDITIONAL = 1 / 3
CURRENT = 0.75
"""The share of heads with If-None-Match, and the share of those with the entity tag of the file as it is."""
STALE = b'"0-0"'

COLD_WARM_UP = 2_000

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


def measure(kind: Kind, tls: bool) -> Callable[[Server, Settings], dict[str, float]]:
    """A measurement of requests of that ``kind``."""

    def run(server: Server, settings: Settings) -> dict[str, float]:
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
        store = server.directory / f"heads-{server.port}"
        store.write_bytes(b"".join(b"%b\0%b\0" % tuple(head.split(heads.MARK)) for head in requests))
        script = SCRIPT.replace("HEADS", str(store))
        return measured(server, settings.seconds, "/", script=script, tls=tls, refused=kind is NOT_FOUND)

    return run


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
    workload("plain", "a third conditional", measure(FOUND, tls=False)),
    workload("tls", "over TLS", measure(FOUND, tls=True), peers=TLS, prepare=files.prepare_site_tls),
    workload("304", "304", measure(NOT_MODIFIED, tls=False)),
    workload("404", "404", measure(NOT_FOUND, tls=False)),
    workload("cold", "cold files", cold, prepare=files.prepare_cold),
)

TARGETS = (
    Target("real:plain", "cpu", "<=", PLAIN_AT_MOST, against="nginx"),
    Target("real:plain", "p99", "<=", P99_AT_MOST, against="nginx"),
    Target("real:tls", "cpu", "<=", TLS_AT_MOST, against="nginx"),
    Target("real:tls", "p99", "<=", P99_AT_MOST, against="nginx"),
    Target("real:304", "cpu", "<=", NOT_MODIFIED_AT_MOST, against="nginx"),
    Target("real:404", "cpu", "<=", NOT_FOUND_AT_MOST, against="nginx"),
    Target("real:cold", "cpu", "<=", COLD_AT_MOST, against="nginx"),
)
