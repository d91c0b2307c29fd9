"""A snapshot on its way from the child that makes it to replicas, without a file (``repl-diskless-sync``).

The child writes to a pipe, from which as much is taken as the slowest of the replicas takes. As nobody knows
beforehand how long it is, a mark that is announced first ends it.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import evio_core

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["MARGIN", "Transfer"]

log: logging.Logger = logging.getLogger("evio_redis")

CHUNK = 1 << 16
"""Bytes taken from the pipe at once: all that it holds."""

MOST = 1 << 20
"""Bytes that may wait for a replica before nothing more is taken from the pipe."""

MARGIN = MOST + 2 * CHUNK
"""Bytes that may wait for a replica during the transfer."""

PAUSE = 0.002
"""Seconds until replicas that have had too much are looked at again."""


class Transfer:
    """One transfer. ``ended`` once all has been read that the child wrote, be it whole or not."""

    def __init__(self, core: evio_core.Server, fd: int, sessions: Iterable[Session], timeout: float) -> None:
        """``fd`` is the reading end of the pipe, which is closed at the end. A replica that takes nothing for
        ``timeout`` seconds is dropped."""
        self._core = core
        self._fd = fd
        self._sessions = list(sessions)
        self._timeout = timeout
        self._mark = secrets.token_hex(20).encode()
        self._full_since = 0.0
        self.ended: bool = False
        if sys.platform != "win32":  # which has no fork, and so nobody who writes
            os.set_blocking(fd, False)
        for session in self._sessions:
            session.push(b"$EOF:%b\r\n" % self._mark)
        self._watch: evio_core.Watch | None = core.watch(fd, readable=self._read)

    def finish(self) -> None:
        """Send the mark behind a snapshot that is whole."""
        for session in self._sessions:
            session.push(self._mark)

    def close(self) -> None:
        """Take nothing more."""
        if not self.ended:
            self.ended = True
            self._rest()
            os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        for session in self._sessions:
            session.push(data)
        if self._slow():
            self._rest()
            self._full_since = time.monotonic()
            self._core.call_later(PAUSE, self._look)

    def _rest(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _look(self) -> None:
        """Go on if all replicas have taken what there was."""
        if self.ended:
            return
        slow = self._slow()
        if slow and time.monotonic() - self._full_since > self._timeout:
            for each in slow:
                log.warning("Disconnecting a replica that does not take its snapshot: client %d", each.id)
                assert each.conn is not None, "something waits for it"
                each.conn.abort()
        if slow:
            self._core.call_later(PAUSE, self._look)
        else:
            self._watch = self._core.watch(self._fd, readable=self._read)

    def _slow(self) -> list[Session]:
        return [each for each in self._sessions if each.conn is not None and each.conn.pending > MOST]
