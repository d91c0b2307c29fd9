"""Connecting to somewhere with asyncio."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ..addresses.address import Address
from ..addresses.origin import Origin
from ..addresses.sockopt import apply_options
from ..errors import ConnectTimeout
from ..events import SocketAddress
from ..loop.channel import Channel
from ..loop.poller import WRITE
from ..stream.connection import Connection
from ..stream.state import NOT_POLLED
from ..tls.channel import TLSChannel
from ..tls.credentials import client_session
from .channel import NetChannel, StreamProtocol
from .loop import NetLoop

__all__ = ["dial"]


def dial(loop: NetLoop, address: Address, origin: Origin, context: Any, timeout: float) -> Connection:
    """A connection in its opening state. From any thread. Raises :class:`TLSError` for a bad certificate."""
    wire = NetChannel(loop)
    channel: Channel = TLSChannel(client_session(address), wire) if address.base == "tls" else wire
    conn = Connection(loop, -1, origin, None, channel, context)

    def start(_: object) -> None:
        loop.started += 1
        if conn.gone or loop.stopping:
            conn.close_now()
            return
        conn.use_descriptor(-1 - loop.started, NOT_POLLED)
        loop.handlers[conn.fd] = conn
        conn.limit_opening(timeout)
        loop.begin_task(_dial(loop, conn, wire, address, timeout))

    loop.submit(start)
    return conn


async def _dial(loop: NetLoop, conn: Connection, wire: NetChannel, address: Address, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            sock = await _open_socket(loop, address)
        if conn.gone:
            sock.close()
            return
        apply_options(sock, conn.options)
        loop.handlers.pop(conn.fd, None)
        conn.use_descriptor(sock.fileno(), WRITE)
        loop.handlers[conn.fd] = conn
        conn.set_addresses(sock.getpeername(), None)
        await loop.aio.connect_accepted_socket(lambda: StreamProtocol(loop, conn, wire, None), sock)
    except TimeoutError:
        conn.drop(ConnectTimeout("no answer in time"))
    except OSError as error:
        conn.drop(error)
    loop.turn_soon()


async def _open_socket(loop: NetLoop, address: Address) -> socket.socket:
    """A connected socket, the first of the host's addresses that answers."""
    if address.base == "unix":
        targets: list[tuple[int, SocketAddress]] = [(socket.AddressFamily["AF_UNIX"], address.path)]
    else:
        infos = await loop.aio.getaddrinfo(
            address.host, address.port, family=address.socket_family, type=socket.SOCK_STREAM
        )
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
