"""IDs of stream entries: milliseconds and a sequence number, 64 bits each, kept as one integer of 128 bits.

As one integer they compare as Redis orders them, and the next and the previous ID are one more and one less.

https://redis.io/docs/latest/develop/data-types/streams/#entry-ids
"""

from __future__ import annotations

import re

from ...errors import CommandError

__all__ = [
    "INVALID_ID",
    "LAST",
    "SEQUENCE",
    "interval",
    "parse_id",
    "parse_lenient_id",
    "parse_partial_id",
    "show_id",
    "to_id",
]

SEQUENCE = 2**64 - 1
"""The highest sequence number, and the bits of an ID that hold it."""

LAST = 2**128 - 1
"""The highest ID."""

INVALID_ID = "ERR Invalid stream ID specified as stream command argument"

LONGEST = 127
"""Bytes of the longest text that is looked at."""

_USUAL = re.compile(rb"(\d{1,19})-(\d{1,19})", re.ASCII).fullmatch
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*\+?\d+", re.ASCII).fullmatch  # what strtoull(3) takes


def show_id(entry_id: int) -> bytes:
    """An ID as it is written, ``b"1700000000000-0"``."""
    return b"%d-%d" % (entry_id >> 64, entry_id & SEQUENCE)


def to_id(text: bytes, sequence: int = 0) -> int | None:
    """The ID that a text says, or None. A text of milliseconds alone has the given sequence number."""
    usual = _USUAL(text)
    if usual is not None:
        return int(usual[1]) << 64 | int(usual[2])
    milliseconds, dash, rest = text.partition(b"-")
    first = _number(milliseconds)
    second = _number(rest) if dash else sequence
    if first is None or second is None or len(text) > LONGEST:
        return None
    return first << 64 | second


def _number(text: bytes) -> int | None:
    if len(text) > LONGEST or _NUMBER(text) is None:
        return None
    number = int(text)
    return number if number <= SEQUENCE else None


def parse_id(text: bytes, sequence: int = 0) -> int:
    """The same. Raises :class:`CommandError`."""
    found = to_id(text, sequence)
    if found is None:
        raise CommandError(INVALID_ID)
    return found


def parse_lenient_id(text: bytes, sequence: int = 0) -> int:
    """The same, or ``-`` and ``+`` for the lowest and the highest ID."""
    if text == b"-":
        return 0
    if text == b"+":
        return LAST
    return parse_id(text, sequence)


def parse_partial_id(text: bytes) -> tuple[int, bool]:
    """The ID that XADD is given, and whether its sequence number is: ``5-*`` leaves that to the server. Raises
    :class:`CommandError`."""
    if text.endswith(b"-*"):
        milliseconds = _number(text[:-2])
        if milliseconds is None:
            raise CommandError(INVALID_ID)
        return milliseconds << 64, False
    return parse_id(text), True


def interval(start: bytes, stop: bytes) -> tuple[int, int]:
    """The first and the last ID of a range: an ID, ``-`` and ``+`` for the lowest and the highest, after ``(`` the one
    next to it. Raises :class:`CommandError`."""
    first, first_excluded = _bound(start, 0)
    last, last_excluded = _bound(stop, SEQUENCE)
    if first_excluded:
        if first == LAST:
            raise CommandError("ERR invalid start ID for the interval")
        first += 1
    if last_excluded:
        if last == 0:
            raise CommandError("ERR invalid end ID for the interval")
        last -= 1
    return first, last


def _bound(text: bytes, sequence: int) -> tuple[int, bool]:
    if text.startswith(b"("):
        return parse_id(text[1:], sequence), True
    return parse_lenient_id(text, sequence), False
