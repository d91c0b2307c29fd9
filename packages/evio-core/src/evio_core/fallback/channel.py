"""A channel over a transport of asyncio, and the protocol that brings the transport's events to a connection."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from time import monotonic
from typing import cast, final

from ..addresses.proxy_header import ProxyParser
from ..buffers.output import TURN_SIZE, Output
from ..errors import ProxyProtocolError
from ..events import Buffer
from ..loop.poller import WRITE
from ..stream.connection import Connection
from ..stream.linger import Linger
from .loop import NetLoop

__all__ = ["NetChannel", "StreamProtocol"]

PIECE_SIZE = 64 * 1024
"""Bytes that a transport is given at a time: what it has, it keeps in a buffer of its own."""


@final
class NetChannel:
    """Implements :class:`evio_core.loop.channel.Channel` and ``Wire``. Output goes to the transport a piece at a time,
    as long as it hands everything to the kernel at once."""

    __slots__ = ("_loop", "due", "full", "transport")

    native = False
    reads = False
    ended = False
    tls = None
    server_name = None

    def __init__(self, loop: NetLoop) -> None:
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self.full: bool = False
        self.due: bool = False

    @property
    def pending(self) -> int:
        while self.transport is not None:
            # Another thread may ask while the loop sends: from Python 3.12 on what waits is a deque, which cannot be
            # summed while it changes.
            with suppress(RuntimeError):
                return self.transport.get_write_buffer_size()
        return 0

    def open(self, data: Buffer) -> bool:
        return True

    def decode(self, data: Buffer) -> Buffer:
        self.due = False
        return data

    def end_of_input(self) -> BaseException | None:
        return None

    def write(self, fd: int, data: Buffer, /) -> int:
        if self.full or self.transport is None:
            raise BlockingIOError
        self.transport.write(data)
        return len(data)

    def send_now(self, fd: int, data: bytes) -> int:
        sent = 0
        while not self.full and sent < len(data):
            sent += self.write(fd, data if len(data) <= PIECE_SIZE else data[sent : sent + PIECE_SIZE])
        self.due = self.full
        return sent

    def send(self, fd: int, out: Output, last: bool) -> int:
        sent = 0
        while not self.full and sent < TURN_SIZE:
            piece = out.take(PIECE_SIZE)
            if not piece:
                break
            sent += self.write(fd, piece)
        return sent

    def flush(self, fd: int) -> None:
        """The transport sends what it has by itself."""

    def finish(self) -> bool:
        return False

    def wait_for_room(self, fd: int) -> None:
        if not self.full:  # a turn's share is sent; no transport will say that there is room
            self._loop.aio.call_soon(self._loop.deliver, fd, WRITE)

    def discard(self) -> None:
        """Do nothing: the transport sends or drops its output by how it is closed."""

    def hand_over(self, fd: int) -> int:
        copy = os.dup(fd)
        self._loop.close_later(fd)
        return copy

    def detach(self, fd: int) -> socket.socket:
        sock = socket.socket(fileno=self.hand_over(fd))
        sock.setblocking(True)
        return sock


class StreamProtocol(asyncio.Protocol):
    """Brings a transport's events to its connection, or once that has ended to the lingering descriptor."""

    def __init__(self, loop: NetLoop, conn: Connection, channel: NetChannel, parser: ProxyParser | None) -> None:
        """``parser``: of the PROXY header that comes first."""
        self._conn = conn
        self._loop = loop
        self._channel = channel
        self._parser = parser

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's has its methods and is no subclass
        conn = self._conn
        if conn.gone:
            transport.abort()
            return
        transport.set_write_buffer_limits(0)  # the queue is ours; told when the kernel has taken everything
        self._channel.transport = transport
        self._loop.transports[conn.fd] = transport
        if self._parser is None:
            conn.begin()
        self._loop.turn_soon()

    def data_received(self, data: bytes) -> None:
        self._loop.now = monotonic()
        self._loop.stats.turns += 1  # a reply may leave at once, with nothing for the end of a turn
        if not self._conn.gone:
            if self._parser is not None:
                self._read_proxy_header(self._parser, data)
            else:
                self._conn.feed(data)
                self._conn.pause_if_blocked()
        else:
            self._discard(len(data))
        self._loop.turn_soon()

    def _read_proxy_header(self, parser: ProxyParser, data: bytes) -> None:
        try:
            parsed = parser.feed(data)
        except ProxyProtocolError as error:
            self._conn.drop(error)
            return
        if parsed is not None:
            self._parser = None
            self._conn.set_addresses(parsed[0].remote, parsed[0].local)
            self._conn.begin()
            if parsed[1]:
                self._conn.feed(parsed[1])

    def eof_received(self) -> bool:
        if self._parser is not None:
            self._conn.drop(ProxyProtocolError("connection ended before the PROXY header did"))
        elif not self._conn.gone:
            self._conn.feed_end()
        else:
            self._discard(0)
        self._loop.turn_soon()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._conn.gone:
            self._conn.drop(exc or ConnectionResetError("connection lost"))
        else:
            self._discard(0)
        self._loop.turn_soon()

    def _discard(self, size: int) -> None:
        """Input has come, or with 0 its end, after the connection's."""
        fd = self._conn.fd
        transport = self._channel.transport
        # The number may be another connection's by now: only while the transport is still ours is it meant.
        if transport is not None and self._loop.transports.get(fd) is transport:
            handler = self._loop.handlers.get(fd)
            if isinstance(handler, Linger):
                handler.discard(size)

    def pause_writing(self) -> None:
        self._channel.full = True

    def resume_writing(self) -> None:
        self._channel.full = False
        if not self._conn.gone:
            self._conn.on_event(WRITE)
            self._loop.turn_soon()
