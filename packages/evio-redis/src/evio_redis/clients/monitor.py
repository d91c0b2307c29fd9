"""MONITOR: every command, shown as it is run.

https://redis.io/docs/latest/commands/monitor/
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..model.command import Args
from ..model.route import Route
from ..protocol.quoting import quoted
from .describe import peer

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Monitors"]


class Monitors:
    """The sessions that watch."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._sessions: list[Session] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Show a session every command from now on."""
        if not session.monitor:
            session.monitor = True
            self._sessions.append(session)
            session.update_plain()
            self._route.hold("monitor")

    def remove(self, session: Session) -> None:
        """Show it no more."""
        if session.monitor:
            session.monitor = False
            self._sessions.remove(session)
            if not self._sessions:
                self._route.release("monitor")

    def feed(self, session: Session, args: Args) -> None:
        """A session has run this command."""
        now = time.time()
        conn = session.conn
        source = "lua" if conn is None else peer(conn)
        if conn is not None and not isinstance(conn.remote_addr, tuple):
            source = f"unix:{source.removesuffix(':0')}"
        words = " ".join(map(quoted, args))
        line = f"+{now:.6f} [{session.db.index} {source}] {words}\r\n".encode("utf-8", "surrogateescape")
        for each in list(self._sessions):
            if each.reply_mode == "on":
                each.push(line)
