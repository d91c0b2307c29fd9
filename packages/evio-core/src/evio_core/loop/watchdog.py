"""Tells a service manager that the loops go round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from .loop import Loop
from .polled import Polled

__all__ = ["Watchdog"]


class Watchdog(Polled):
    """A timer of loop 0 that calls ``alive`` as long as every loop comes round: once one is held up, or has
    ended, it is silent."""

    __slots__ = ("_alive", "_loops", "_period", "_seen")

    def __init__(self, loops: Sequence[Loop], period: float, alive: Callable[[], None]) -> None:
        """``period`` is in seconds."""
        self._loops = loops
        self._period = period
        self._alive = alive
        self._seen = set(range(len(loops)))

    def start(self, _: object = None) -> None:
        """Begin; in loop 0's thread."""
        self.on_timer(monotonic())

    def on_timer(self, now: float) -> None:
        if len(self._seen) == len(self._loops):
            self._alive()
            self._seen.clear()
            for index, loop in enumerate(self._loops):
                loop.submit(self._seen.add, index)
        self._loops[0].arm(self, now + self._period)
