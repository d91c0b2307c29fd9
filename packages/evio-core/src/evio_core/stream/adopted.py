"""Connections that somebody else opened: the reverse of detaching."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

from ..addresses.origin import Origin
from ..addresses.sockopt import apply_options, borrowed
from ..loop.loop import Loop
from ..tls.socket import TLSSocket
from .connection import Connection
from .plain_channel import PLAIN
from .state import NOT_POLLED

__all__ = ["check_connected", "gone", "take_over"]


def check_connected(sock: socket.socket) -> None:
    """Raise ``TypeError`` or ``ValueError`` for anything but a connected, plain stream socket."""
    if not isinstance(sock, socket.socket) or isinstance(sock, ssl.SSLSocket | TLSSocket):
        raise TypeError(f"a plain socket can be taken over, not {sock!r}")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"a stream socket can be taken over, not {sock!r}")
    try:
        sock.getpeername()
    except OSError as error:
        raise ValueError(f"{sock!r} is not connected: {error.strerror}") from error


def take_over(loop: Loop, sock: socket.socket, origin: Origin, context: Any) -> Connection:
    """A connection on a socket that is connected, and the loop's from now on. From any thread."""
    conn = Connection(loop, -1, origin, sock.getpeername(), PLAIN, context)
    fd = sock.detach()

    def start(_: object) -> None:
        if gone(conn, fd):
            return
        conn.use_descriptor(fd, NOT_POLLED)
        try:
            with borrowed(fd) as own:
                own.setblocking(False)
                own.set_inheritable(False)
                apply_options(own, conn.options)
            conn.begin()
        except OSError as error:
            conn.drop(error)

    loop.submit(start)
    return conn


def gone(conn: Connection, fd: int) -> bool:
    """Count a connection that is to begin; True if it has been given up, or there is no time left for it."""
    loop = conn.loop
    loop.started += 1
    if not conn.gone and not loop.stopping:
        return False
    conn.close_now()
    os.close(fd)
    return True
