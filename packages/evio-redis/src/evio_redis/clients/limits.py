"""Clients that take up too much: idle for too long (``timeout``), or too slow (``client-output-buffer-limit``)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..config.config import Config
from .describe import client_type

if TYPE_CHECKING:
    from .session import Session

__all__ = ["OutputGuard"]

log: logging.Logger = logging.getLogger("evio_redis")

UNAUTHENTICATED = 16 * 1024 + 1
"""Bytes of output at which a client is dropped that has not given the password: more than Redis's own buffer."""


class OutputGuard:
    """Looks at every client now and then."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._over_since: dict[Session, float] = {}  # since when a client is over its soft limit
        self._last = 0.0

    def limit(self, session: Session) -> None:
        """Have the core drop a client that goes over the hard limit of its class; to be called when that changes."""
        hard = self._limits(session)[0]
        if session.conn is not None and hard != session.hard_limit:
            session.hard_limit = hard
            session.conn.configure(max_pending=max(0, hard - 1))  # Redis's limit is what may not be reached
            session.update_plain()

    def limit_all(self, sessions: Iterable[Session]) -> None:
        """Follow a change of the limits. Only its own loop may tell a connection (``Conn.configure``); with several
        loops, ``check`` sees to it."""
        for session in sessions:
            if self._config.loops == 1:
                self.limit(session)
            else:
                session.hard_limit = self._limits(session)[0]
                session.update_plain()

    def _limits(self, session: Session) -> tuple[int, int, int]:
        if not session.authenticated:
            return UNAUTHENTICATED, 0, 0
        limits: tuple[int, int, int] = getattr(self._config.client_output_buffer_limit, client_type(session))
        if session.replica is not None and session.replica.allowance:
            hard, soft, seconds = limits
            more = session.replica.allowance
            return hard and hard + more, soft and soft + more, seconds
        return limits

    def check(self, sessions: Iterable[Session], now: float) -> None:
        """Drop those that are over a limit. Once a second: that is how exactly the limits are given; but whoever has
        been below the soft limit meanwhile is seen each time. ``now`` is a Unix time."""
        for session in [each for each in self._over_since if not self._is_over(each)]:
            del self._over_since[session]
        if now - self._last < 1.0:
            return
        self._last = now
        timeout = self._config.timeout
        over: dict[Session, float] = {}
        for session in list(sessions):
            if session.conn is None:
                continue
            pending = session.conn.pending
            if pending and self._exceeds(session, pending, over, now):
                log.warning("closing client %d: %d bytes of output pending", session.id, pending)
                session.conn.abort()
            elif (
                timeout
                and now - session.seen > timeout
                and not (session.blocked or session.subscribed or session.monitor)
            ):
                log.debug("closing client %d: idle", session.id)
                session.conn.close()
        self._over_since = over

    def _is_over(self, session: Session) -> bool:
        return session.conn is not None and session.conn.pending >= self._limits(session)[1] > 0

    def _exceeds(self, session: Session, pending: int, over: dict[Session, float], now: float) -> bool:
        hard, soft, seconds = self._limits(session)
        if hard and pending >= hard:
            return True
        if soft and pending >= soft:
            over[session] = since = self._over_since.get(session, now)
            return now - since > seconds
        return False
