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
import struct
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from .strings import raw

__all__ = ["NEW", "REGISTERS", "Corrupt", "HyperLogLog", "Sketches", "estimate", "highest", "patterns"]

HASH_BITS = 14
REGISTERS = 1 << HASH_BITS
LAST_REGISTER = REGISTERS - 1
PATTERN_BITS = 64 - HASH_BITS
"""Bits of a hash in which zeros are counted."""

ALL_ZEROS = 1 << PATTERN_BITS
"""A bit behind these: it ends the zeros."""

HEADER = 16
DENSE_SIZE = HEADER + REGISTERS * 6 // 8
ENCODING, CARDINALITY, STALE = 4, slice(8, 16), 15
"""Places in the header."""

DENSE, SPARSE = 0, 1
EMPTY = b"HYLL" + bytes((SPARSE,)) + bytes(11) + b"\x7f\xff"
NEW = raw(EMPTY[:STALE] + b"\x80" + EMPTY[STALE + 1 :])
"""One without elements, whose count does not hold."""

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
    size = len(data)
    if size < 16:
        hashed, number = _SEEDS[size], _from_bytes(data, "little")
        if size >= 8:
            part = number * MULTIPLIER & MASK
            # Not masked in between: what is above 64 bits stays above them, and is masked at the end.
            hashed = (hashed ^ (part ^ part >> 47) * MULTIPLIER) * MULTIPLIER
            number >>= 64
        if size & 7:
            hashed = (hashed ^ number) * MULTIPLIER
        hashed &= MASK
    else:
        hashed = SEED ^ (size * MULTIPLIER & MASK)
        whole = size & ~7
        for (word,) in _WORDS(data[:whole]):
            part = word * MULTIPLIER & MASK
            hashed = (hashed ^ (part ^ part >> 47) * MULTIPLIER) * MULTIPLIER & MASK
        if size > whole:
            hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    hashed = (hashed ^ hashed >> 47) * MULTIPLIER & MASK
    return hashed ^ hashed >> 47


_from_bytes = int.from_bytes
_WORDS = struct.Struct("<Q").iter_unpack
_SEEDS = [SEED ^ (size * MULTIPLIER & MASK) for size in range(16)]


LOW_BITS = (1 << HASH_BITS + 8) - 1
"""Bits of a hash that say the register, and with 8 more nearly always how many zeros follow: small numbers are fast."""

_RANKS = [(number & -number).bit_length() for number in range(256)]
"""The zeros that a byte ends in, plus one; 0 if it is nothing else."""

KNOWN = 256
"""Values that are remembered for the next change: some 24 KiB each at most, a dense one and what is stored of it."""

WORTH_UNPACKING = 256
"""Changes from which it pays to take all registers apart."""

WORTH_LANES = 16
"""Elements of the same length from which it pays to hash them all at once."""


def _hash_all(elements: list[bytes]) -> list[int]:
    """MurmurHash64A of each, in order.

    Elements of the same length are hashed at once: an integer has a lane of 128 bits for each, of which the upper half
    is 0, so that a product, or what a shift brings in from the next lane, stays out of the lower half."""
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for at, element in enumerate(elements):
        by_length[len(element)].append(at)
    found = [0] * len(elements)
    for length, places in by_length.items():
        group = [elements[at] for at in places]
        hashes = _hash_lanes(group, length) if len(group) >= WORTH_LANES else map(_hash, group)
        for at, hashed in zip(places, hashes, strict=True):
            found[at] = hashed
    return found


def _hash_lanes(group: list[bytes], length: int) -> tuple[int, ...]:
    ones = int.from_bytes((b"\xff" * 8 + bytes(8)) * len(group), "little")

    def lanes(begin: int, end: int) -> int:
        return int.from_bytes(bytes(16 - end + begin).join([element[begin:end] for element in group]), "little")

    each = (SEED ^ (length * MULTIPLIER & MASK)).to_bytes(16, "little")
    hashed = int.from_bytes(each * len(group), "little")
    whole = length & ~7
    for at in range(0, whole, 8):
        part = lanes(at, at + 8) * MULTIPLIER & ones
        part = ((part ^ part >> 47) & ones) * MULTIPLIER & ones
        hashed = (hashed ^ part) * MULTIPLIER & ones
    if length > whole:
        hashed = (hashed ^ lanes(whole, length)) * MULTIPLIER & ones
    hashed = ((hashed ^ hashed >> 47) & ones) * MULTIPLIER & ones
    hashed = (hashed ^ hashed >> 47) & ones
    return struct.unpack(f"<{2 * len(group)}Q", hashed.to_bytes(16 * len(group), "little"))[::2]


