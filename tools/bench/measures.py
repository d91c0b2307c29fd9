"""The measurements, for workloads of any suite to use: requests, bulk, open connections, idleness.

CPU time is always the server's, read before and after with the server asleep both times. It includes what
the kernel does for the server's system calls and for the packets that they send.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import procfs
from .load import TIMEOUT, RedisBenchmark, connections, echo_once, retransmissions
from .server import Server

__all__ = ["bulk", "cpu", "idle", "idle_memory", "requests"]

WARM_UP_REQUESTS = 5_000
"""Enough for CPython to have specialised the byte code it runs."""

MESSAGE = b"hello, world\n"
"""The bytes that are echoed where the content does not matter."""


@dataclass(slots=True)
class Spent:
    """CPU time, in seconds, that a server spent in a block of code: filled in at the block's end."""

    seconds: float = 0.0


@contextmanager
def cpu(server: Server) -> Iterator[Spent]:
    spent = Spent()
    before = procfs.settled(procfs.cpu_seconds, server.pid)
    yield spent
    spent.seconds = procfs.settled(procfs.cpu_seconds, server.pid) - before


def requests(server: Server, seconds: float, *, clients: int) -> dict[str, float]:
    """Small requests for about ``seconds``, by redis-benchmark: ``cpu`` in µs per request, ``rate`` per second,
    ``p50``, ``p99`` and ``p999`` in ms.

    Connecting is not part of a request: what a run of one request a connection costs is taken off.
    """

    def send(count: int) -> RedisBenchmark:
        return RedisBenchmark.run(server.port, count, clients=clients, timeout=TIMEOUT + 2 * seconds)

    rate = send(WARM_UP_REQUESTS).rate
    many = max(WARM_UP_REQUESTS, int(rate * seconds))
    with cpu(server) as connecting:
        send(clients)
    with cpu(server) as all_of_it:
        load = send(many)
    each = (all_of_it.seconds - connecting.seconds) / (many - clients)
    return {"cpu": each * 1e6, "rate": load.rate, "p50": load.p50, "p99": load.p99, "p999": load.p999}


def bulk(server: Server, seconds: float, *, size: int, clients: int) -> dict[str, float]:
    """Messages of ``size`` bytes echoed for ``seconds``: ``per_cpu``, MB echoed per second of the server's CPU time,
    and ``rate``, MB per second."""
    message, received = b"evio" * (size // 4), bytearray(size)
    with connections(server.port, clients) as opened:
        echo_once(opened, message, received)
        count = 0
        with cpu(server) as spent:
            start = time.perf_counter()
            while time.perf_counter() < start + seconds:
                echo_once(opened, message, received)
                count += clients
            elapsed = time.perf_counter() - start
    megabytes = count * size / 1e6
    return {"per_cpu": megabytes / spent.seconds, "rate": megabytes / elapsed}


def idle_memory(server: Server, *, count: int) -> dict[str, float]:
    """``count`` connections opened back to back, each used once, then idle: ``memory``, bytes of the server's
    per connection; ``retries``, segments (a SYN or what follows it) that a client had to send again because
    the server did not take the connection; ``connecting``, seconds until all were open; ``cpu``, µs a
    connection for accepting it and for the one echo."""
    memory = procfs.settled(procfs.memory_bytes, server.pid)
    spent, start = procfs.cpu_seconds(server.pid), time.perf_counter()
    with connections(server.port, count) as opened:
        connecting = time.perf_counter() - start
        echo_once(opened, MESSAGE, bytearray(len(MESSAGE)))
        spent = procfs.settled(procfs.cpu_seconds, server.pid) - spent
        return {
            "memory": (procfs.memory_bytes(server.pid) - memory) / count,
            "retries": sum(retransmissions(client) for client in opened),
            "connecting": connecting,
            "cpu": spent / count * 1e6,
        }


def idle(server: Server, seconds: float, *, count: int) -> dict[str, float]:
    """``count`` open connections that were used once, left alone for ``seconds``: ``wakeups``, how often a thread of
    the server left the CPU, which it can only do after it was woken."""
    with connections(server.port, count) as opened:
        echo_once(opened, MESSAGE, bytearray(len(MESSAGE)))
        before = procfs.settled(procfs.context_switches, server.pid)
        time.sleep(seconds)
        return {"wakeups": procfs.context_switches(server.pid) - before}
