"""The load on the servers: redis-benchmark for small requests, blocking sockets for the rest.

A load generator in C costs little beside the server, so requests per second and latencies mean something,
and it can be trusted to be the same for all. Where only the server's CPU time is looked at, plain blocking
sockets do.
"""

from __future__ import annotations

import re
import resource
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .server import BenchError, Requirement

__all__ = [
    "REDIS_BENCHMARK",
    "TIMEOUT",
    "RedisBenchmark",
    "allow_files",
    "connected",
    "connections",
    "echo_once",
    "printed_by",
    "retransmissions",
]

REDIS_BENCHMARK = Requirement("redis-benchmark", "apt install redis-tools", program=True)

TIMEOUT = 60.0
"""Seconds after which a load generator gives up waiting for the server."""

SPARE_FILES = 100
"""Descriptors that a server or this process needs besides its connections."""


@dataclass(frozen=True, slots=True)
class RedisBenchmark:
    """One run of redis-benchmark: its figures."""

    rate: float
    """Requests per second."""
    p50: float
    p99: float
    p999: float
    """Latency in milliseconds. The last is the first that redis-benchmark prints from 99.9 % on: 99.902 %."""

    @classmethod
    def run(
        cls,
        port: int,
        requests: int,
        *,
        clients: int,
        timeout: float = TIMEOUT,
    ) -> RedisBenchmark:
        """Send ``requests`` in all over ``clients`` connections, each of which waits for its reply before it goes on.
        They are the command ``*1 $4 PING``, whose echo is a valid reply.

        Raises :class:`BenchError` when it fails, takes longer than ``timeout`` seconds or is too old
        (before 6.2) to report percentiles.
        """
        command = ["redis-benchmark", "-p", str(port), "-n", str(requests), "-c", str(clients)]
        command += ["-t", "ping_mbulk"]
        # A time limit, because it tries for ever to reach a server that is gone.
        return cls.parse(printed_by(command, timeout))

    @classmethod
    def parse(cls, text: str) -> RedisBenchmark:
        """From what it prints for one test."""
        rate = re.search(r"throughput summary: ([0-9.]+) requests per second", text)
        summary = re.search(r"p99 +max\s+([0-9. ]+)", text)
        reached = re.findall(r"([0-9.]+)% <= ([0-9.]+) milliseconds", text.partition("Cumulative")[0])
        slowest = [float(latency) for percent, latency in reached if float(percent) >= 99.9]
        if not rate or not summary or not slowest:
            raise BenchError(f"not what redis-benchmark 6.2 or newer prints: {text!r}")
        _, _, p50, _, p99, _ = summary[1].split()
        return cls(float(rate[1]), float(p50), float(p99), slowest[0])


def printed_by(command: list[str], timeout: float = TIMEOUT) -> str:
    """Run a load generator and return what it prints. Raises :class:`BenchError` when it fails or takes longer than
    ``timeout`` seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"no end after {timeout:g} s: {' '.join(command)}") from None
    if done.returncode:
        raise BenchError(f"exit status {done.returncode}: {' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout


def allow_files(count: int) -> None:
    """Let this process, and the servers that it starts from now on, have ``count`` connections open.

    Raises :class:`BenchError` when the hard limit forbids it.
    """
    needed = count + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != hard < needed:
        raise BenchError(f"{count} connections need {needed} open files; the hard limit is {hard} (ulimit -Hn)")
    if resource.RLIM_INFINITY != soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def connected(port: int) -> socket.socket:
    """A connection to the server, without Nagle's delay."""
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The kernel's time-outs, not Python's: those make the descriptor non-blocking, and then MSG_WAITALL
    # does not wait.
    client.settimeout(None)
    for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        client.setsockopt(socket.SOL_SOCKET, direction, struct.pack("@ll", int(TIMEOUT), 0))
    return client


@contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """``count`` connections, opened back to back, closed at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(connected(port)) for _ in range(count)]


def echo_once(clients: list[socket.socket], message: bytes, into: bytearray) -> None:
    """Send ``message`` on every connection, then read it back, into a buffer of its length, from every one.

    Raises :class:`BenchError` when something else comes back.
    """
    for client in clients:
        client.sendall(message)
    for client in clients:
        # One call for a long message, however many pieces it arrives in.
        received = client.recv_into(into, len(message), socket.MSG_WAITALL)
        if received != len(message) or into != message:
            raise BenchError(f"the server did not echo: {len(message)} bytes sent, {received} or others came back")


def retransmissions(client: socket.socket) -> int:
    """Segments that this end sent again, SYNs among them: ``tcpi_total_retrans`` of ``TCP_INFO``, behind 8
    single bytes and 23 32-bit fields (``struct tcp_info`` in linux/tcp.h). Exact for this socket, where the
    counters of ``/proc/net/netstat`` are the whole machine's."""
    count: int = struct.unpack_from("=I", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]
    return count
