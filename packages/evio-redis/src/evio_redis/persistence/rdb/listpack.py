"""Listpacks: the compact encoding of small collections, and of the nodes of lists.

The total size, the number of elements, the elements, 0xFF. An element is its encoding and then the size of that,
written so that it can be read backwards.

https://github.com/antirez/listpack/blob/master/listpack.md
"""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol.numbers import to_int

__all__ = ["HEADER", "element", "integer", "join", "pack", "unpack"]

HEADER = 6
"""Bytes of the size and the number of elements."""

END = b"\xff"
UNKNOWN_COUNT = 0xFFFF
"""The number of elements if it is not less: they are to be counted."""


# -- reading


def unpack(data: bytes) -> list[bytes]:
    """The elements of a listpack. Raises ``ValueError`` and ``IndexError`` for what is none."""
    end = len(data) - 1
    if end < HEADER or int.from_bytes(data[:4], "little") != len(data) or data[-1:] != END:
        raise ValueError("a listpack of another size than it says")
    elements: list[bytes] = []
    at = HEADER
    while at < end:
        value, size = _read(data, at)
        back = _backwards(size)
        at += size
        if data[at : at + len(back)] != back:
            raise ValueError("an element of another size than it says in a listpack")
        at += len(back)
        elements.append(value)
    count = int.from_bytes(data[4:6], "little")
    if at != end or count not in (len(elements), UNKNOWN_COUNT):
        raise ValueError("a listpack of another number of elements than it says")
    return elements


def _read(data: bytes, at: int) -> tuple[bytes, int]:
    """An element, and the size of its encoding."""
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
    return b"%d" % int.from_bytes(data[at + 1 : at + 1 + width], "little", signed=True), 1 + width


# -- writing


def pack(elements: Sequence[bytes]) -> bytes:
    """A listpack of these elements."""
    return join([element(value) for value in elements])


def join(encoded: Sequence[bytes]) -> bytes:
    """A listpack of elements that are encoded already."""
    body = b"".join(encoded)
    count = min(len(encoded), UNKNOWN_COUNT)
    return (HEADER + len(body) + 1).to_bytes(4, "little") + count.to_bytes(2, "little") + body + END


def element(value: bytes) -> bytes:
    """One element, encoded."""
    number = to_int(value)
    if number is not None:
        return integer(number)
    encoded = _string(value)
    return encoded + _backwards(len(encoded))


def integer(number: int) -> bytes:
    """One element that is an integer, encoded."""
    encoded = _integer(number)
    return encoded + _backwards(len(encoded))


def _string(value: bytes) -> bytes:
    size = len(value)
    if size < 64:
        return bytes((0x80 | size,)) + value
    if size < 4096:
        return bytes((0xE0 | size >> 8, size & 0xFF)) + value
    return b"\xf0" + size.to_bytes(4, "little") + value


def _integer(number: int) -> bytes:
    if 0 <= number < 128:
        return bytes((number,))
    if -4096 <= number < 4096:
        return bytes((0xC0 | number >> 8 & 0x1F, number & 0xFF))
    for code, width in ((0xF1, 2), (0xF2, 3), (0xF3, 4)):
        if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
            return bytes((code,)) + number.to_bytes(width, "little", signed=True)
    return b"\xf4" + number.to_bytes(8, "little", signed=True)


def _backwards(size: int) -> bytes:
    """The size of an encoding: 7 bits a byte, which has its highest bit set unless it is the first. Redis goes over to
    another byte one earlier than it must, from two bytes on."""
    if size < 128:
        return bytes((size,))
    width = 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    parts = [size >> 7 * place & 0x7F for place in reversed(range(width))]
    return bytes((parts[0], *(0x80 | part for part in parts[1:])))
