"""Draining: a server that others replace accepts no more, and serves what it has to its natural end.

A connection that falls quiet is closed in good order, as HTTP servers do with idle ones when they are replaced. A
new one has that long to make its first request: closed at once, it would be a connection refused.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .loop import Loop
from .polled import Polled

__all__ = ["Drain"]

QUIET = 0.5
"""Seconds without a byte moved after which a connection is closed."""

LOOK = 0.05
"""Seconds between looks."""


class Drain(Polled):
    """Drains one loop, and calls ``look`` now and then, which ends it all."""

    __slots__ = ("_begun", "_look", "_loop")

    def __init__(self, loop: Loop, look: Callable[[], None]) -> None:
        self._loop = loop
        self._look = look
        self._begun = 0.0

    def begin(self, _: object = None) -> None:
        """Stop accepting; runs in the loop's thread."""
        self._begun = monotonic()
        self._loop.draining = True
        for handler in list(self._loop.handlers.values()):
            handler.stop_accepting()
            handler.retire()
        self.on_timer(self._begun)

    def on_timer(self, now: float) -> None:
        if self._loop.stopping:
            return
        if now - self._begun > QUIET:
            for handler in list(self._loop.handlers.values()):
                handler.close_if_quiet(now - QUIET)
        self._look()
        self._loop.arm(self, now + LOOK)
