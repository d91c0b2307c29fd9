"""The states for which a descriptor can be polled, in epoll's own numbers so that epoll needs no translation."""

from __future__ import annotations

from typing import Final

__all__ = ["ERROR", "HANGUP", "MAX_EVENTS", "READ", "WRITE"]

READ: Final = 0x001
WRITE: Final = 0x004
ERROR: Final = 0x008
HANGUP: Final = 0x010

MAX_EVENTS: Final = 64
"""The most events of one turn: a bound on how long new output, timers and wake-ups wait. Python allocates room
for this many in each call, which is measurable with its default of 1023."""
