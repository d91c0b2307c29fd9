"""Lengths and strings, of which everything in RDB is made.

https://rdb.fnordig.de/file_format.html#length-encoding
"""

from __future__ import annotations

import mmap
import struct

from ...protocol.numbers import to_int
from . import lzf

__all__ = ["MALFORMED", "Reader", "compressed", "length", "string", "why"]

MALFORMED = (ValueError, IndexError, struct.error)
"""Errors of reading for what was not written by Redis."""

TOO_EARLY = "it ends too early"


def why(error: Exception) -> str:
    """Return what is wrong, as one of ``MALFORMED`` says it: those that are no ``ValueError`` come of bytes that are
    missing within a value."""
    return str(error) if isinstance(error, ValueError) else TOO_EARLY


class Reader:
    """The bytes and where we are in them."""

    def __init__(self, data: bytes | mmap.mmap, at: int = 0) -> None:
        self.data = data
        self.at: int = at

    def take(self, size: int) -> bytes:
        """The next bytes. Raises ``ValueError`` if there are not so many."""
        part = self.data[self.at : self.at + size]
        if len(part) < size:
            raise ValueError(TOO_EARLY)
        self.at += size
        return part

    def byte(self) -> int:
        """The next one."""
        return self.take(1)[0]

    def length(self) -> int:
        """A length. Raises ``ValueError`` for what is none."""
        size, special = self._length()
        if special:
            raise ValueError("expected a length")
        return size

    def _length(self) -> tuple[int, bool]:
        first = self.byte()
        kind = first >> 6
        if kind == 0:
            return first & 0x3F, False
        if kind == 1:
            return (first & 0x3F) << 8 | self.byte(), False
        if kind == 3:
            return first & 0x3F, True
        if first not in (0x80, 0x81):
            raise ValueError("unknown kind of length")
        return int.from_bytes(self.take(4 if first == 0x80 else 8), "big"), False

    def string(self) -> bytes:
        """A string. Raises ``ValueError`` and ``IndexError`` for what is none."""
        size, special = self._length()
        if not special:
            return self.take(size)
        if size < 3:
            return b"%d" % int.from_bytes(self.take(1 << size), "little", signed=True)
        if size == 3:
            compressed, plain = self.length(), self.length()
            return lzf.decompress(self.take(compressed), plain)
        raise ValueError("unknown kind of string")

    def strings(self, count: int) -> list[bytes]:
        """So many of them."""
        return [self.string() for _ in range(count)]


# -- writing


def length(size: int) -> bytes:
    """A length, encoded."""
    if size < 1 << 6:
        return bytes((size,))
    if size < 1 << 14:
        return bytes((0x40 | size >> 8, size & 0xFF))
    return b"\x80" + size.to_bytes(4, "big") if size < 1 << 32 else b"\x81" + size.to_bytes(8, "big")


def string(value: bytes) -> bytes:
    """A string, encoded, as it is."""
    number = to_int(value) if len(value) <= 11 else None
    if number is not None:
        for special, width in ((0xC0, 1), (0xC1, 2), (0xC2, 4)):
            if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
                return bytes((special,)) + number.to_bytes(width, "little", signed=True)
    return length(len(value)) + value


def compressed(value: bytes) -> bytes:
    """The same, compressed if it gets shorter."""
    shorter = lzf.compress(value)
    return string(value) if shorter is None else b"\xc3" + length(len(shorter)) + length(len(value)) + shorter
