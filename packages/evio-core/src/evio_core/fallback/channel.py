"""The fallback's connections, listeners and datagram sockets: the native ones over asyncio transports."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..addresses.address import Address
from ..addresses.proxy_header import ProxyParser, check_sender
from ..addresses.sockopt import apply_options
from ..buffers.output import TURN_SIZE, Output
from ..errors import ConnectTimeout, ProxyProtocolError
from ..events import Action, Buffer, SocketAddress
from ..loop.poller import READ, WRITE
from ..stream.connection import Connection
from ..stream.listener import SKIPPED, Accepted, Listener, Origin
from ..stream.stream import NOT_POLLED
from ..tls.channel import PIECE_SIZE, TLSConnection
from ..tls.credentials import client_session
from ..udp.datagram import DatagramPeer, DatagramSocket, own_turns

if TYPE_CHECKING:
    from .loop import NetLoop

__all__ = ["NetDatagramSocket", "NetListener", "adopt", "dial"]


class _Boundary(Connection):
    """Input comes from a protocol's callbacks; output goes to a transport, a piece at a time."""

    __slots__ = ()

    loop: NetLoop
    transport: asyncio.Transport | None
    full: bool

    @property
    def turn(self) -> int:
        return next(own_turns)  # asyncio does not say which events were found together: each is a turn of its own

    @property
    def pending(self) -> int:
        buffered = self.transport.get_write_buffer_size() if self.transport is not None else 0
        return super().pending + buffered

    def _write_some(self, data: Buffer) -> int:
        if self.full or self.transport is None:
            raise BlockingIOError
        self.transport.write(data)
        return len(data)

    def _blocked(self, pending: int) -> None:
        super()._blocked(pending)
        if not self.full and not self.gone:  # a turn's share is sent; no transport will say that there is room
            self.loop.aio.call_soon(self.loop.deliver, self.fd, WRITE)

    def _serve_arrived(self) -> None:
        """asyncio has read it already, or will not say whether there is any."""

    def _is_plain(self) -> bool:
        return False

    def _act(self, action: Action) -> None:
        super()._act(action)
        if action is Action.DETACH:
            self.loop.poller.modify(self.fd, 0)  # at once: what is read from now on would be lost

    def _hand_over(self) -> int:
        fd = os.dup(self.fd)
        self.loop.bury(self.fd)
        return fd


class NetConnection(_Boundary):
    """A tcp or unix stream."""

    __slots__ = ("full", "transport")

    def __init__(self, loop: NetLoop, fd: int, origin: Origin, remote: SocketAddress, context: Any = None) -> None:
        super().__init__(loop, fd, origin, remote, context)
        self.transport = None
        self.full = False

    def _send(self, out: Output) -> int:
        sent = 0
        while not self.full and sent < TURN_SIZE:
            piece = out.take(PIECE_SIZE)
            if not piece:
                break
            sent += self._write_some(piece)
        return sent


class NetTLSConnection(_Boundary, TLSConnection):
    """A TLS stream."""

    __slots__ = ("full", "transport")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.transport = None
        self.full = False


