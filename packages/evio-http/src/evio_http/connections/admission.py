"""Limits of open connections, in all and from one address."""

from __future__ import annotations

import threading

__all__ = ["Admission"]


class Admission:
    """Counts connections; limits of 0 are none. For several threads."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self.open: int = 0
        """Connections that are open."""
        self._of: dict[str, int] = {}
        self._lock = threading.Lock()

    def enter(self, address: str) -> bool:
        """Count a connection; False if it is one too many. It is to ``leave`` in either case."""
        with self._lock:
            self.open += 1
            allowed = not self._total or self.open <= self._total
            if self._per_address:
                count = self._of[address] = self._of.get(address, 0) + 1
                allowed = allowed and count <= self._per_address
            return allowed

    def leave(self, address: str) -> None:
        """A connection that entered has ended."""
        with self._lock:
            self.open -= 1
            if self._per_address:
                self._of[address] -= 1
                if not self._of[address]:
                    del self._of[address]
