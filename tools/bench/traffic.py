"""A load of requests that were made beforehand, so that sending them costs next to nothing.

One thread, one ``epoll``, blocking sockets: a connection sends its next batch as soon as the last one is answered, as
redis-benchmark's and wrk's do, which can send neither mixed commands nor messages of random sizes.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from .load import TIMEOUT, connected
from .server import BenchError, Server

__all__ = ["CLIENTS", "Answers", "Load", "Run", "drive", "figures", "in_turns", "uncollected"]

CLIENTS = 50
"""Connections of most loads."""

REQUESTS_EACH = 4
"""Those that a turn has at least on each connection. At its start the scheduler may let the server go first for each
request that is sent; only later several of them wait for it, as they do under lasting load."""

READ_SIZE = 1 << 18


class Answers(Protocol):
    """A counter of the answers on one connection."""

    def sent(self, batch: bytes) -> None:
        """Take note of a batch that is sent."""

    def received(self, chunk: bytes) -> int:
        """Take what has arrived, at least one byte. Returns how many batches are answered with it. Raises
        :class:`BenchError` for an answer that is wrong."""


@dataclass(slots=True)
class Run:
    """A load that was sent and answered."""

    batches: int = 0
    elapsed: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending to the last byte of the answer, one of each batch."""

    def add(self, other: Run) -> None:
        """Take in what was sent afterwards."""
        self.batches += other.batches
        self.elapsed += other.elapsed
        self.latencies += other.latencies

    def percentile(self, part: float) -> float:
        """The latency in ms that ``part`` (0 to 1) of the batches did not exceed."""
        ranked = sorted(self.latencies)
        return ranked[min(len(ranked) - 1, int(len(ranked) * part))] * 1e3


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one of several servers that take turns."""

    send: Callable[[], Run]
    """Make a turn: send some batches, of which every one is answered when this returns; none once there are no more."""
    requests: int = 1
    """Those of a batch."""


def drive(
    clients: Iterable[socket.socket],
    answers: Callable[[], Answers],
    batches: Iterator[bytes],
    seconds: float,
    *,
    in_flight: int = 1,
) -> Run:
    """Send ``batches`` over the connections, so many of them ``in_flight`` on each, for ``seconds`` or until there are
    no more; every one that was sent is answered when this returns.

    Raises :class:`BenchError` when the server closes a connection, gives a wrong answer or none within TIMEOUT.
    """
    with select.epoll() as epoll, uncollected():
        try:
            return driven(epoll, clients, answers, batches, seconds, in_flight)
        except ConnectionError as error:
            raise BenchError(f"the server closed a connection: {error.strerror}") from error


def driven(
    epoll: select.epoll,
    clients: Iterable[socket.socket],
    answers: Callable[[], Answers],
    batches: Iterator[bytes],
    seconds: float,
    in_flight: int,
) -> Run:
    run = Run()
    clock, latencies = time.perf_counter, run.latencies
    busy: dict[int, tuple[socket.socket, Answers, deque[float]]] = {}
    started = now = clock()
    deadline = started + seconds
    for client in clients:
        counting, times = answers(), deque[float]()
        for batch in islice(batches, in_flight):
            times.append(clock())
            counting.sent(batch)
            client.sendall(batch)
        if times:
            busy[client.fileno()] = client, counting, times
            epoll.register(client, select.EPOLLIN)
    while busy:
        ready = epoll.poll(TIMEOUT)
        if not ready:
            raise BenchError(f"no answer within {TIMEOUT:g} s")
        for fd, _ in ready:
            client, counting, times = busy[fd]
            chunk = client.recv(READ_SIZE)
            if not chunk:
                raise BenchError("the server closed a connection")
            for _answered in range(counting.received(chunk)):
                now = clock()
                latencies.append(now - times.popleft())
                batch = next(batches, b"") if now < deadline else b""
                if batch:
                    times.append(now)
                    counting.sent(batch)
                    client.sendall(batch)
            if not times:
                del busy[fd]
                epoll.unregister(fd)
    run.elapsed = clock() - started
    run.batches = len(latencies)
    return run


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, whose pauses would be in the latencies."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def in_turns(
    server: Server,
    answers: Callable[[], Answers],
    batches: Iterator[bytes],
    *,
    requests: int,
    warm_up: int,
    turn: int = 0,
    in_flight: int = 1,
    connect: Callable[[Server], socket.socket] | None = None,
) -> Iterator[Load]:
    """The load in turns of ``batches`` of so many ``requests`` each, over connections that stay open, so many of them
    ``in_flight`` on each. Before, the first ``warm_up`` of them are sent, so that CPython has specialised the byte code
    that it runs. A ``turn`` is so many of them, or what :data:`REQUESTS_EACH` says."""
    turn = turn or CLIENTS * max(1, REQUESTS_EACH // requests)
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(server) if connect else connected(server.port)) for _ in range(CLIENTS)]
        drive(opened, answers, islice(batches, warm_up), TIMEOUT, in_flight=in_flight)
        yield Load(lambda: drive(opened, answers, islice(batches, turn), TIMEOUT, in_flight=in_flight), requests)


def figures(run: Run, cpu_seconds: float, requests: int) -> dict[str, float]:
    """Those of :data:`~tools.bench.suite.REQUEST_METRICS`, for ``requests`` a batch; latencies are of whole batches."""
    count = run.batches * requests
    return {
        "cpu": cpu_seconds / count * 1e6,
        "p50": run.percentile(0.5),
        "p99": run.percentile(0.99),
        "p999": run.percentile(0.999),
        "rate": count / run.elapsed,
    }
