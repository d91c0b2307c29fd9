"""Range requests: what a Range field asks for, and how several ranges are framed (RFC 9110 section 14)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

__all__ = ["MAX_RANGES", "Multipart", "content_range", "multipart", "parse_range", "unsatisfied_range"]

MAX_RANGES = 100
"""More in one field, and the field is ignored: RFC 9110 section 17.15. A document viewer that reads a file
in pieces asks for some dozens."""

_INT_RANGE = re.compile(r"([0-9]+)-([0-9]*)")
_SUFFIX_RANGE = re.compile(r"-([0-9]+)")
_ENORMOUS = 1 << 63  # no file is longer; and int() of thousands of digits is slow or refused
_BOUNDARY = secrets.token_hex(16)  # 128 random bits: no file has them


def parse_range(header: str, size: int) -> list[tuple[int, int]] | None:
    """The ranges of a representation of ``size`` bytes that a Range field asks for, as (start, stop) with stop
    exclusive, in the order in which they were asked for.

    None: the field is to be ignored and the whole sent, because its unit is not "bytes", it is malformed
    (section 14.1.1) or asks for more than ``MAX_RANGES``. An empty list: nothing it asks for exists, 416.

    Ranges that overlap or touch become one, at the place of the first of them (section 15.3.7.2), so that no
    request makes the server send more than the file is long.
    """
    unit, separator, range_set = header.partition("=")
    if not separator or unit.strip(" \t").lower() != "bytes":
        return None
    specs = [spec for text in range_set.split(",") if (spec := text.strip(" \t"))]
    if not 1 <= len(specs) <= MAX_RANGES:
        return None
    found: list[tuple[int, int]] = []
    for spec in specs:
        bounds = _bounds(spec, size)
        if bounds is None:
            return None
        start, stop = bounds
        if start < stop:
            found.append(bounds)
        elif start == stop == size == 0:
            # "The last N bytes" of nothing can be satisfied (section 14.1.2), but Content-Range cannot say so.
            return None
    return _coalesced(found)


def _bounds(spec: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of a range-spec; empty, with start above stop, when unsatisfiable; None when malformed."""
    if found := _SUFFIX_RANGE.fullmatch(spec):
        length = _number(found[1])
        return (max(size - length, 0), size) if length else (1, 0)
    if not (found := _INT_RANGE.fullmatch(spec)):
        return None
    first = _number(found[1])
    last = _number(found[2]) if found[2] else _ENORMOUS
    if last < first:
        return None
    return (first, min(last + 1, size)) if first < size else (1, 0)


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return min(int(digits or "0"), _ENORMOUS) if len(digits) < 20 else _ENORMOUS


def _coalesced(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int, int]] = []  # place, start, stop
    for (start, stop), place in sorted(zip(ranges, range(len(ranges)), strict=True)):
        if merged and start <= merged[-1][2]:
            before = merged.pop()
            merged.append((min(before[0], place), before[1], max(before[2], stop)))
        else:
            merged.append((place, start, stop))
    return [(start, stop) for _, start, stop in sorted(merged)]


def content_range(start: int, stop: int, size: int) -> str:
    """The Content-Range of a part, stop exclusive (RFC 9110 section 14.4)."""
    return f"bytes {start}-{stop - 1}/{size}"


def unsatisfied_range(size: int) -> str:
    """The Content-Range of a 416."""
    return f"bytes */{size}"


@dataclass(frozen=True, slots=True)
class Multipart:
    """The frame of a multipart/byteranges body: each of ``heads`` goes before the part of its range, ``tail``
    after the last; ``length`` is the Content-Length of it all."""

    content_type: str
    heads: list[bytes]
    tail: bytes
    length: int


def multipart(ranges: list[tuple[int, int]], size: int, content_type: str) -> Multipart:
    """Frame several ranges (RFC 9110 section 14.6) of a representation of ``size`` bytes with this Content-Type."""
    heads = [
        (
            f"\r\n--{_BOUNDARY}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {content_range(start, stop, size)}\r\n\r\n"
        ).encode("latin-1")
        for start, stop in ranges
    ]
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
    length = sum(map(len, heads)) + sum(stop - start for start, stop in ranges) + len(tail)
    return Multipart(f"multipart/byteranges; boundary={_BOUNDARY}", heads, tail, length)
