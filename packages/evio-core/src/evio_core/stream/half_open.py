"""The stages of a connection before it is its descriptor's handler: a name's look-up, a connect, a PROXY header."""

from __future__ import annotations

from ..loop.polled import Polled
from .connection import Connection

__all__ = ["HalfOpen"]


class HalfOpen(Polled):
    """A stage of a connection that has not opened. There is nothing to finish in good order."""

    __slots__ = ("_conn",)

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def close_now(self) -> None:
        self._conn.close_now()