def patterns(elements: list[bytes]) -> list[tuple[int, int]]:
    """The register of each element, and its value at least."""
    hashes = _hash_all(elements) if len(elements) >= WORTH_LANES else map(_hash, elements)
    found = []
    for hashed in hashes:
        low = hashed & LOW_BITS
        rank = _RANKS[low >> HASH_BITS]
        if not rank:
            rest = hashed >> HASH_BITS | ALL_ZEROS
            rank = (rest & -rest).bit_length()
        found.append((low & LAST_REGISTER, rank))
    return found


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


_UP6 = bytes((byte & 3) << 6 for byte in range(256))
_DOWN2 = bytes(byte >> 2 for byte in range(256))
_UP4 = bytes((byte & 15) << 4 for byte in range(256))
_DOWN4 = bytes(byte >> 4 for byte in range(256))
_UP2 = bytes((byte & 63) << 2 for byte in range(256))


def _pack(registers: bytearray) -> bytearray:
    """The opposite."""
    first, second, third, fourth = (registers[at::4] for at in range(4))
    packed = bytearray(DENSE_SIZE - HEADER)
    packed[0::3] = _either(first, second.translate(_UP6))
    packed[1::3] = _either(second.translate(_DOWN2), third.translate(_UP4))
    packed[2::3] = _either(third.translate(_DOWN4), fourth.translate(_UP2))
    return packed


_TOP = int.from_bytes(b"\x80" * REGISTERS, "little")
_LOWEST = _TOP >> 7


def highest(one: bytearray, other: bytearray) -> bytearray:
    """The higher one of each two registers, a byte each. All at once: the highest bit of a byte is free, and stays set
    in a difference that is not below zero."""
    first, second = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    not_less = ((first | _TOP) - second & _TOP) >> 7
    chosen = (not_less << 8) - not_less  # all bits of the bytes in which the first is not less
    return bytearray((second ^ ((first ^ second) & chosen)).to_bytes(REGISTERS, "little"))