class _StreamProtocol(asyncio.Protocol):
    """Brings a transport's events to its connection, or once that has ended to the lingering descriptor."""

    def __init__(self, conn: NetConnection | NetTLSConnection, parser: ProxyParser | None) -> None:
        self._conn = conn
        self._loop = conn.loop
        self._parser = parser
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        conn = self._conn
        if conn.gone:
            transport.abort()
            return
        transport.set_write_buffer_limits(0)  # the queue is ours; told when the kernel has taken everything
        self._transport = conn.transport = transport
        self._loop.transports[conn.fd] = transport
        if self._parser is None:
            conn.begin()
        self._loop.turn_soon()

    def data_received(self, data: bytes) -> None:
        self._loop.now = monotonic()
        if not self._conn.gone:
            if self._parser is not None:
                self._preface(self._parser, data)
            else:
                self._conn.feed(data)
        self._loop.turn_soon()

    def _preface(self, parser: ProxyParser, data: bytes) -> None:
        try:
            parsed = parser.feed(data)
        except ProxyProtocolError as error:
            self._conn.lost(error)
            return
        if parsed is not None:
            self._parser = None
            self._conn.set_proxied(parsed[0].remote, parsed[0].local)
            self._conn.begin()
            if parsed[1]:
                self._conn.feed(parsed[1])

    def eof_received(self) -> bool:
        if self._parser is not None:
            self._conn.lost(ProxyProtocolError("connection ended before the PROXY header did"))
        elif not self._conn.gone:
            self._conn.feed_end()
        else:
            self._end_lingering()
        self._loop.turn_soon()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._conn.gone:
            self._conn.lost(exc or ConnectionResetError("connection lost"))
        else:
            self._end_lingering()
        self._loop.turn_soon()

    def _end_lingering(self) -> None:
        fd = self._conn.fd
        # The number may be another connection's by now: only while the transport is still ours is it meant.
        if self._transport is not None and self._loop.transports.get(fd) is self._transport:
            handler = self._loop.handlers.get(fd)
            if handler is not None:
                handler.expire()

    def pause_writing(self) -> None:
        self._conn.full = True

    def resume_writing(self) -> None:
        self._conn.full = False
        if not self._conn.gone:
            self._conn.on_event(WRITE)
            self._loop.turn_soon()


def adopt(loop: NetLoop, accepted: Accepted) -> None:
    """Begin a connection on the loop chosen for it; runs in that loop's thread."""
    fd, remote, origin = accepted
    sock = socket.socket(fileno=fd)
    if loop.stopping:
        sock.close()
        loop.ended += 1
        return
    conn: NetConnection | NetTLSConnection
    if origin.credentials is None:
        conn = NetConnection(loop, fd, origin, remote)
    else:
        conn = NetTLSConnection(loop, fd, origin, remote, origin.credentials.session())
    apply_options(sock, origin.options)
    loop.handlers[fd] = conn
    conn.in_stage(fd, READ)
    parser = ProxyParser() if origin.proxy_protocol else None
    if parser is not None:
        conn.limit_opening(origin.options.handshake_timeout)
        try:
            check_sender(remote, origin.proxy_protocol)
        except ProxyProtocolError as error:
            conn.lost(error)
            sock.close()
            return
    loop.begin_task(_connect(loop, conn, parser, sock))


async def _connect(
    loop: NetLoop, conn: NetConnection | NetTLSConnection, parser: ProxyParser | None, sock: socket.socket
) -> None:
    try:
        await loop.aio.connect_accepted_socket(lambda: _StreamProtocol(conn, parser), sock)
    except OSError as error:
        conn.lost(error)
        sock.close()


def dial(loop: NetLoop, address: Address, origin: Origin, context: Any, timeout: float) -> Connection:
    """A connection in its opening state. From any thread. Raises :class:`TLSError` for a bad certificate."""
    conn: NetConnection | NetTLSConnection
    if address.base == "tls":
        conn = NetTLSConnection(loop, -1, origin, None, client_session(address), context)
    else:
        conn = NetConnection(loop, -1, origin, None, context)

    def start(_: object) -> None:
        loop.started += 1
        if conn.gone or loop.stopping:
            conn.lost(None)
            return
        conn.in_stage(-1 - loop.started, NOT_POLLED)
        loop.handlers[conn.fd] = conn
        conn.limit_opening(timeout)
        loop.begin_task(_dial(loop, conn, address, timeout))

    loop.submit(start)
    return conn


