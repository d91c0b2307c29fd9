"""Calls ``tick`` when it is due."""

from __future__ import annotations

import math
from time import monotonic

from ..events import Action
from .loop import Loop
from .polled import Polled

__all__ = ["Ticker"]


class Ticker(Polled):
    """A timer of loop 0 that sets itself again with what ``tick`` returns."""

    __slots__ = ("_loop",)

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def start(self, _: object = None) -> None:
        """Tick for the first time, unless the server is stopping already."""
        self.on_timer(0.0)

    def on_timer(self, now: float) -> None:
        if self._loop.stopping:
            return
        try:
            delay = self._tick()
        except BaseException as error:
            self._loop.fail(error)
            return
        if delay is not None:
            self._loop.arm(self, monotonic() + delay)

    def _tick(self) -> float | None:
        """Seconds until the next tick, or None for no more. Raises what ``tick`` raises, and ``TypeError`` or
        ``ValueError`` for a result that is none."""
        tick = self._loop.events.tick
        assert tick is not None
        reply: object = tick()
        action: object = Action.NONE
        if isinstance(reply, tuple) and len(reply) == 2:
            reply, action = reply
        elif isinstance(reply, Action):
            reply, action = None, reply
        if not isinstance(action, Action) or not isinstance(reply, int | float | None):
            raise TypeError(f"tick returns seconds, an Action or (seconds, Action), not {reply!r}")
        if reply is not None and not 0 <= reply < math.inf:
            raise ValueError(f"tick returned a delay of {reply!r} s")
        if action is Action.SHUTDOWN:
            self._loop.request_stop()
            return None
        return reply
