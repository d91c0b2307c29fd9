"""The moment when the data was saved last (LASTSAVE), and the number of changes since."""

from __future__ import annotations

import time

__all__ = ["LastSave"]


class LastSave:
    """Unix time, and the number of changes that the keyspace had seen by then."""

    def __init__(self) -> None:
        self.when: float = time.time()
        self.dirty = 0
