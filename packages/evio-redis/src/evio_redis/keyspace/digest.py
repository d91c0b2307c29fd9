"""Digests of what databases hold, for DEBUG DIGEST: equal content has the same one, whatever the order it came in."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha1
from typing import Any

from ..protocol.numbers import format_double
from .database import Database
from .types.hashes import Hash
from .types.lists import List
from .types.sets import Set
from .types.stream_ids import show_id
from .types.streams import Stream
from .types.zsets import SortedSet

__all__ = ["digest_of_all", "digest_of_value"]

SIZE = 20
"""Bytes."""


def digest_of_all(databases: Iterable[Database]) -> str:
    """The digest of all keys, their values and expiry times, in hexadecimal; all zeros if there are none."""
    total = 0
    for database in databases:
        for key, value in database.data.items():
            expiry = b"%d" % database.expires.get(key, -1)
            total ^= _digest([b"%d" % database.index, key, expiry, *_parts(value)])
    return total.to_bytes(SIZE, "big").hex()


def digest_of_value(value: Any) -> str:
    """The digest of one value; all zeros for None."""
    return (0 if value is None else _digest(_parts(value))).to_bytes(SIZE, "big").hex()


def _digest(parts: Iterable[bytes]) -> int:
    state = sha1(usedforsecurity=False)
    for part in parts:
        state.update(b"%d:" % len(part))
        state.update(part)
    return int.from_bytes(state.digest(), "big")


def _parts(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [b"string", value]
    kind = type(value)
    if kind is List:
        return [b"list", *value]
    if kind is Set:
        return [b"set", *sorted(value)]
    if kind is Hash:
        return [b"hash", *(part for pair in sorted(value.items()) for part in pair)]
    if kind is Stream:
        return [b"stream", show_id(value.last_id), *_entries(value)]
    assert kind is SortedSet, f"no digest of a {kind.__name__}"
    return [
        b"zset",
        *(part for member, score in sorted(value.scores.items()) for part in (member, format_double(score))),
    ]


def _entries(value: Stream) -> Iterable[bytes]:
    return (part for entry_id, body in value.items() for part in (show_id(entry_id), body))
