"""Clients that take up too much: idle for too long (``timeout``), or too slow (``client-output-buffer-limit``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .clients import client_type

if TYPE_CHECKING:
    from .server import Server
    from .session import Session

__all__ = ["OutputGuard"]

log = logging.getLogger("evio_redis")


class OutputGuard:
    """Looks at every client now and then."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over_since: dict[Session, float] = {}  # since when a client is over its soft limit
        self._last = 0.0

    def check(self) -> None:
        """Drop those that are over a limit. Once a second: that is how exactly the limits are given."""
        server = self._server
        if server.now - self._last < 1.0:
            return
        self._last = server.now
        timeout = server.config.timeout
        over: dict[Session, float] = {}
        for session in list(server.sessions.values()):
            if session.conn is None:
                continue
            pending = session.conn.pending
            if pending and self._exceeds(session, pending, over):
                log.warning("closing client %d: %d bytes of output pending", session.id, pending)
                session.conn.abort()
            elif timeout and server.now - session.seen > timeout and not (session.blocked or session.subscribed):
                log.debug("closing client %d: idle", session.id)
                session.conn.close()
        self._over_since = over

    def _exceeds(self, session: Session, pending: int, over: dict[Session, float]) -> bool:
        hard, soft, seconds = getattr(self._server.config.client_output_buffer_limit, client_type(session))
        if hard and pending >= hard:
            return True
        if soft and pending >= soft:
            over[session] = since = self._over_since.get(session, self._server.now)
            return bool(self._server.now - since > seconds)
        return False
