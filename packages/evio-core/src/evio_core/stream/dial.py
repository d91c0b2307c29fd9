"""Connecting to somewhere: the half-open stages of an outgoing connection."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any

from ..addresses.address import Address
from ..addresses.origin import Origin
from ..addresses.sockopt import apply_options, borrowed
from ..events import SocketAddress
from ..loop.channel import Channel
from ..loop.loop import Loop
from ..loop.poller import WRITE
from ..tls.channel import TLSChannel
from ..tls.credentials import client_session
from .connection import Connection
from .half_open import HalfOpen
from .plain_channel import PLAIN
from .state import NOT_POLLED

__all__ = ["dial"]

UNIX_RETRY = 0.02
"""Seconds before trying again when the backlog of a unix socket is full: unlike TCP's, such a connect does not
wait in the kernel, and the descriptor never becomes ready (connect(2), EAGAIN)."""

Target = tuple[int, SocketAddress]


def dial(loop: Loop, address: Address, origin: Origin, context: Any, timeout: float) -> Connection:
    """A connection in its opening state. From any thread. Raises :class:`TLSError` for a bad certificate."""
    channel: Channel = TLSChannel(client_session(address), PLAIN) if address.base == "tls" else PLAIN
    conn = Connection(loop, -1, origin, None, channel, context)
    loop.submit(_Resolving(conn, address, timeout).start)
    return conn


def _wait_in_loop(handler: HalfOpen, conn: Connection) -> None:
    """Take a place among the loop's handlers without a descriptor, as the loop has to know of every connection to
    wait for its end when it stops: below 0, and no other connection's."""
    conn.use_descriptor(~id(conn), NOT_POLLED)
    conn.loop.handlers[conn.fd] = handler


class _Resolving(HalfOpen):
    """Looks the host up. Numeric addresses are ready at once; a name is looked up in a thread of its own, as
    ``getaddrinfo`` may take seconds."""

    __slots__ = ("_address", "_timeout")

    def __init__(self, conn: Connection, address: Address, timeout: float) -> None:
        super().__init__(conn)
        self._address = address
        self._timeout = timeout

    def start(self, _: object) -> None:
        conn, loop = self._conn, self._conn.loop
        loop.started += 1
        if conn.gone or loop.stopping:
            conn.close_now()
            return
        _wait_in_loop(self, conn)
        conn.limit_opening(self._timeout)
        if sys.platform != "win32" and self._address.base == "unix":
            self._resolved([(socket.AF_UNIX, self._address.path)])
            return
        try:
            self._resolved(self._look_up(socket.AI_NUMERICHOST))
        except socket.gaierror:
            threading.Thread(target=self._look_up_slowly, name="evio-resolve", daemon=True).start()

    def _look_up(self, flags: int) -> list[Target]:
        address = self._address
        infos = socket.getaddrinfo(address.host, address.port, address.socket_family, socket.SOCK_STREAM, 0, flags)
        return [(info[0], info[4]) for info in infos]

    def _look_up_slowly(self) -> None:
        try:
            found: list[Target] | OSError = self._look_up(0)
        except OSError as error:
            found = error
        self._conn.loop.submit(self._resolved, found)

    def _resolved(self, found: list[Target] | OSError) -> None:
        if self._conn.gone:
            return
        if isinstance(found, OSError):
            self._conn.drop(found)
            return
        _Connecting(self._conn, found).next()


class _Connecting(HalfOpen):
    """Tries the addresses one after the other."""

    __slots__ = ("_error", "_targets")

    def __init__(self, conn: Connection, targets: Iterable[Target]) -> None:
        super().__init__(conn)
        self._targets = list(targets)
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    def next(self) -> None:
        """Try the next address."""
        while self._targets:
            target = self._targets.pop(0)
            try:
                if self._connect(*target):
                    return
            except OSError as error:
                self._error = error
        self._conn.drop(self._error)

    def _connect(self, family: int, name: SocketAddress) -> bool:
        """Begin one attempt. Raises ``OSError`` if it fails at once."""
        conn, loop = self._conn, self._conn.loop
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            apply_options(sock, conn.options)
            code = sock.connect_ex(name)
            if code == errno.EAGAIN and family == getattr(socket, "AF_UNIX", None):
                sock.close()
                self._targets.insert(0, (family, name))
                loop.arm(self, monotonic() + UNIX_RETRY)
                return True
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            loop.add(sock.fileno(), self, WRITE)
        except BaseException:
            sock.close()
            raise
        loop.handlers.pop(conn.fd, None)
        conn.use_descriptor(sock.detach(), WRITE)
        conn.set_addresses(name, None)
        return True

    def on_timer(self, now: float) -> None:
        if not self._conn.gone:
            self.next()

    def on_event(self, mask: int) -> None:
        conn = self._conn
        try:
            with borrowed(conn.fd) as sock:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                peer = None if code else sock.getpeername()
            if code:
                raise OSError(code, os.strerror(code))
            conn.set_addresses(peer, None)  # which dialling 0.0.0.0, say, does not tell
        except OSError as error:
            self._error = error
            self._give_up_descriptor()
            self.next()
            return
        conn.begin()

    def _give_up_descriptor(self) -> None:
        conn, loop = self._conn, self._conn.loop
        loop.remove(conn.fd)
        loop.close_later(conn.fd)
        _wait_in_loop(self, conn)
