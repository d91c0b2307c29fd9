"""Messages of one small size and of random ones, several in flight on a connection, few active connections of many."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from itertools import cycle, islice
from random import Random

from .. import measures
from ..load import TIMEOUT, connections
from ..server import BenchError, Server
from ..suite import Settings
from ..tls import secured
from ..traffic import Load, drive, figures, in_turns

__all__ = ["ACTIVE", "CROWD", "CURVE", "LARGEST", "SMALL", "SMALLEST", "Echoes", "crowd", "messages", "sizes", "turns"]

SMALL = b"*1\r\n$4\r\nPING\r\n"
"""The command that redis-benchmark sends as ``ping_mbulk``; an echo of it is a valid reply."""

SMALLEST, LARGEST = 16, 4096
"""Bytes of a message, each size as likely as any other."""

MESSAGES = 20_000
"""Different ones, which are sent again and again."""
WARM_UP = 10_000

CROWD, ACTIVE = 10_000, 500
"""Open connections, and how many of them send anything."""

CURVE = (1, 10, 100, 1_000, 10_000)
"""Open connections, all of which send."""


@cache
def messages() -> list[bytes]:
    """Messages cut from random bytes, with a fixed seed."""
    random = Random(1)
    source = random.randbytes(1 << 20)
    cut = []
    for _ in range(MESSAGES):
        start = random.randrange(len(source) - LARGEST)
        cut.append(source[start : start + random.randint(SMALLEST, LARGEST)])
    return cut


class Echoes:
    """Checks a connection's echoes, byte by byte, and counts the messages that are back whole."""

    def __init__(self) -> None:
        self._expected = b""
        self._lengths: deque[int] = deque()
        self._whole = 0

    def sent(self, batch: bytes) -> None:
        """Expect ``batch``."""
        self._expected += batch
        self._lengths.append(len(batch))

    def received(self, chunk: bytes) -> int:
        """Take what has arrived. Returns how many messages are back with it. Raises :class:`BenchError` for anything
        that was not sent."""
        if not self._expected.startswith(chunk):
            raise BenchError(f"the server did not echo: {len(chunk)} bytes are not those that were sent")
        self._expected = self._expected[len(chunk) :]
        self._whole += len(chunk)
        count, lengths = 0, self._lengths
        while lengths and self._whole >= lengths[0]:
            self._whole -= lengths.popleft()
            count += 1
        return count


def turns(
    in_flight: int = 1, message: bytes | None = None, tls: bool = False
) -> Callable[[Server, Settings], AbstractContextManager[Load]]:
    """The load in turns of one ``message``, or of those of random sizes, so many ``in_flight`` on each connection."""

    def open_load(server: Server, _: Settings) -> AbstractContextManager[Load]:
        return in_turns(
            server,
            Echoes,
            cycle([message] if message else messages()),
            requests=1,
            warm_up=WARM_UP,
            in_flight=in_flight,
            connect=secured if tls else None,
        )

    return open_load


def sizes(clients: int, in_flight: int) -> Callable[[Server, Settings], dict[str, float]]:
    """A measurement of messages of random sizes, so many ``in_flight`` on each of the connections."""

    def run(server: Server, settings: Settings) -> dict[str, float]:
        with connections(server.port, clients) as opened:
            return loaded(server, settings, opened, in_flight)

    return run


def crowd(server: Server, settings: Settings) -> dict[str, float]:
    """The same, one in flight, on 500 connections of 10,000."""
    with connections(server.port, CROWD) as opened:
        return loaded(server, settings, opened[:: CROWD // ACTIVE], 1)


def loaded(server: Server, settings: Settings, clients: Sequence[socket.socket], in_flight: int) -> dict[str, float]:
    load = cycle(messages())
    drive(clients, Echoes, islice(load, WARM_UP), TIMEOUT, in_flight=in_flight)
    with measures.cpu(server) as spent:
        run = drive(clients, Echoes, load, settings.seconds, in_flight=in_flight)
    return figures(run, spent.seconds, 1)
