"""The memory in use: that of the process, and about that of one value."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..config.config import Config
from ..keyspace.types.streams import Stream
from ..model.route import Route

__all__ = ["MemoryLimit", "human", "resident", "size_of", "total"]

SAMPLES = 5
"""Members looked at to estimate a collection."""

KEY_OVERHEAD = 104
"""Bytes of a dict's slot for a key, at its usual load."""


class MemoryLimit:
    """``maxmemory``: the memory of the process is looked at now and then, and while it is too much, commands take the
    long way, which refuses those that may need more."""

    def __init__(self, config: Config, route: Route) -> None:
        self._config = config
        self._route = route
        self.startup = resident()
        self.exceeded = False

    def update(self) -> None:
        """Look how much memory is used."""
        limit = self._config.maxmemory
        self.exceeded = 0 < limit < resident() if limit else False
        if self.exceeded:
            self._route.hold("maxmemory")
        else:
            self._route.release("maxmemory")


def resident() -> int:
    """Bytes of physical memory that the process has now; where that is unknown, the most it has had."""
    if sys.platform == "win32":
        return 0
    try:
        with open("/proc/self/statm", "rb") as statm:
            pages = int(statm.read().split()[1])
    except OSError:
        return peak()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """The most it has had."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def total() -> int:
    """Bytes of the machine's memory; 0 where that is unknown."""
    if sys.platform == "win32":
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def human(size: float) -> str:
    """A size as INFO shows it to people: ``1.58M``."""
    if size < 1024:
        return f"{int(size)}B"
    for unit in "KMGTP":
        size /= 1024
        if size < 1024 or unit == "P":
            break
    return f"{size:.2f}{unit}"


def size_of(key: bytes, value: Any, samples: int = SAMPLES) -> int:
    """About how many bytes a key and its value take; of a collection so many members are looked at, 0 for all."""
    size = KEY_OVERHEAD + sys.getsizeof(key) + sys.getsizeof(value)
    if isinstance(value, bytes):
        return size
    if isinstance(value, Stream):
        return size + value.size(samples)
    members: list[int] = []
    for member in value:
        if samples and len(members) >= samples:
            break
        members.append(sys.getsizeof(member))
    return size + (sum(members) * len(value) // len(members) if members else 0)
