"""MONITOR: every command, shown as it is run.

https://redis.io/docs/latest/commands/monitor/
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .describe import peer

if TYPE_CHECKING:
    from ..model.command import Args
    from ..server import Server
    from .session import Session

__all__ = ["Monitors", "quoted"]

ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}


def quoted(text: bytes) -> str:
    """A string as Redis shows it: in double quotes, everything unprintable escaped (``sdscatrepr``)."""
    shown = (ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in text)
    return '"' + "".join(shown) + '"'


class Monitors:
    """The sessions that watch."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sessions: list[Session] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Show a session every command from now on."""
        if not session.monitor:
            session.monitor = True
            self._sessions.append(session)
            session.settle()
            self._server.dispatcher.choose_tables()

    def remove(self, session: Session) -> None:
        """Show it no more."""
        if session.monitor:
            session.monitor = False
            self._sessions.remove(session)
            self._server.dispatcher.choose_tables()

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
