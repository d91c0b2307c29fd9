"""Commands of a pipeline that differ in nothing but their last argument, which has one length in all of them:
``GET key:0001``, ``GET key:0002`` and so on. They are taken apart by splitting at what they have in common, for a third
of what parsing costs.

It is as strict as the parser: what they have in common has been parsed, and an argument of the length that was
announced is what the parser would take, whatever is in it.
"""

from __future__ import annotations

from ..protocol.parser import Parser

__all__ = ["LEAST", "alike"]

LEAST = 128
"""Bytes of a chunk from which it may be several commands."""

FIRST = 512
"""Bytes within which the second command has to begin."""

KNOWN = 1024
"""Beginnings that are remembered; when there are more, all are forgotten."""

_known: dict[bytes, list[bytes]] = {}
"""All arguments but the last, by the bytes in front of that."""


def alike(chunk: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """The arguments that the commands in a chunk have in common, and the last ones; None if they are not alike."""
    end = chunk.find(b"\r\n*", 4, FIRST)
    begin = chunk.rfind(b"\r\n", 0, end) + 2
    head = chunk[:begin]
    if end < 0 or not chunk.startswith(head, end + 2) or not chunk.endswith(b"\r\n"):
        return None
    last = chunk[begin:-2].split(b"\r\n" + head)
    if set(map(len, last)) != {end - begin}:
        return None
    common = _known.get(head)
    if common is None:
        common = _common(head, last[0])
    return (common, last) if common else None


def _common(head: bytes, last: bytes) -> list[bytes]:
    """The arguments in ``head``, which it announces one more behind; none if it is no such thing."""
    parser = Parser()
    commands = parser.parse(head + last + b"\r\n")
    if len(commands) != 1 or not parser.empty or commands[0][-1] != last or not head.startswith(b"*"):
        return []
    if len(_known) >= KNOWN:
        _known.clear()
    _known[head] = common = commands[0][:-1]
    return common
