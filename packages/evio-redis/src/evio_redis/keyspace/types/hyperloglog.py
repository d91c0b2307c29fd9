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

from .strings import EMBEDDED_MAX, raw

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
        hashed = _SEEDS[size]
        number = int.from_bytes(data, "little")
        if size >= 8:
            part = (number & MASK) * MULTIPLIER & MASK
            part = (part ^ part >> 47) * MULTIPLIER & MASK
            hashed = (hashed ^ part) * MULTIPLIER & MASK
            number >>= 64
        if size & 7:
            hashed = (hashed ^ number) * MULTIPLIER & MASK
    else:
        hashed = SEED ^ (size * MULTIPLIER & MASK)
        whole = size & ~7
        for at in range(0, whole, 8):
            part = int.from_bytes(data[at : at + 8], "little") * MULTIPLIER & MASK
            part = (part ^ part >> 47) * MULTIPLIER & MASK
            hashed = (hashed ^ part) * MULTIPLIER & MASK
        if size > whole:
            hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    hashed = (hashed ^ hashed >> 47) * MULTIPLIER & MASK
    return hashed ^ hashed >> 47


_SEEDS = [SEED ^ (size * MULTIPLIER & MASK) for size in range(16)]


KNOWN = 256
"""Sparse ones of which it is remembered, at most some 8 KiB each."""

WORTH_RUNS = 16
"""Changes from which it pays to take a sparse one apart."""

WORTH_UNPACKING = 256
"""The same of a dense one."""

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
    if len(elements) == 1:
        hashed = _hash(elements[0])
        rest = hashed >> HASH_BITS | ALL_ZEROS
        return [(hashed & LAST_REGISTER, (rest & -rest).bit_length())]
    found = []
    for hashed in _hash_all(elements) if len(elements) >= WORTH_LANES else map(_hash, elements):
        rest = hashed >> HASH_BITS | ALL_ZEROS
        found.append((hashed & LAST_REGISTER, (rest & -rest).bit_length()))
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
    """One, to be changed; ``data`` are its bytes. Methods raise :class:`Corrupt`."""

    def __init__(self, data: bytes = EMPTY) -> None:
        self.data: bytearray = bytearray(data)

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
        return self.raise_all(patterns(elements), sparse_max)

    def raise_all(self, values: list[tuple[int, int]], sparse_max: int) -> int:
        """Have each of these registers be so much at least, in order; returns how many were less."""
        if not self.sparse:
            return self._raise_all_dense(values)
        if len(values) < WORTH_RUNS:
            few = SparseRuns(bytes(self.data))
            updated = few.raise_all(values, sparse_max)
            self.data[:] = few.data
            if few.full:
                self.to_dense()
                updated += self._raise_all_dense(values)
            return updated
        if len(values) >= WORTH_UNPACKING and (raised := self._raise_and_promote(values, sparse_max)):
            return raised
        runs, updated, done = _Runs(self.data), 0, 0
        for register, value in values:
            changed = runs.raise_to(register, value, sparse_max) if value <= SPARSE_MAX_VALUE else None
            if changed is None:
                break
            updated += changed
            done += 1
        self.data[HEADER:] = b"".join(runs.pieces)
        if updated:
            self.invalidate()
        if done < len(values):
            self.to_dense()
            updated += self._raise_all_dense(values[done:])
        return updated

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
        if len(values) < WORTH_UNPACKING:
            return sum(self._raise_dense(register, value) for register, value in values)
        registers = _unpack(self.data[HEADER:])
        updated = _raise(registers, values)
        self.data[HEADER:] = _pack(registers)
        return updated

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
        self.set_dense(self.registers())

    def set_dense(self, registers: bytearray) -> None:
        """Have these registers, a byte each, in 6 bits each."""
        self.data[HEADER:] = _pack(registers)
        self.data[ENCODING] = DENSE


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


