"""The latest part of a replication stream, for replicas whose link was cut for a while."""

from __future__ import annotations

from collections import deque
from itertools import islice

__all__ = ["Backlog"]


class Backlog:
    """The last ``size`` bytes of a stream, at least, by their offset: the number of bytes that came before, plus 1."""

    def __init__(self, size: int, offset: int) -> None:
        self.size = size  # bytes
        self.first: int = offset + 1  # the offset of the first byte that is held
        self.length: int = 0
        self._pieces: deque[bytes] = deque()

    def append(self, data: bytes) -> None:
        """Add what comes next, and forget what is too old."""
        pieces = self._pieces
        pieces.append(data)
        self.length += len(data)
        while self.length - len(pieces[0]) >= self.size:
            gone = len(pieces.popleft())
            self.length -= gone
            self.first += gone

    def since(self, offset: int) -> list[bytes] | None:
        """Return all from the byte at ``offset`` on, in pieces; None if that is not, or no more, among what is held."""
        skipped = offset - self.first
        if not 0 <= skipped <= self.length:
            return None
        for index, piece in enumerate(self._pieces):
            if skipped < len(piece):
                return [piece[skipped:], *islice(self._pieces, index + 1, None)]
            skipped -= len(piece)
        return []
