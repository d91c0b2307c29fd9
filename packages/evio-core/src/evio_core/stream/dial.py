"""Connecting to somewhere: the half-open stages of an outgoing connection."""

from __future__ import annotations

import errno
import os
import socket
import sys
from time import monotonic
from typing import Any

from ..addresses.address import Address
from ..addresses.candidates import ATTEMPT_DELAY, Candidate, alternate
from ..addresses.origin import Origin
from ..addresses.resolver import LookUp, look_up_numeric, resolve
from ..addresses.sockopt import apply_address, apply_options, bind_own_end, borrowed
from ..events import SocketAddress
from ..loop.channel import Channel
from ..loop.loop import Loop, Timer
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


def dial(loop: Loop, address: Address, origin: Origin, context: Any, timeout: float) -> Connection:
    """A connection in its opening state. From any thread. Raises :class:`TLSError` for a bad certificate."""
    channel: Channel = TLSChannel(client_session(address), PLAIN) if address.tls_at_once else PLAIN
    conn = Connection(loop, -1, origin, None, channel, context)
    loop.submit(_Resolving(conn, address, timeout).start)
    return conn


class _Resolving(HalfOpen):
    """Looks the host up. Numeric addresses are ready at once, a name is looked up in a thread."""

    __slots__ = ("_address", "_look_up", "_timeout")

    def __init__(self, conn: Connection, address: Address, timeout: float) -> None:
        super().__init__(conn)
        self._address = address
        self._look_up: LookUp | None = None
        self._timeout = timeout

    def start(self, _: object) -> None:
        conn, loop = self._conn, self._conn.loop
        loop.started += 1
        loop.stats.dialled += 1
        if conn.gone or loop.stopping:
            conn.close_now()
            return
        # A place among the loop's handlers without a descriptor, as the loop has to know of every connection to wait
        # for its end when it stops: below 0, and no other connection's.
        conn.use_descriptor(~id(conn), NOT_POLLED)
        loop.handlers[conn.fd] = self
        conn.limit_opening(self._timeout)
        if sys.platform != "win32" and self._address.base == "unix":
            self._resolved([(socket.AF_UNIX, self._address.path)])
            return
        numeric = look_up_numeric(self._address, socket.SOCK_STREAM)
        if numeric is not None:
            self._resolved(numeric)
        else:
            self._look_up = resolve(self._address, socket.SOCK_STREAM, lambda found: loop.submit(self._resolved, found))

    def abandon(self) -> None:
        if self._look_up is not None:
            self._look_up.cancel()

    def _resolved(self, found: list[Candidate] | OSError) -> None:
        if self._conn.gone:
            return
        if isinstance(found, OSError):
            self._conn.drop(found)
            return
        _Connecting(self._conn, self._address, found).start()


class _Connecting(HalfOpen):
    """Tries the addresses: the next one when an attempt fails or ``ATTEMPT_DELAY`` has passed, all beside each other.
    The first to connect is the connection's descriptor, the others are closed."""

    __slots__ = ("_address", "_attempts", "_candidates", "_error", "_timer")

    def __init__(self, conn: Connection, address: Address, candidates: list[Candidate]) -> None:
        super().__init__(conn)
        self._address = address
        self._attempts: list[_Attempt] = []
        self._candidates = alternate(candidates)
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        self._timer: Timer | None = None

    def start(self) -> None:
        """Take the place of the stage before and try the first address."""
        self._conn.loop.handlers[self._conn.fd] = self
        self.next()

    def next(self) -> None:
        """Try the next address; with none left, and no attempt under way, give up."""
        self._stop_timer()
        while self._candidates:
            family, name = self._candidates.pop(0)
            try:
                delay = self._try(family, name)
            except OSError as error:
                self._error = error
                continue
            if self._candidates:
                self._timer = self._conn.loop.arm(self, monotonic() + delay)
            return
        if not self._attempts:
            self._conn.drop(self._error)

    def _try(self, family: int, name: SocketAddress) -> float:
        """Begin an attempt; returns the seconds until the next one. Raises ``OSError`` if it fails at once."""
        conn, loop = self._conn, self._conn.loop
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            apply_options(sock, conn.options)
            apply_address(sock, self._address)
            bind_own_end(sock, self._address)
            code = sock.connect_ex(name)
            if code == errno.EAGAIN and family == getattr(socket, "AF_UNIX", None):
                sock.close()
                self._candidates.insert(0, (family, name))
                return UNIX_RETRY
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            attempt = _Attempt(conn, sock.fileno(), self)
            loop.add(attempt.fd, attempt, WRITE)
        except BaseException:
            sock.close()
            raise
        sock.detach()
        self._attempts.append(attempt)
        conn.set_addresses(name, None)
        return ATTEMPT_DELAY

    def on_timer(self, now: float) -> None:
        self._timer = None
        self.next()

    def failed(self, attempt: _Attempt, error: OSError) -> None:
        """Go on after the failure of an attempt: at once."""
        self._error = error
        self._attempts.remove(attempt)
        attempt.close()
        self.next()

    def connected(self, attempt: _Attempt, peer: SocketAddress) -> None:
        """Open the connection on this attempt's descriptor."""
        conn = self._conn
        self._attempts.remove(attempt)
        self.abandon()
        del conn.loop.handlers[conn.fd]
        conn.use_descriptor(attempt.fd, WRITE)
        conn.set_addresses(peer, None)  # which dialling 0.0.0.0, say, does not tell
        conn.begin()

    def abandon(self) -> None:
        self._stop_timer()
        for attempt in self._attempts:
            attempt.close()
        self._attempts.clear()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._conn.loop.cancel(self._timer)
            self._timer = None


class _Attempt(HalfOpen):
    """One address and its descriptor, which becomes ready when the attempt has succeeded or failed."""

    __slots__ = ("_options", "_race", "fd")

    def __init__(self, conn: Connection, fd: int, race: _Connecting) -> None:
        super().__init__(conn)
        self._options = conn.options
        self._race = race
        self.fd = fd

    def on_event(self, mask: int) -> None:
        conn = self._conn
        try:
            with borrowed(self.fd) as sock:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                peer = sock.getpeername()
                if conn.options is not self._options:
                    apply_options(sock, conn.options, self._options)  # changed meanwhile
        except OSError as error:
            self._race.failed(self, error)
            return
        self._race.connected(self, peer)

    def close(self) -> None:
        """Close the descriptor."""
        loop = self._conn.loop
        loop.remove(self.fd)
        loop.close_later(self.fd)
