"""Being told of responses: the access log, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from evio_core import Conn

from ..message.request import Request
from .session import HTTPSession

__all__ = ["Observer", "Observers"]


class Observer(Protocol):
    """Told of each final response, in the loop's thread: of one from memory as it is handed over for sending, of a file
    when it has left or the connection has ended."""

    def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
        """``request`` is None if it could not be read; ``length`` is bytes of content, those that left. It must
        not raise."""


class Observers:
    """All of a server's."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self.present: bool = bool(observers)
        """True if there are any."""

    def observe(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
        """Tell the observers of a response with ``length`` bytes of content; ``request`` is None if it could not be
        read."""
        for observer in self._observers:
            observer.answered(session, request, status, length)

    def sent(self, conn: Conn, session: HTTPSession, request: Request, status: int, length: int) -> None:
        """A file was handed over for sending: tell the observers when it has left."""
        if self.present and conn.pending:
            session.unfinished.append((request, status, length, session.started))
            conn.wake_when_drained()
        else:
            self.observe(session, request, status, length)

    def settle(self, session: HTTPSession, pending: int) -> None:
        """All output has left, or the connection has ended and ``pending`` bytes have not."""
        now = session.started
        kept: list[int] = []
        for _, _, length, _ in reversed(session.unfinished):  # what was queued last is missing first
            missing = min(pending, length)
            kept.insert(0, length - missing)
            pending -= missing
        for (request, status, _, started), length in zip(session.unfinished, kept, strict=True):
            session.started = started
            self.observe(session, request, status, length)
        session.unfinished.clear()
        session.started = now
