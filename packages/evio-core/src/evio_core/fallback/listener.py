"""Accepting connections with asyncio."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from ..addresses.proxy_header import ProxyParser, check_sender
from ..addresses.sockopt import apply_options
from ..errors import ProxyProtocolError
from ..loop.channel import Channel
from ..loop.poller import READ
from ..stream.connection import Connection
from ..stream.listener import SKIPPED, Accepted, Listener
from ..tls.channel import TLSChannel
from .channel import NetChannel, StreamProtocol
from .loop import NetLoop

__all__ = ["NetListener", "adopt", "connect"]


def adopt(loop: NetLoop, accepted: Accepted) -> None:
    """Begin a connection on the loop chosen for it; runs in that loop's thread."""
    fd, remote, origin, credentials = accepted
    sock = socket.socket(fileno=fd)
    if loop.stopping:
        sock.close()
        loop.ended += 1
        return
    channel: Channel
    channel = wire = NetChannel(loop)
    if credentials is not None:
        channel = TLSChannel(credentials.session(), wire, loop.events.not_tls)
    conn = Connection(loop, fd, origin, remote, channel)
    apply_options(sock, origin.options)
    loop.handlers[fd] = conn
    conn.use_descriptor(fd, READ)
    parser = ProxyParser() if origin.proxy_protocol else None
    if parser is not None:
        conn.await_header()
        try:
            check_sender(remote, origin.proxy_protocol)
        except ProxyProtocolError as error:
            conn.drop(error)
            sock.close()
            return
    loop.begin_task(connect(loop, conn, wire, parser, sock))


async def connect(
    loop: NetLoop, conn: Connection, wire: NetChannel, parser: ProxyParser | None, sock: socket.socket
) -> None:
    """Give a connected socket to asyncio, and begin the connection on it."""
    try:
        await loop.aio.connect_accepted_socket(lambda: StreamProtocol(loop, conn, wire, parser), sock)
    except OSError as error:
        conn.drop(error)
        sock.close()


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

    def close_now(self) -> None:
        with suppress(NotImplementedError):  # Windows' event loop accepts without a reader
            self._loop.aio.remove_reader(self._sock)
        # Not at once: a connection that asyncio has accepted already and not handed over yet would be lost unclosed.
        self._loop.aio.call_soon(self._task.cancel)
        super().close_now()