async def _dial(loop: NetLoop, conn: NetConnection | NetTLSConnection, address: Address, timeout: float) -> None:
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(address.family, socket.AF_UNSPEC)
    try:
        async with asyncio.timeout(timeout):
            sock = await _open_socket(loop, address, family)
        if conn.gone:
            sock.close()
            return
        apply_options(sock, conn.options)
        loop.handlers.pop(conn.fd, None)
        conn.in_stage(sock.fileno(), WRITE)
        loop.handlers[conn.fd] = conn
        conn.set_proxied(sock.getpeername(), None)
        await loop.aio.connect_accepted_socket(lambda: _StreamProtocol(conn, None), sock)
    except TimeoutError:
        conn.lost(ConnectTimeout("no answer in time"))
    except OSError as error:
        conn.lost(error)
    loop.turn_soon()


async def _open_socket(loop: NetLoop, address: Address, family: int) -> socket.socket:
    """A connected socket, the first of the host's addresses that answers."""
    if address.base == "unix":
        targets: list[tuple[int, SocketAddress]] = [(socket.AddressFamily["AF_UNIX"], address.path)]
    else:
        infos = await loop.aio.getaddrinfo(address.host, address.port, family=family, type=socket.SOCK_STREAM)
        targets = [(info[0], info[4]) for info in infos]
    for left, (kind, name) in zip(range(len(targets) - 1, -1, -1), targets, strict=True):
        sock = socket.socket(kind, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.aio.sock_connect(sock, name)
        except BaseException as error:
            sock.close()
            if not left or not isinstance(error, OSError):
                raise
        else:
            return sock
    raise OSError("the host has no address")


class NetListener(Listener):
    """A listening socket whose connections asyncio accepts."""

    __slots__ = ("_task",)

    _loop: NetLoop

    def start(self) -> None:
        self._loop.add(self._sock.fileno(), self, READ)
        self._task = self._loop.begin_task(self._accept())

    async def _accept(self) -> None:
        while True:
            try:
                sock, remote = await self._loop.aio.sock_accept(self._sock)
            except OSError as error:
                if self._sock.fileno() < 0:
                    return
                self._loop.stats.accept_errors += 1
                if error.errno not in SKIPPED:
                    await asyncio.sleep(self._failed(error))
                continue
            self._accepted(sock.detach(), remote)
            self._loop.turn_soon()

    def expire(self) -> None:
        with suppress(NotImplementedError):  # Windows' event loop accepts without a reader
            self._loop.aio.remove_reader(self._sock)
        # Not at once: a connection that asyncio has accepted already and not handed over yet would be lost unclosed.
        self._loop.aio.call_soon(self._task.cancel)
        super().expire()


class NetDatagramSocket(DatagramSocket):
    """A bound UDP socket that asyncio receives on. It is sent on directly: before Python 3.13 asyncio drops empty
    datagrams."""

    __slots__ = ("_transport",)

    _loop: NetLoop
    _transport: asyncio.DatagramTransport | None

    def start(self) -> None:
        self._transport = None
        self._loop.add(self._sock.fileno(), self, READ)
        self._loop.begin_task(self._open())

    async def _open(self) -> None:
        # A copy, as the transport closes its socket some time after it is told to.
        copy = self._sock.dup()
        transport, _ = await self._loop.aio.create_datagram_endpoint(lambda: _DatagramProtocol(self), sock=copy)
        if self._sock.fileno() < 0:
            transport.abort()
        else:
            self._transport = transport

    def received(self, chunk: bytes, remote: SocketAddress) -> None:
        """A datagram has come."""
        if self._sock.fileno() >= 0:
            self._loop.stats.datagrams_in += 1
            self._loop.stats.bytes_in += len(chunk)
            self.fire(DatagramPeer(self, remote), chunk)
        self._loop.turn_soon()

    def on_event(self, mask: int) -> None:
        if self._sock.fileno() >= 0:
            super().on_event(mask & WRITE)

    def expire(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        super().expire()


class _DatagramProtocol(asyncio.DatagramProtocol):
    def __init__(self, sock: NetDatagramSocket) -> None:
        self._sock = sock

    def datagram_received(self, data: bytes, addr: SocketAddress) -> None:
        self._sock.received(data, addr)
