"""The clock by which keys expire."""

from __future__ import annotations

from time import time_ns

__all__ = ["Clock"]


class Clock:
    """Wall-clock time, which stands still within a transaction so that all of it sees the same keys."""

    __slots__ = ("frozen",)

    def __init__(self) -> None:
        self.frozen: int = 0

    def ms(self) -> int:
        """Return Unix milliseconds."""
        return self.frozen or time_ns() // 1_000_000
