"""Glob-style patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET know them.

``*``, ``?``, ``[abc]``, ``[^a-z]``, and a backslash before what is meant literally
(https://redis.io/docs/latest/commands/keys/).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["matcher"]

MOST_ASTERISKS = 1000
"""The limit that Redis follows: a pattern of more, but for the one at its end, matches nothing."""


@lru_cache(maxsize=1024)
def matcher(pattern: bytes, nocase: bool = False) -> Callable[[bytes], object]:
    """A function that is true for what the whole pattern matches, with ``nocase`` in upper or lower case."""
    if pattern == b"*":
        return lambda text: True
    return re.compile(_translate(pattern), re.DOTALL | (re.IGNORECASE if nocase else 0)).fullmatch


def _translate(pattern: bytes) -> bytes:
    """A regular expression that never tries again: where what is between two asterisks is found first, there it may
    stay, as all of it but the asterisks has a fixed length. (A plain ``.*`` for each would take exponential time.)"""
    pieces: list[list[bytes]] = [[]]
    at, size = 0, len(pattern)
    while at < size:
        char = pattern[at : at + 1]
        at += 1
        parts = pieces[-1]
        if char == b"*":
            if parts or len(pieces) == 1:
                pieces.append([])
        elif char == b"?":
            parts.append(b".")
        elif char == b"[":
            at = _translate_class(pattern, at, parts)
        else:
            if char == b"\\" and at < size:
                char = pattern[at : at + 1]
                at += 1
            parts.append(re.escape(char))
    first, *others = map(b"".join, pieces)
    if not others:
        return first
    if len(others) - (not others[-1]) > MOST_ASTERISKS:
        return b"(?!)"
    return first + b"".join(b"(?>.*?%b)" % each for each in others[:-1]) + b".*" + others[-1]


def _translate_class(pattern: bytes, at: int, parts: list[bytes]) -> int:
    """Translate what follows a ``[``; returns where it ends. One that is never closed ends with the pattern."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != ord("]"):
        if pattern[at] == ord("\\") and at + 1 < len(pattern):
            members.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    if members:
        parts.append(b"[%b%b]" % (b"^" if negated else b"", b"".join(re.escape(bytes([each])) for each in members)))
    else:
        parts.append(b"." if negated else b"(?!)")
    return at + 1