def estimate(registers: bytes | bytearray) -> int:
    """Estimate the number of elements from their registers."""
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
    """One, to be changed; ``data`` are its bytes, ``stored`` what was last stored of them. Methods raise
    :class:`Corrupt`, after which it is of no more use.

    A sparse one that was changed has an index, so that another element does not cost a walk over the runs: for each
    byte behind the header the first register of its run, so a run of two bytes has two equal ones, and at the end the
    register behind all runs."""

    __slots__ = ("_firsts", "data", "stored")

    def __init__(self, data: bytes = EMPTY) -> None:
        self.data: bytearray = bytearray(data)
        self.stored: bytes = data
        self._firsts: array[int] | None = None

    def store(self) -> bytes:
        """The bytes, as they are kept."""
        stored = self.stored = raw(bytes(self.data))
        return stored

    @staticmethod
    def valid(data: bytes) -> bool:
        """Tell whether this looks like one, as far as Redis looks."""
        if len(data) < HEADER or data[:4] != b"HYLL" or data[ENCODING] > SPARSE:
            return False
        return data[ENCODING] != DENSE or len(data) == DENSE_SIZE

    @property
    def sparse(self) -> bool:
        """True if it has runs."""
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
        """Return the number of registers of the run that begins at ``at``."""
        data, code = self.data, self.data[at]
        if code & 0x80:
            return (code & 3) + 1
        if code < 0x40:
            return code + 1
        return ((code & 0x3F) << 8 | (data[at + 1] if at + 1 < len(data) else 0)) + 1

    # -- changing

    def add(self, elements: list[bytes], sparse_max: int) -> int:
        """Add elements; returns how many of them changed a register. It gets dense when it would have more than
        ``sparse_max`` bytes."""
        updated = self.raise_all(patterns(elements), sparse_max)
        if updated:
            self.data[STALE] |= 0x80  # as ``invalidate`` does
        return updated

    def raise_all(self, values: list[tuple[int, int]], sparse_max: int) -> int:
        """Have each of these registers be so much at least, in order; returns how many were less."""
        if self.data[ENCODING] == DENSE:
            return self._raise_all_dense(values)
        if len(values) >= WORTH_UNPACKING and (raised := self._raise_and_promote(values, sparse_max)):
            return raised
        data, firsts, zeros, updated = self.data, self._firsts, _ZEROS, 0
        if firsts is None:
            firsts = self._firsts = _index(data[HEADER:], 0)
        for register, value in values:
            behind = bisect_right(firsts, register)
            if behind == len(firsts):
                raise Corrupt
            first, after, end = firsts[behind - 1], register + 1, HEADER + behind
            left, right = register - first, firsts[behind] - after
            long = left + right >= SHORT_ZEROS  # only zeros are so many, in two bytes
            if (
                left
                and right
                and (firsts[behind - 2] == first) is long
                and (long or data[end - 1] < 0x40)
                and value <= SPARSE_MAX_VALUE
                and (end + 1 >= len(data) or data[end + 1] < 0x80 or data[end] ^ data[end + 1] > 3)
            ):
                # It is a run of zeros that becomes three runs, with nothing around them to merge: nearly always.
                width = 2 if long else 1
                runs = (
                    (zeros[left] if left < TABLE else _zeros(left))
                    + _ONES[value]
                    + (zeros[right] if right < TABLE else _zeros(right))
                )
                if len(data) + len(runs) - width > sparse_max:
                    break
                data[end - width : end] = runs
                if long and left <= SHORT_ZEROS:
                    behind -= 1
                    del firsts[behind]
                firsts.insert(behind, register)
                firsts.insert(behind + 1, after)
                if right > SHORT_ZEROS:
                    firsts.insert(behind + 2, after)
            else:
                width = 2 if firsts[behind - 2] == first else 1
                code = data[end - width]
                if code & 0x80 and (code >> 2 & 0x1F) + 1 >= value:
                    continue
                if not self._split(firsts, behind - width, behind, register, value, sparse_max):
                    break
            updated += 1
        else:
            return updated
        self.to_dense()
        return updated + self._raise_all_dense(values)

    def _split(self, firsts: array[int], begin: int, behind: int, register: int, value: int, sparse_max: int) -> bool:
        """Raise a register of the run whose bytes these are, and merge the runs around it. Returns False if the value
        is too large, and if there is no room."""
        data = self.data
        code, width = data[HEADER + begin], behind - begin
        old = (code >> 2 & 0x1F) + 1 if code & 0x80 else 0
        if value > SPARSE_MAX_VALUE:
            return False
        new = _run(old, register - firsts[begin]) + _run(value, 1) + _run(old, firsts[behind] - register - 1)
        if len(new) > width and len(data) + len(new) - width > sparse_max:
            return False
        low, high = begin, min(len(firsts) - 1, behind + 2 * SCANNED)
        if low:
            low -= 2 if firsts[low - 2] == firsts[low - 1] else 1
        if firsts[high - 1] == firsts[high]:
            high += 1  # it is the second byte of a run
        near = data[HEADER + low : HEADER + begin] + new + data[HEADER + behind : HEADER + high]
        _merge(near)
        data[HEADER + low : HEADER + high] = near
        firsts[low:high] = _index(near, firsts[low])[:-1]
        return True

    def _raise_and_promote(self, values: list[tuple[int, int]], sparse_max: int) -> int:
        """Do the same to a sparse one if these values make it dense, in whatever order: it would have more runs than it
        may have bytes. Returns 0, and changes nothing, if that is not certain."""
        try:
            registers = self.registers()
        except Corrupt:
            return 0
        updated = _raise(registers, values)
        number = int.from_bytes(registers, "little")
        changes = (number ^ number >> 8).to_bytes(REGISTERS, "little")
        if HEADER + REGISTERS - changes.count(0) <= sparse_max:
            return 0
        self.invalidate()
        self.set_dense(registers)
        return updated

    def _raise_all_dense(self, values: list[tuple[int, int]]) -> int:
        data, updated = self.data, 0
        if len(values) >= WORTH_UNPACKING:
            registers = _unpack(data[HEADER:])
            updated = _raise(registers, values)
            data[HEADER:] = _pack(registers)
            return updated
        for register, value in values:
            bit = register * 6
            at, shift = HEADER + (bit >> 3), bit & 7
            both = data[at] | data[at + 1] << 8 if shift > 2 else data[at]  # else it ends in this byte
            if both >> shift & 63 < value:
                both = both & ~(63 << shift) | value << shift
                data[at] = both & 255
                if shift > 2:
                    data[at + 1] = both >> 8
                updated += 1
        return updated

    def to_dense(self) -> None:
        """Have 6 bits for each register, and the last count as it was."""
        self.set_dense(self.registers())

    def set_dense(self, registers: bytearray) -> None:
        """Have these registers, a byte each, in 6 bits each."""
        self.data[HEADER:] = _pack(registers)
        self.data[ENCODING] = DENSE
        self._firsts = None


