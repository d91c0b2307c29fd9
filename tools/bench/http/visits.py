"""New connections: one request each, and pages of 20 files as a browser loads them."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cache
from itertools import count, islice
from pathlib import Path
from random import Random

from .. import certificate
from ..load import connected
from ..server import BenchError, Peer, Server
from ..suite import Group, Metric, Settings, Target, Workload
from ..tls import secured
from ..traffic import Load, Run, uncollected
from . import files, heads
from .peers import PLAIN, TLS
from .responses import read

__all__ = ["TARGETS", "WORKLOADS"]

CONNECTION_TLS_AT_MOST = 1.25
"""CPU time per new TLS connection, as a part of nginx's: 0.8 of its connections per CPU second."""

PAGE_FILES = 20
PAGE_CONNECTIONS = 6
"""As many as browsers open to one host."""
PAGES = 200
"""Different pages of a load."""

WARM_UP = 100
"""Visits."""

GROUP = Group("visits", "new connections, one after the other: one request each; a page of 20 files over six")

METRICS = (
    Metric("cpu", "CPU µs", 1),
    Metric("p50", "p50 ms", 2),
    Metric("p99", "p99 ms", 2),
    Metric("p999", "p99.9 ms", 2),
    Metric("rate", "a second", higher_is_better=True),
)

Visit = Callable[[Server, int], None]
"""Called with the server and the number of the visit; returns when all is answered."""


def fetch(sock: socket.socket, head: bytes) -> None:
    """One request and its response. Raises :class:`BenchError` for another status than 200."""
    sock.sendall(head)
    expect(sock)


def expect(sock: socket.socket) -> None:
    response = read(sock)
    if response.status != 200:
        raise BenchError(f"not found, or worse: {response.head!r}")


@cache
def pages() -> list[list[bytes]]:
    """For each page its requests, the HTML file's first, all of one visitor who has nothing yet."""
    random = Random(3)
    drawn = []
    html = [path for path in files.PATHS if path.endswith(".html")]
    others = [path for path in files.PATHS if not path.endswith(".html")]
    for _ in range(PAGES):
        visitor, page = heads.Visitor.drawn(random), random.choice(html)
        first = visitor.head(page, random.choice(heads.ELSEWHERE))
        referer = b"http://localhost%b" % page.encode()
        parts = random.sample(others, PAGE_FILES - 1)
        drawn.append([first, *(visitor.head(part, referer) for part in parts)])
    return drawn


def numbered(head: bytes, number: int) -> bytes:
    """The head as no other visit has it."""
    return head.replace(heads.MARK, b"%d" % number)


def connection(server: Server, number: int) -> None:
    """One request on a connection of its own."""
    with connected(server.port) as sock:
        fetch(sock, numbered(pages()[number % PAGES][0], number))


def connection_tls(server: Server, number: int) -> None:
    """The same over TLS, without resumption."""
    with secured(server) as sock:
        fetch(sock, numbered(pages()[number % PAGES][0], number))


def page(server: Server, number: int) -> None:
    """A page over six connections."""
    over_six(number, connected(server.port), lambda _: connected(server.port))


def page_tls(server: Server, number: int) -> None:
    """A page over six TLS connections, of which five resume the session of the first."""

    def another(first: socket.socket) -> socket.socket:
        return secured(server, first.session if isinstance(first, ssl.SSLSocket) else None)

    over_six(number, secured(server), another)


def over_six(number: int, first: socket.socket, another: Callable[[socket.socket], socket.socket]) -> None:
    """The HTML over the ``first`` connection; then five more are opened, and each has a request under way until there
    are no more."""
    html, *parts = [numbered(head, number) for head in pages()[number % PAGES]]
    with ExitStack() as stack:
        stack.enter_context(first)
        fetch(first, html)
        opened = [first, *(stack.enter_context(another(first)) for _ in range(PAGE_CONNECTIONS - 1))]
        for start in range(0, len(parts), PAGE_CONNECTIONS):
            under_way = list(zip(opened, parts[start : start + PAGE_CONNECTIONS], strict=False))
            for sock, head in under_way:
                sock.sendall(head)
            for sock, _ in under_way:
                expect(sock)


def visits(server: Server, visit: Visit, numbers: Iterable[int]) -> Run:
    """Visits with these ``numbers``, one after the other."""
    run = Run()
    clock = time.perf_counter
    started = now = clock()
    with uncollected():
        for number in numbers:
            visit(server, number)
            before, now = now, clock()
            run.latencies.append(now - before)
    run.elapsed = now - started
    run.batches = len(run.latencies)
    return run


def load(visit: Visit, turn: int) -> Callable[[Server, Settings], AbstractContextManager[Load]]:
    """Visits, so many a turn."""

    def open_load(server: Server, _: Settings) -> AbstractContextManager[Load]:
        numbers = count()
        visits(server, visit, islice(numbers, WARM_UP))
        return nullcontext(Load(lambda: visits(server, visit, islice(numbers, turn))))

    return open_load


def workload(key: str, title: str, visit: Visit, turn: int, *, tls: bool = False) -> Workload:
    prepare: Callable[[Path], None] = files.prepare_site_tls if tls else files.prepare_site
    peers: tuple[Peer, ...] = TLS if tls else PLAIN
    return Workload(
        key=key,
        title=title,
        metrics=METRICS,
        peers=peers,
        load=load(visit, turn),
        prepare=prepare,
        requires=(certificate.TRUSTME,) if tls else (),
        label=title,
        group=GROUP,
    )


WORKLOADS = (
    workload("connection:plain", "a new connection, one request", connection, 10),
    workload("connection:tls", "a new TLS connection, one request", connection_tls, 2, tls=True),
    workload("page:plain", "a page of 20 files", page, 2),
    workload("page:tls", "a page of 20 files over TLS", page_tls, 1, tls=True),
)

TARGETS = (Target("connection:tls", "cpu", "<=", CONNECTION_TLS_AT_MOST, against="nginx"),)
