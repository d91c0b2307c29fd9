"""Intsets: sets of integers, as the width of each, their number, and all of them in order.

``intset.c`` in Redis's sources.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise

__all__ = ["pack", "unpack"]

FORMATS = {2: "h", 4: "i", 8: "q"}


def unpack(data: bytes) -> list[bytes]:
    """The members of an intset. Raises ``ValueError`` and ``struct.error`` for what is none."""
    width, count = struct.unpack_from("<II", data)
    if width not in FORMATS or len(data) != 8 + width * count:
        raise ValueError("an intset of another size than it says")
    numbers = struct.unpack_from(f"<{count}{FORMATS[width]}", data, 8)
    if any(one >= other for one, other in pairwise(numbers)):
        raise ValueError("an intset that is not in order")
    return [b"%d" % number for number in numbers]


def pack(members: Iterable[bytes]) -> bytes:
    """An intset of these integers, of which there is at least one."""
    numbers = sorted(map(int, members))
    width = next(width for width in FORMATS if -(1 << 8 * width - 1) <= numbers[0] and numbers[-1] < 1 << 8 * width - 1)
    return struct.pack(f"<II{len(numbers)}{FORMATS[width]}", width, len(numbers), *numbers)
