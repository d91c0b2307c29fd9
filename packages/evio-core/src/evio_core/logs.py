"""The logger of the package, ``logging.getLogger("evio")``, and a limit for what may happen all the time."""

from __future__ import annotations

import logging
from time import monotonic

__all__ = ["LogLimit", "log"]

log: logging.Logger = logging.getLogger("evio")

SILENCE = 60.0
"""Seconds for which a message is not repeated."""


class LogLimit:
    """Lets one message through a minute, of each place that has one."""

    __slots__ = ("_last", "_left_out")

    def __init__(self) -> None:
        self._last = -SILENCE
        self._left_out = 0

    def allows(self) -> bool:
        """True if a message may be logged now; it then counts as logged."""
        now = monotonic()
        if now - self._last < SILENCE:
            self._left_out += 1
            return False
        self._last = now
        return True

    def left_out(self) -> str:
        """A remark on the messages that were left out before this one: empty if there were none."""
        count, self._left_out = self._left_out, 0
        return f" ({count} times more before)" if count else ""
