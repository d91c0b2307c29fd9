"""About how many bytes a key and its value take.

A string is measured, a collection estimated from a few of its members, which all take what these do on average.
"""

from __future__ import annotations

from itertools import islice
from sys import getsizeof
from typing import Any

from .types.hashes import Hash
from .types.streams import Stream
from .types.zsets import SortedSet

__all__ = ["SAMPLES", "SLOT", "size_of", "value_size"]

SAMPLES = 5
"""Members looked at to estimate a collection."""

SLOT = 48
"""Bytes of a dict's slot for a key, at its usual load."""

ORDERED = 72
"""Bytes of a member of a sorted set in its order: a tuple and a place in a list."""


def size_of(key: bytes, value: Any, samples: int = SAMPLES) -> int:
    """Bytes of a key and its value; of a collection so many members are looked at, 0 for all."""
    return SLOT + getsizeof(key) + value_size(value, samples)


def value_size(value: Any, samples: int = SAMPLES) -> int:
    """Bytes of a value alone."""
    if isinstance(value, bytes):
        return getsizeof(value)
    if isinstance(value, Stream):
        return getsizeof(value) + value.size(samples)
    if isinstance(value, SortedSet):
        each = getsizeof(0.0) + (ORDERED if value.blocks is not None else 0)
        return getsizeof(value.scores) + len(value) * each + _members(value.scores, len(value), samples)
    if isinstance(value, Hash):
        size = len(value)
        return getsizeof(value) + _members(value, size, samples) + _members(value.values(), size, samples)
    return getsizeof(value) + _members(value, len(value), samples)


def _members(members: Any, count: int, samples: int) -> int:
    sizes = [*map(getsizeof, islice(members, samples) if samples else members)]
    return sum(sizes) * count // len(sizes) if sizes else 0
