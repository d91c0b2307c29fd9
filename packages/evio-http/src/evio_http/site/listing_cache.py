"""Listings in memory: of a directory that many ask for, one is made and all get it.

A directory's own times change when a name in it comes or goes, but not when one of its files is written to, whose size
and date a listing shows. So what is kept is used as long as the directory is the same version, and for ``FRESH``
seconds at most.

Operations: find, keep; O(1). For several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from ..files.version import Identity

__all__ = ["FRESH", "ListingCache"]

FRESH = 2.0
"""Seconds for which sizes and dates may be out of date."""

OVERHEAD = 512
"""Bytes that a kept value takes besides its own, rounded up."""


class ListingCache:
    """Values made of directories, in at most ``max_bytes``; those found least recently go first."""

    def __init__(self, max_bytes: int = 4 << 20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Identity, float, int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable, version: Identity, now: float) -> Any:
        """Return the page that was kept under ``key``, if it was made of this version of its directory and is fresh at
        ``now``, ``time.monotonic``; else None."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept[0] != version or now >= kept[1]:
                return None
            self._kept.move_to_end(key)
            return kept[3]

    def keep(self, key: Hashable, version: Identity, now: float, value: Any, size: int) -> None:
        """Keep ``value``, of about ``size`` bytes, which was made of ``version`` from ``now`` on."""
        with self._lock:
            gone = self._kept.pop(key, None)
            if gone is not None:
                self._bytes -= gone[2]
            self._kept[key] = version, now + FRESH, size + OVERHEAD, value
            self._bytes += size + OVERHEAD
            while self._bytes > self._max_bytes:
                _, (_, _, least, _) = self._kept.popitem(last=False)
                self._bytes -= least
