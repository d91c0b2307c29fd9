"""Datagrams that asyncio receives."""

from __future__ import annotations

import asyncio
from time import monotonic

from ..events import SocketAddress
from ..loop.poller import READ, WRITE
from ..udp.datagram import DatagramPeer, DatagramSocket
from .loop import NetLoop

__all__ = ["NetDatagramSocket"]


class NetDatagramSocket(DatagramSocket):
    """A bound UDP socket that asyncio receives on. It is sent on directly: before Python 3.13 asyncio drops empty
    datagrams."""

    __slots__ = ("_transport",)

    _loop: NetLoop
    _transport: asyncio.DatagramTransport | None

    def start(self) -> None:
        self._transport = None
        self._loop.add(self._sock.fileno(), self, READ)
        if self._info is None:
            self._loop.begin_task(self._open())
        else:  # asyncio's transport would not say which address was asked
            self._loop.aio.add_reader(self._sock, self._on_readable)

    async def _open(self) -> None:
        # A copy, as the transport closes its socket some time after it is told to.
        copy = self._sock.dup()
        transport, _ = await self._loop.aio.create_datagram_endpoint(lambda: _DatagramProtocol(self), sock=copy)
        if not self._receiving:
            transport.abort()
        else:
            self._transport = transport

    def _on_readable(self) -> None:
        self._loop.now = monotonic()
        self._receive()
        self._loop.turn_soon()

    def received(self, chunk: bytes, remote: SocketAddress) -> None:
        """Take a datagram from the transport."""
        if self._receiving:
            self._loop.stats.datagrams_in += 1
            self._loop.stats.bytes_in += len(chunk)
            self.deliver(DatagramPeer(self, remote, None), chunk)
        self._loop.turn_soon()

    def on_event(self, mask: int) -> None:
        if self._sock.fileno() >= 0:
            super().on_event(mask & WRITE)

    def stop_accepting(self) -> None:
        self._stop_receiving()
        super().stop_accepting()

    def close_now(self) -> None:
        self._receiving = False
        self._stop_receiving()
        super().close_now()

    def _stop_receiving(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        elif self._info is not None and self._sock.fileno() >= 0:
            self._loop.aio.remove_reader(self._sock)


class _DatagramProtocol(asyncio.DatagramProtocol):
    def __init__(self, sock: NetDatagramSocket) -> None:
        self._sock = sock

    def datagram_received(self, data: bytes, addr: SocketAddress) -> None:
        self._sock.received(data, addr)
