"""Lists: a deque, which is fast at both ends, as Redis's quicklist is."""

from __future__ import annotations

from collections import deque

__all__ = ["List"]


class List(deque[bytes]):
    """Operations: as a deque's. Redis 7.0 calls every list a quicklist (OBJECT ENCODING)."""

    __slots__ = ()

    def encoding(self) -> str:
        """As Redis names it."""
        return "quicklist"

    def copy(self) -> List:
        """Another list of the same elements."""
        return List(self)
