"""Lua BitOp's functions: on 32 bits, with signed results (https://bitop.luajit.org/semantics.html)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import and_, or_, xor
from struct import pack, unpack

__all__ = ["BITS"]

MASK = 0xFFFFFFFF


SHIFT = 6755399441055744.0
"""2**52 + 2**51: a double added to it has its nearest integer in its low bits, as BitOp converts numbers."""


def _bits(number: float) -> int:
    low: int = unpack("<I", pack("<d", float(number) + SHIFT)[:4])[0]
    return low


def _signed(bits: int) -> int:
    bits &= MASK
    return bits - (1 << 32) if bits >> 31 else bits


def _of_all(operation: Callable[[int, int], int]) -> Callable[..., int]:
    return lambda *numbers: _signed(reduce(operation, map(_bits, numbers)))


def _rotated(bits: int, count: int) -> int:
    return _signed(bits << count | bits >> (32 - count))


BITS: dict[bytes, Callable[..., int]] = {
    b"tobit": lambda number: _signed(_bits(number)),
    b"bnot": lambda number: _signed(~_bits(number)),
    b"band": _of_all(and_),
    b"bor": _of_all(or_),
    b"bxor": _of_all(xor),
    b"lshift": lambda number, count: _signed(_bits(number) << (_bits(count) & 31)),
    b"rshift": lambda number, count: _signed(_bits(number) >> (_bits(count) & 31)),
    b"arshift": lambda number, count: _signed(_bits(number)) >> (_bits(count) & 31),
    b"rol": lambda number, count: _rotated(_bits(number), _bits(count) & 31),
    b"ror": lambda number, count: _rotated(_bits(number), -_bits(count) & 31),
    b"bswap": lambda number: _signed(int.from_bytes(_bits(number).to_bytes(4, "little"), "big")),
}
"""By name."""
