"""Accepting connections: when the kernel has some, a few per turn, and never giving up.

``accept`` fails for reasons that are nobody's fault and pass by themselves (accept(2)). Those of the network
are skipped. Those of the system (descriptors, memory) cannot be skipped, as the connection stays in the
queue and the descriptor stays ready: the listener then leaves the poller for a while, says so once, and says
when it is over.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple, cast

from ..addresses.origin import Origin
from ..addresses.sockopt import apply_options, borrowed
from ..events import SocketAddress
from ..logs import LogLimit, log
from ..loop.channel import Channel
from ..loop.loop import Loop, Timer
from ..loop.polled import Polled
from ..loop.poller import READ
from ..tls.channel import TLSChannel
from ..tls.credentials import ServerCredentials
from .connection import Connection
from .plain_channel import PLAIN
from .proxy_stage import ProxyStage

__all__ = ["ACCEPTS_PER_TURN", "Accepted", "Listener", "adopt"]

ACCEPTS_PER_TURN = 64

SKIPPED = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "EINTR", "EPROTO", "EPERM", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN"),
        *("ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ETIMEDOUT"),
    )
    if hasattr(errno, name)
)
"""Errors of one connection, reported by ``accept`` (accept(2), "Error handling")."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds before accepting again after a system error; doubled each time."""


class Accepted(NamedTuple):
    """A connected, non-blocking descriptor on its way to its loop."""

    fd: int
    remote: SocketAddress
    origin: Origin
    credentials: ServerCredentials | None


def adopt(loop: Loop, accepted: Accepted) -> None:
    """Begin a connection on the loop chosen for it; runs in that loop's thread."""
    fd, remote, origin, credentials = accepted
    if loop.over:
        os.close(fd)
        loop.ended += 1
        return
    channel: Channel = PLAIN
    if credentials is not None:
        channel = TLSChannel(credentials.session(), PLAIN, loop.events.not_tls)
    conn = Connection(loop, fd, origin, remote, channel)
    try:
        if not isinstance(remote, tuple):
            with borrowed(fd) as sock:  # a unix socket inherits no buffer sizes from its listener
                apply_options(sock, origin.options)
        if origin.proxy_protocol:
            conn.await_header()
            ProxyStage(conn, origin.proxy_protocol).begin()
        else:
            conn.begin()
    except OSError as error:
        conn.drop(error)
    handler = loop.handlers.get(fd)
    if loop.stopping and handler is not None:  # another loop accepted it just before
        handler.shut_down()


class Listener(Polled):
    """A listening socket of one loop, which places what it accepts."""

    __slots__ = (
        "_credentials",
        "_failing",
        "_limit",
        "_loop",
        "_origin",
        "_pause",
        "_place",
        "_said",
        "_sock",
        "_timer",
        "exclusive",
    )

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        origin: Origin,
        credentials: ServerCredentials | None,
        place: Callable[[Accepted], object],
        exclusive: bool,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._origin = origin
        self._credentials = credentials
        self._place = place
        self._timer: Timer | None = None
        self._pause = FIRST_PAUSE
        self._failing = False
        self._limit = LogLimit()
        self._said = False
        self.exclusive: bool = exclusive

    def start(self) -> None:
        """Begin to accept. Raises ``OSError`` when the socket cannot be polled."""
        self._loop.add(self._sock.fileno(), self, READ, self.exclusive)

    def on_event(self, mask: int) -> None:
        if sys.platform == "win32":
            raise NotImplementedError("native loops need a POSIX system")
        # ``accept`` would make a socket object, at a quarter of what a connection costs here, for its descriptor alone.
        accept = cast(Any, self._sock)._accept
        for _ in range(ACCEPTS_PER_TURN):
            try:
                fd, remote = accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._loop.stats.accept_errors += 1
                if error.errno not in SKIPPED:
                    self._back_off(error)
                    return
                continue
            os.set_blocking(fd, False)
            self._accepted(fd, remote)

    def _accepted(self, fd: int, remote: SocketAddress) -> None:
        self._loop.stats.accepted += 1
        if self._failing:
            self._recovered()
        self._place(Accepted(fd, remote, self._origin, self._credentials))

    def _back_off(self, error: OSError) -> None:
        self._loop.poller.unregister(self._sock.fileno())  # and no more: it still has to hear that the server stops
        self._try_later(error)

    def _try_later(self, error: OSError) -> None:
        self._timer = self._loop.arm(self, monotonic() + self._failed(error))

    def _failed(self, error: OSError) -> float:
        """Seconds to wait after an error of the system, which is logged once; at the limit of descriptors, where each
        connection that ends makes room for one, once a minute."""
        if not self._failing:
            self._failing = True
            self._said = self._limit.allows()
            if self._said:
                log.warning("cannot accept on %s: %s; trying again%s", self._origin.name, error, self._limit.left_out())
        pause = self._pause
        self._pause = min(pause * 2, LONGEST_PAUSE)
        return pause

    def _recovered(self) -> None:
        self._failing = False
        self._pause = FIRST_PAUSE
        if self._said:
            log.warning("accepting on %s again", self._origin.name)

    def on_timer(self, now: float) -> None:
        self._timer = None
        try:
            self.start()
        except OSError as error:  # of epoll_ctl(2), which needs memory too
            self._try_later(error)

    def stop_accepting(self) -> None:
        self.close_now()

    def close_now(self) -> None:
        """Accept no more."""
        if self._timer is None:
            self._loop.remove(self._sock.fileno())
        else:
            self._loop.cancel(self._timer)
            self._timer = None
            del self._loop.handlers[self._sock.fileno()]
        self._sock.close()
