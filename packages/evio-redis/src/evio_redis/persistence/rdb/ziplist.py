"""Reading what older Redis had for small collections: ziplists (up to 6.2) and zipmaps (up to 2.4).

``ziplist.c`` and ``zipmap.c`` in Redis's sources describe them.
"""

from __future__ import annotations

import struct

__all__ = ["unpack", "unpack_zipmap"]

END = 0xFF
HEADER = struct.Struct("<IIH")
"""The total size, the offset of the last element, the number of elements."""

UNKNOWN_COUNT = 0xFFFF


def unpack(data: bytes) -> list[bytes]:
    """The elements of a ziplist. Raises ``ValueError``, ``IndexError`` and ``struct.error`` for what is none."""
    total, tail, count = HEADER.unpack_from(data)
    if total != len(data) or data[-1] != END:
        raise ValueError("a ziplist of another size than it says")
    elements: list[bytes] = []
    at = last = HEADER.size
    previous = 0
    while at < total - 1:
        start = at
        size = data[at]
        at += 1
        if size == 0xFE:
            size = int.from_bytes(data[at : at + 4], "little")
            at += 4
        if size != previous:
            raise ValueError("an element of another size than it says in a ziplist")
        element, size = _read(data, at)
        elements.append(element)
        at += size
        previous, last = at - start, start
    if at != total - 1 or tail != last or count not in (len(elements), UNKNOWN_COUNT):
        raise ValueError("a ziplist of another number of elements than it says")
    return elements


def _read(data: bytes, at: int) -> tuple[bytes, int]:
    """An element, and the size of its encoding."""
    first = data[at]
    if first < 0x40:
        return data[at + 1 : at + 1 + first], 1 + first
    if first < 0x80:
        size = (first & 0x3F) << 8 | data[at + 1]
        return data[at + 2 : at + 2 + size], 2 + size
    if first == 0x80:
        size = int.from_bytes(data[at + 1 : at + 5], "big")
        return data[at + 5 : at + 5 + size], 5 + size
    width = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}.get(first)
    if width is not None:
        return b"%d" % int.from_bytes(data[at + 1 : at + 1 + width], "little", signed=True), 1 + width
    if 0xF1 <= first <= 0xFD:
        return b"%d" % ((first & 0x0F) - 1), 1
    raise ValueError(f"unknown element 0x{first:02x} in a ziplist")


def unpack_zipmap(data: bytes) -> list[bytes]:
    """The fields and values of a zipmap in turn. Raises ``ValueError`` and ``IndexError`` for what is none."""
    parts: list[bytes] = []
    at = 1  # behind the number of pairs
    while data[at] != END:
        for unused in (0, 1):  # behind a value's length is the number of unused bytes after it
            size = data[at]
            at += 1
            if size == 0xFE:
                size = int.from_bytes(data[at : at + 4], "little")
                at += 4
            free = data[at] if unused else 0
            at += unused
            parts.append(data[at : at + size])
            at += size + free
    if at != len(data) - 1 or (data[0] < 0xFE and data[0] != len(parts) // 2):
        raise ValueError("a zipmap of another size than it says")
    return parts