def _raise(registers: bytearray, values: list[tuple[int, int]]) -> int:
    updated = 0
    for register, value in values:
        if registers[register] < value:
            registers[register] = value
            updated += 1
    return updated


def _run(value: int, size: int) -> bytes:
    if not size:
        return b""
    return bytes((0x80 | value - 1 << 2 | size - 1,)) if value else _zeros(size)


def _index(runs: bytes | bytearray, first: int) -> array[int]:
    """Return the first register of the run of each byte, the first of them given, and the register behind them."""
    firsts, at, end = array("H"), 0, len(runs)
    while at < end:
        code, place = runs[at], min(first, HIGHEST)
        firsts.append(place)
        at += 1
        if code & 0x80:
            first += (code & 3) + 1
        elif code < 0x40:
            first += code + 1
        else:
            first += ((code & 0x3F) << 8) + 1
            if at < end:
                first += runs[at]
                firsts.append(place)
                at += 1
    firsts.append(min(first, HIGHEST))
    return firsts


HIGHEST = (1 << 16) - 1
"""Of the numbers in an index. Those from ``REGISTERS`` on stand for nothing that is looked for."""


def _merge(near: bytearray) -> int:
    """Merge runs of the same value, of a few from the first on; returns how many bytes less there are."""
    at = merged = 0
    for _ in range(SCANNED):
        if at >= len(near):
            break
        code = near[at]
        if 0x40 <= code < 0x80:
            at += 2
            continue
        if code & 0x80 and at + 1 < len(near) and (near[at + 1] ^ code) & 0xFC == 0:
            size = (code & 3) + 1 + (near[at + 1] & 3) + 1
            if size <= SPARSE_MAX_RUN:
                near[at : at + 2] = bytes((code & 0xFC | size - 1,))
                merged += 1
                continue
        at += 1
    return merged


class Sketches(dict[bytes, HyperLogLog]):
    """The values that were changed last, by key, each with its index. Clients may replace a value at any time, so it
    holds only as long as the very object that was ``stored`` is there."""

    __slots__ = ()

    def take(self, key: bytes, data: bytes) -> HyperLogLog:
        """The value of a key, which was not changed lately, to be changed."""
        value = self[key] = HyperLogLog(data)
        if len(self) > KNOWN:
            del self[next(iter(self))]
        return value


def _zeros(size: int) -> bytes:
    return bytes((size - 1,)) if size <= SHORT_ZEROS else (0x3FFF + size).to_bytes(2, "big")


TABLE = 1024
"""Registers of the shortest run of zeros that is made each time."""

_ZEROS = [b"", *map(_zeros, range(1, TABLE))]
"""Runs of so many zeros: to look one up is faster than to make it."""

_ONES = [b"", *(bytes((0x80 | value - 1 << 2,)) for value in range(1, SPARSE_MAX_VALUE + 1))]
"""Runs of one register that has this value, likewise."""
