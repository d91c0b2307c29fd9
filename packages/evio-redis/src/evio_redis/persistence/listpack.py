"""The compact encodings of small collections in RDB files: listpacks, ziplists, intsets, and LZF compression.

https://github.com/antirez/listpack/blob/master/listpack.md; ziplist.c and intset.c in Redis's sources describe theirs.
"""

from __future__ import annotations

import struct

__all__ = ["intset", "listpack", "lzf", "ziplist"]


def _number(data: bytes, at: int, size: int) -> bytes:
    return b"%d" % int.from_bytes(data[at : at + size], "little", signed=True)


def listpack(data: bytes) -> list[bytes]:
    """The elements of a listpack. Raises ``ValueError`` and ``IndexError`` for what is none."""
    elements: list[bytes] = []
    at = 6  # behind the total size and the number of elements
    while data[at] != 0xFF:
        element, size = _listpack_element(data, at)
        elements.append(element)
        at += size + (1 if size < 128 else 2 if size < 16384 else 3 if size < 2097152 else 4 if size < 268435456 else 5)
    return elements


def _listpack_element(data: bytes, at: int) -> tuple[bytes, int]:
    """An element and its size without the length that follows it."""
    first = data[at]
    if first < 0x80:
        return b"%d" % first, 1
    if first < 0xC0:
        size = first & 0x3F
        return data[at + 1 : at + 1 + size], 1 + size
    if first < 0xE0:
        number = (first & 0x1F) << 8 | data[at + 1]
        return b"%d" % (number - 8192 if number >= 4096 else number), 2
    if first < 0xF0:
        size = (first & 0x0F) << 8 | data[at + 1]
        return data[at + 2 : at + 2 + size], 2 + size
    if first == 0xF0:
        size = int.from_bytes(data[at + 1 : at + 5], "little")
        return data[at + 5 : at + 5 + size], 5 + size
    width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}.get(first)
    if width is None:
        raise ValueError(f"unknown element 0x{first:02x} in a listpack")
    return _number(data, at + 1, width), 1 + width


def ziplist(data: bytes) -> list[bytes]:
    """The elements of a ziplist. Raises ``ValueError`` and ``IndexError`` for what is none."""
    elements: list[bytes] = []
    at = 10  # behind the total size, the offset of the tail and the number of elements
    while data[at] != 0xFF:
        at += 5 if data[at] == 0xFE else 1  # the length of the one before
        element, size = _ziplist_element(data, at)
        elements.append(element)
        at += size
    return elements


def _ziplist_element(data: bytes, at: int) -> tuple[bytes, int]:
    first = data[at]
    if first < 0x40:
        return data[at + 1 : at + 1 + first], 1 + first
    if first < 0x80:
        size = (first & 0x3F) << 8 | data[at + 1]
        return data[at + 2 : at + 2 + size], 2 + size
    if first < 0xC0:
        size = int.from_bytes(data[at + 1 : at + 5], "big")
        return data[at + 5 : at + 5 + size], 5 + size
    width = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}.get(first)
    if width is not None:
        return _number(data, at + 1, width), 1 + width
    if 0xF1 <= first <= 0xFD:
        return b"%d" % ((first & 0x0F) - 1), 1
    raise ValueError(f"unknown element 0x{first:02x} in a ziplist")


def intset(data: bytes) -> list[bytes]:
    """The members of an intset. Raises ``ValueError`` for what is none."""
    width, count = struct.unpack_from("<II", data)
    if width not in (2, 4, 8) or len(data) != 8 + width * count:
        raise ValueError("not an intset")
    return [_number(data, at, width) for at in range(8, len(data), width)]


def lzf(data: bytes, size: int) -> bytes:
    """Decompress LZF (liblzf). Raises ``ValueError`` and ``IndexError`` for what does not give ``size`` bytes."""
    result = bytearray()
    at = 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            result += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        start = len(result) - ((control & 0x1F) << 8) - data[at] - 1
        at += 1
        if start < 0:
            raise ValueError("LZF refers to what is before the beginning")
        for position in range(start, start + length + 2):  # it may overlap with what it makes
            result.append(result[position])
    if len(result) != size:
        raise ValueError("LZF of another length than announced")
    return bytes(result)
