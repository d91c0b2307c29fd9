"""An address that is listened on, and the end of that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

from ..addresses.bind import BoundAddress
from ..events import SocketAddress
from ..loop.calls import call_safely
from ..loop.loop import Loop

__all__ = ["ListeningAddress"]


class ListeningHandler(Protocol):
    """The handler of a socket that is listened on, as far as it is needed here."""

    def close_now(self) -> None:
        """Close it. In the loop's thread."""


class ListeningAddress:
    """One address and those who accept on it; implements :class:`evio_core.events.Listening`."""

    def __init__(self, bound: BoundAddress, index: int, on_close: Callable[[ListeningAddress], None]) -> None:
        self._bound = bound
        self._on_close = on_close
        self._accepting: list[tuple[Loop, ListeningHandler]] = []
        self._closed = False
        self.addr: SocketAddress = bound.name
        self.addr_index = index

    def add(self, loop: Loop, accepting: ListeningHandler) -> None:
        """Add a socket's handler on a loop."""
        self._accepting.append((loop, accepting))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        for path in self._bound.paths:
            path.remove()
        for loop, accepting in self._accepting:
            loop.submit(call_safely, functools.partial(_end, loop, accepting))

    def release(self) -> None:
        """Close what is still open once the loops have ended."""
        self._bound.close()


def _end(loop: Loop, accepting: ListeningHandler) -> None:
    if accepting in loop.handlers.values():  # else the loop has ended it, or was stopped before it began
        accepting.close_now()