class SparseRuns:
    """The bytes of a sparse one, and where its runs are, so that another element does not cost a walk over them: of
    each run the first register, and a 1 if it takes two bytes. A change costs O(size), all of it in C."""

    __slots__ = ("_end", "_firsts", "_wide", "data", "full")

    def __init__(self, data: bytes) -> None:
        self.data: bytes = data
        self.full: bool = False  # True once a register could not be raised: it has to be dense
        self._firsts, self._wide, self._end = _index(data[HEADER:], 0)

    def raise_all(self, values: list[tuple[int, int]], sparse_max: int) -> int:
        """Have each of these registers be so much at least, in order; returns how many were less. It is ``full`` where
        a value is too large or there would be more than ``sparse_max`` bytes, and the rest of the values is left.
        Raises :class:`Corrupt`."""
        updated = 0
        for register, value in values:
            if value > SPARSE_MAX_VALUE:
                self.full = True
                break
            updated += self._raise_to(register, value, sparse_max)
            if self.full:
                break
        return updated

    def _raise_to(self, register: int, value: int, sparse_max: int) -> bool:
        if register >= self._end:
            raise Corrupt
        data, firsts, wide = self.data, self._firsts, self._wide
        run = bisect_right(firsts, register) - 1
        place, rest = HEADER + run + wide.count(1, 0, run), run + 1
        code, behind = data[place], place + 1 + wide[run]
        left = register - firsts[run]
        right = (firsts[rest] if rest < len(firsts) else self._end) - register - 1
        if (
            left
            and right
            and code < 0x80
            and not (behind + 1 < len(data) and data[behind] & 0x80 and _alike(data, behind))
        ):
            # It is a run of zeros that becomes three runs, with nothing around them to merge: nearly always.
            before = _ZEROS[left] if left <= SHORT_ZEROS else (0x3FFF + left).to_bytes(2, "big")
            after = _ZEROS[right] if right <= SHORT_ZEROS else (0x3FFF + right).to_bytes(2, "big")
            new = before + _VALUES[value] + after
            if len(data) + len(new) + place - behind > sparse_max:
                self.full = True
                return False
            self.data = b"".join((data[:place], new, data[behind:]))
            firsts.insert(rest, register)
            firsts.insert(rest + 1, register + 1)
            wide[run:rest] = _WIDE[left > SHORT_ZEROS, right > SHORT_ZEROS]
        elif not self._split(run, place, register, value, sparse_max):
            return False
        if not data[STALE] & 0x80:
            data = self.data
            self.data = b"".join((data[:STALE], bytes((data[STALE] | 0x80,)), data[STALE + 1 :]))
        return True

    def _split(self, run: int, place: int, register: int, value: int, sparse_max: int) -> bool:
        """Raise a register of a run, and merge the runs around it. Returns False if it is high enough, and if there is
        no room."""
        data, firsts, wide = self.data, self._firsts, self._wide
        code, width = data[place], 1 + wide[run]
        old = (code >> 2 & 0x1F) + 1 if code & 0x80 else 0
        if old >= value:
            return False
        following = firsts[run + 1] if run + 1 < len(firsts) else self._end
        new = _run(old, register - firsts[run]) + _VALUES[value] + _run(old, following - register - 1)
        if len(new) > width and len(data) + len(new) - width > sparse_max:
            self.full = True
            return False
        low, high = max(0, run - 1), min(len(firsts), run + 1 + 2 * SCANNED)
        begin = HEADER + low + wide.count(1, 0, low)
        end = HEADER + high + wide.count(1, 0, high)
        near = bytearray(data[begin:place] + new + data[place + width : end])
        _merge(near)
        self.data = b"".join((data[:begin], near, data[end:]))
        firsts[low:high], wide[low:high], _ = _index(near, firsts[low])
        return True


def _index(runs: bytes | bytearray, first: int) -> tuple[array[int], bytearray, int]:
    """Return the first register of each run, the first of them given; a 1 for each run of two bytes; and the register
    behind them."""
    firsts, wide, at, end = array("I"), bytearray(), 0, len(runs)
    while at < end:
        code = runs[at]
        firsts.append(first)
        two = 0x40 <= code < 0x80
        wide.append(two)
        if code & 0x80:
            first += (code & 3) + 1
        elif two:
            first += ((code & 0x3F) << 8 | (runs[at + 1] if at + 1 < end else 0)) + 1
        else:
            first += code + 1
        at += 1 + two
    return firsts, wide, first


_WIDE = {(left, right): bytes((left, 0, right)) for left in (False, True) for right in (False, True)}
"""The three runs that a run of zeros becomes: a 1 for each of two bytes."""


