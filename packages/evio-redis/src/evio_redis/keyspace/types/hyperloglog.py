"""HyperLogLog: how many different elements there were, about, in 12 KiB at most.

Operations: add an element, count, merge.
Goals: the same bytes as Redis, as they are a string that clients may read, store and send to a real server.
Complexity: adding O(1), to a sparse one O(its size, 3000 bytes at most unless configured otherwise).

A header of 16 bytes: ``HYLL``, the representation, three unused bytes, the last count in 8 bytes (little endian), whose
highest bit says that it does not hold any more. After it, 16384 registers: the most zeros that a hash of those that
belong there ended in, plus one. Dense, they have 6 bits each. Sparse, they are runs: ``00nnnnnn`` of n+1 zeros,
``01nnnnnn nnnnnnnn`` likewise, ``1vvvvvnn`` of n+1 registers that are v+1.

https://redis.io/docs/latest/commands/pfadd/; the estimate is Ertl's, https://arxiv.org/abs/1702.01284
"""

from __future__ import annotations

import math
from collections.abc import Iterator

__all__ = ["REGISTERS", "Corrupt", "HyperLogLog", "estimate", "patterns"]

HASH_BITS = 14
REGISTERS = 1 << HASH_BITS
PATTERN_BITS = 64 - HASH_BITS
"""Bits of a hash in which zeros are counted."""

HEADER = 16
DENSE_SIZE = HEADER + REGISTERS * 6 // 8
ENCODING, CARDINALITY, STALE = 4, slice(8, 16), 15
"""Places in the header."""

DENSE, SPARSE = 0, 1
EMPTY = b"HYLL" + bytes((SPARSE,)) + bytes(11) + b"\x7f\xff"

SPARSE_MAX_VALUE = 32
SPARSE_MAX_RUN = 4
SHORT_ZEROS = 64
SCANNED = 5
"""Runs that may be merged after a change."""

ALPHA = 0.721347520444481703680
"""0.5 / ln(2)."""

MASK = (1 << 64) - 1
SEED = 0xADC83B19
MULTIPLIER = 0xC6A4A7935BD1E995


class Corrupt(Exception):
    """The runs are not those of 16384 registers."""


def _hash(data: bytes) -> int:
    """MurmurHash64A."""
    hashed = SEED ^ (len(data) * MULTIPLIER & MASK)
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        part = int.from_bytes(data[at : at + 8], "little") * MULTIPLIER & MASK
        part = (part ^ part >> 47) * MULTIPLIER & MASK
        hashed = (hashed ^ part) * MULTIPLIER & MASK
    if len(data) > whole:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    hashed = (hashed ^ hashed >> 47) * MULTIPLIER & MASK
    return hashed ^ hashed >> 47


def patterns(element: bytes) -> tuple[int, int]:
    """The register of an element, and its value at least."""
    hashed = _hash(element)
    rest = hashed >> HASH_BITS | 1 << PATTERN_BITS
    return hashed & REGISTERS - 1, (rest & -rest).bit_length()


# -- the dense registers, 4 in 3 bytes. Whole arrays are taken apart with a byte table for each part of a byte.

_LOW6 = bytes(byte & 63 for byte in range(256))
_HIGH2 = bytes(byte >> 6 for byte in range(256))
_LOW4 = bytes((byte & 15) << 2 for byte in range(256))
_HIGH4 = bytes(byte >> 4 for byte in range(256))
_LOW2 = bytes((byte & 3) << 4 for byte in range(256))
_HIGH6 = bytes(byte >> 2 for byte in range(256))


def _either(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    return (int.from_bytes(one, "little") | int.from_bytes(other, "little")).to_bytes(len(one), "little")


def _unpack(packed: bytes | bytearray) -> bytearray:
    """The registers, a byte each."""
    first, second, third = packed[0::3], packed[1::3], packed[2::3]
    registers = bytearray(REGISTERS)
    registers[0::4] = first.translate(_LOW6)
    registers[1::4] = _either(first.translate(_HIGH2), second.translate(_LOW4))
    registers[2::4] = _either(second.translate(_HIGH4), third.translate(_LOW2))
    registers[3::4] = third.translate(_HIGH6)
    return registers


def estimate(registers: bytes | bytearray) -> int:
    """How many elements these registers are of."""
    histogram = [registers.count(value) for value in range(PATTERN_BITS + 2)]
    z = REGISTERS * _tau((REGISTERS - histogram[PATTERN_BITS + 1]) / REGISTERS)
    for count in reversed(histogram[1 : PATTERN_BITS + 1]):
        z = (z + count) * 0.5
    z += REGISTERS * _sigma(histogram[0] / REGISTERS)
    exact = ALPHA * REGISTERS * REGISTERS / z
    whole = int(exact)
    return whole + (exact - whole >= 0.5)


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z, before = 1.0, x, math.nan
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, math.nan
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) * (1 - x) * y
    return z / 3


