"""Being told of responses: the access log, metrics."""

from __future__ import annotations

from typing import Protocol

from .request import Request
from .session import Session

__all__ = ["Observer"]


class Observer(Protocol):
    """Told of each final response, in the loop's thread: of one from memory as it is handed over for sending, of a file
    when it has left or the connection has ended."""

    def answered(self, session: Session, request: Request | None, status: int, length: int) -> None:
        """REQUEST is None if it could not be read; LENGTH is bytes of content, those that left. It must
        not raise."""
