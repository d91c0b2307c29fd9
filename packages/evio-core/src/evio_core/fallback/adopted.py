"""Connections that somebody else opened, with asyncio."""

from __future__ import annotations

import socket
from typing import Any

from ..addresses.origin import Origin
from ..addresses.sockopt import apply_options
from ..loop.poller import READ
from ..stream.adopted import gone
from ..stream.connection import Connection
from .channel import NetChannel
from .listener import connect
from .loop import NetLoop

__all__ = ["take_over"]


def take_over(loop: NetLoop, sock: socket.socket, origin: Origin, context: Any) -> Connection:
    """A connection on a socket that is connected, and the loop's from now on. From any thread."""
    wire = NetChannel(loop)
    conn = Connection(loop, -1, origin, sock.getpeername(), wire, context)
    fd = sock.detach()

    def start(_: object) -> None:
        if gone(conn, fd):
            return
        own = socket.socket(fileno=fd)
        own.setblocking(False)
        own.set_inheritable(False)
        apply_options(own, conn.options)
        loop.handlers[fd] = conn
        conn.use_descriptor(fd, READ)
        loop.begin_task(connect(loop, conn, wire, None, own))

    loop.submit(start)
    return conn