def _alike(data: bytes, at: int) -> bool:
    """Tell whether a run of a value is followed by another of the same."""
    return at + 1 < len(data) and (data[at] ^ data[at + 1]) & 0xFC == 0


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


class Sketches(dict[bytes, SparseRuns]):
    """The runs of the sparse values that were changed last, by key. Clients may replace a value at any time, so they
    hold for the same ``bytes`` object only."""

    __slots__ = ()

    def add(self, key: bytes, data: bytes, elements: list[bytes], sparse_max: int) -> tuple[bytes, int]:
        """Add elements to the value of a key; returns its new value and how many of them changed a register. Raises
        :class:`Corrupt`."""
        values = patterns(elements)
        if data[ENCODING] == SPARSE and len(values) < WORTH_RUNS:
            runs = self.get(key)
            if runs is None or runs.data is not data:
                runs = self[key] = SparseRuns(data)
                if len(self) > KNOWN:
                    del self[next(iter(self))]
            updated = runs.raise_all(values, sparse_max)
            if not runs.full:
                data = runs.data
                if len(data) <= EMBEDDED_MAX:
                    data = runs.data = raw(data)
                return data, updated
            del self[key]
        value = HyperLogLog(data)
        updated = value.raise_all(values, sparse_max)
        if updated:
            value.invalidate()
        return bytes(value.data), updated


_ZEROS = [b"", *(bytes((size - 1,)) for size in range(1, SHORT_ZEROS + 1))]


def _zeros(size: int) -> bytes:
    return _ZEROS[size] if size <= SHORT_ZEROS else (0x3FFF + size).to_bytes(2, "big")


_VALUES = [_run(value, 1) for value in range(SPARSE_MAX_VALUE + 1)]


class _Runs:
    """The runs of a sparse one as a list, to change many registers: the same changes in the same order as
    :class:`HyperLogLog` makes in its bytes, but a register is found by bisection."""

    def __init__(self, data: bytearray) -> None:
        self.pieces: list[bytes] = []
        self._firsts: list[int] = []  # the first register of each
        self._bytes = len(data)
        self._end = 0  # registers that there are
        at, end = HEADER, len(data)
        while at < end:
            code = data[at]
            width = 2 if 0x40 <= code < 0x80 else 1
            self._firsts.append(self._end)
            self.pieces.append(bytes(data[at : at + width]))
            if code & 0x80:
                self._end += (code & 3) + 1
            elif code < 0x40:
                self._end += code + 1
            else:
                self._end += ((code & 0x3F) << 8 | (data[at + 1] if at + 1 < end else 0)) + 1
            at += width

    def raise_to(self, register: int, value: int, sparse_max: int) -> bool | None:
        """Have a register be so much at least; returns True if it was less, None if there is no room."""
        pieces, firsts = self.pieces, self._firsts
        if register >= self._end:
            raise Corrupt
        at = bisect_right(firsts, register) - 1
        piece, first = pieces[at], firsts[at]
        code = piece[0]
        old = (code >> 2 & 0x1F) + 1 if code & 0x80 else 0
        if old >= value:
            return False
        following = firsts[at + 1] if at + 1 < len(firsts) else self._end
        new = [(first, _run(old, register - first)), (register, _run(value, 1))]
        new.append((register + 1, _run(old, following - register - 1)))
        size = sum(len(each) for _, each in new)
        if size > len(piece) and self._bytes - len(piece) + size > sparse_max:
            return None
        pieces[at : at + 1] = [each for _, each in new if each]
        firsts[at : at + 1] = [begin for begin, each in new if each]
        self._bytes += size - len(piece)
        self._merge(max(at - 1, 0))
        return True

    def _merge(self, at: int) -> None:
        pieces = self.pieces
        for _ in range(SCANNED):
            if at + 1 >= len(pieces):
                return
            code, other = pieces[at][0], pieces[at + 1][0]
            if code & 0x80 and (other ^ code) & 0xFC == 0:
                size = (code & 3) + (other & 3) + 2
                if size <= SPARSE_MAX_RUN:
                    pieces[at : at + 2] = [bytes((code & 0xFC | size - 1,))]
                    del self._firsts[at + 1]
                    self._bytes -= 1
                    continue
            at += 1