class HyperLogLog:
    """One, to be changed; ``data`` are its bytes. Methods raise :class:`Corrupt`."""

    def __init__(self, data: bytes = EMPTY) -> None:
        self.data = bytearray(data)
        self._near = (HEADER, 0)  # a run before the last that was changed, and its first register

    @staticmethod
    def valid(data: bytes) -> bool:
        """Whether this looks like one, as far as Redis looks."""
        if len(data) < HEADER or data[:4] != b"HYLL" or data[ENCODING] > SPARSE:
            return False
        return data[ENCODING] != DENSE or len(data) == DENSE_SIZE

    @property
    def sparse(self) -> bool:
        """Whether it has runs."""
        return self.data[ENCODING] == SPARSE

    # -- counting

    @property
    def counted(self) -> int | None:
        """The last count, if it still holds."""
        count = int.from_bytes(self.data[CARDINALITY], "little")
        return None if count >> 63 else count

    def count(self) -> int:
        """Count, and remember."""
        found = estimate(self.registers())
        self.data[CARDINALITY] = found.to_bytes(8, "little")
        return found

    def invalidate(self) -> None:
        """The last count does not hold any more."""
        self.data[STALE] |= 0x80

    def registers(self) -> bytearray:
        """The registers, a byte each."""
        if not self.sparse:
            return _unpack(self.data[HEADER:])
        registers = bytearray()
        for value, size, _ in self.runs():
            registers += bytes((value,)) * size
            if len(registers) > REGISTERS:
                raise Corrupt
        if len(registers) != REGISTERS:
            raise Corrupt
        return registers

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """The values of a sparse one, how many registers have them, and how many bytes say so."""
        at, data = HEADER, self.data
        while at < len(data):
            width = 2 if 0x40 <= data[at] < 0x80 else 1
            yield (data[at] >> 2 & 0x1F) + 1 if data[at] & 0x80 else 0, self._size(at), width
            at += width

    def _size(self, at: int) -> int:
        """How many registers the run has that begins at ``at``."""
        data, code = self.data, self.data[at]
        if code & 0x80:
            return (code & 3) + 1
        if code < 0x40:
            return code + 1
        return ((code & 0x3F) << 8 | (data[at + 1] if at + 1 < len(data) else 0)) + 1

    # -- changing

    def add(self, element: bytes, sparse_max: int) -> bool:
        """Add an element, whether that changed a register. It gets dense when it would have more than ``sparse_max``
        bytes."""
        return self.raise_to(*patterns(element), sparse_max)

    def raise_to(self, register: int, value: int, sparse_max: int) -> bool:
        """Have a register be so much at least, whether it was less."""
        if not self.sparse:
            return self._raise_dense(register, value)
        if value > SPARSE_MAX_VALUE:
            return self._promote(register, value)
        return self._raise_sparse(register, value, sparse_max)

    def _raise_dense(self, register: int, value: int) -> bool:
        at, shift = HEADER + register * 6 // 8, register * 6 % 8
        both = int.from_bytes(self.data[at : at + 2], "little")
        if both >> shift & 63 >= value:
            return False
        both = both & ~(63 << shift) | value << shift
        width = min(2, DENSE_SIZE - at)
        self.data[at : at + width] = (both & (1 << 8 * width) - 1).to_bytes(width, "little")
        return True

    def to_dense(self) -> None:
        """Have 6 bits for each register, and the last count as it was."""
        registers = self.registers()
        dense = HyperLogLog(bytes(self.data[:ENCODING]) + bytes((DENSE,)) + bytes(self.data[5:HEADER]))
        dense.data += bytes(DENSE_SIZE - HEADER)
        for register, value in enumerate(registers):
            if value:
                dense._raise_dense(register, value)
        self.data = dense.data

    def _promote(self, register: int, value: int) -> bool:
        self.to_dense()
        return self._raise_dense(register, value)

    def _find(self, register: int) -> tuple[int, int, int, int, int]:
        """Where the run is that has a register, its first register, its size, and the same of the run before it."""
        data = self.data
        start, first = self._near
        if register < first or (start > HEADER and register < first + self._size(start)):
            start, first = HEADER, 0
        at, before, before_first, end = start, start, first, len(data)
        while at < end:
            code = data[at]  # this loop takes nearly all the time of a sparse one
            if code & 0x80:
                size, width = (code & 3) + 1, 1
            elif code < 0x40:
                size, width = code + 1, 1
            else:
                size, width = self._size(at), 2
            if register < first + size:
                return at, first, size, before, before_first
            before, before_first = at, first
            at += width
            first += size
        raise Corrupt

    def _raise_sparse(self, register: int, value: int, sparse_max: int) -> bool:
        at, first, size, before, before_first = self._find(register)
        data, code = self.data, self.data[at]
        old = (code >> 2 & 0x1F) + 1 if code & 0x80 else 0
        if old >= value:
            return False
        width = 2 if 0x40 <= code < 0x80 else 1
        new = self._run(old, register - first) + self._run(value, 1) + self._run(old, first + size - 1 - register)
        if len(new) > width and len(data) - width + len(new) > sparse_max:
            return self._promote(register, value)
        data[at : at + width] = new
        self._near = before, before_first
        self._merge(before)
        self.invalidate()
        return True

    @staticmethod
    def _run(value: int, size: int) -> bytes:
        if not size:
            return b""
        if value:
            return bytes((0x80 | value - 1 << 2 | size - 1,))
        return bytes((size - 1,)) if size <= SHORT_ZEROS else bytes((0x40 | size - 1 >> 8, size - 1 & 0xFF))

    def _merge(self, at: int) -> None:
        """Merge runs of the same value, of a few from ``at`` on."""
        data = self.data
        for _ in range(SCANNED):
            if at >= len(data):
                return
            code = data[at]
            if 0x40 <= code < 0x80:
                at += 2
                continue
            if code & 0x80 and at + 1 < len(data) and (data[at + 1] ^ code) & 0xFC == 0:
                size = (code & 3) + 1 + (data[at + 1] & 3) + 1
                if size <= SPARSE_MAX_RUN:
                    data[at : at + 2] = bytes((code & 0xFC | size - 1,))
                    continue
            at += 1
