"""Numbers as Redis reads and writes them."""

from __future__ import annotations

import math
import re

from ..errors import NOT_A_FLOAT, NOT_AN_INTEGER, CommandError

__all__ = ["LLONG_MAX", "LLONG_MIN", "format_double", "parse_double", "parse_int", "parse_int32", "to_int"]

LLONG_MIN, LLONG_MAX = -(2**63), 2**63 - 1
INT_MIN, INT_MAX = -(2**31), 2**31 - 1

ZERO_DIGIT = ord("0")

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}\Z").fullmatch
_FLOAT = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?").fullmatch
_HEXADECIMAL = re.compile(rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?\d+)?").fullmatch
_INFINITE = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE).fullmatch

PLAIN = b"-.0123456789"
"""All bytes of a number without an exponent, of which ``float`` takes what strtod does."""

SURELY_FINITE = 300
"""Bytes of such a number that is neither infinite nor too small for a double, however they are."""


_SMALL = {b"%d" % number: number for number in range(-128, 1024)}
"""Integers that are common as arguments: to look one up is faster than to check and convert its text."""


def to_int(text: bytes) -> int | None:
    """A 64-bit integer in its one canonical form (``string2ll``: no blanks, plus signs, leading zeros), or None."""
    if len(text) < 19 and text.isdigit() and (text[0] != ZERO_DIGIT or text == b"0"):  # the usual, without a match
        return int(text)
    if _INTEGER(text) is None:
        return None
    number = int(text)
    return number if LLONG_MIN <= number <= LLONG_MAX else None


def parse_int(text: bytes, error: str = NOT_AN_INTEGER) -> int:
    """The same. Raises :class:`CommandError` with ``error``."""
    number = _SMALL.get(text)
    if number is None:
        number = to_int(text)
        if number is None:
            raise CommandError(error)
    return number


BEYOND_INT = f"ERR value is out of range, value must between {INT_MIN} and {INT_MAX}"


def parse_int32(text: bytes, error: str = NOT_AN_INTEGER, out_of_range: str = BEYOND_INT) -> int:
    """The same of 32 bits, where Redis keeps it in a C ``int``."""
    number = parse_int(text, error)
    if not INT_MIN <= number <= INT_MAX:
        raise CommandError(out_of_range)
    return number


def parse_double(text: bytes, error: str = NOT_A_FLOAT) -> float:
    """A double as ``strtod`` takes it, but no blanks, no NaN, and nothing that is beyond its range, on either side.
    Raises :class:`CommandError` with ``error``."""
    if len(text) < SURELY_FINITE and not text.translate(None, PLAIN):  # the usual, without a match
        try:
            return float(text)
        except ValueError:
            raise CommandError(error) from None
    if _FLOAT(text) is not None:
        number = float(text)
        if number and math.isfinite(number):
            return number
        digits = text.lower().partition(b"e")[0]
    elif _HEXADECIMAL(text) is not None:
        number = _from_hexadecimal(text)
        digits = text.lower().partition(b"x")[2].partition(b"p")[0]
    elif _INFINITE(text) is not None:
        return float(text)
    else:
        raise CommandError(error)
    if math.isinf(number) or (not number and digits.strip(b"+-0.")):
        raise CommandError(error)
    return number


def _from_hexadecimal(text: bytes) -> float:
    try:
        return float.fromhex(text.decode())
    except OverflowError:
        return math.inf


def format_double(number: float) -> bytes:
    """A score as Redis 7.0 prints it: the integer if it is one, else 17 significant digits."""
    if number.is_integer() and -(2**52) < number < 2**52:
        return b"%d" % number if number or math.copysign(1.0, number) > 0 else b"-0"
    if math.isinf(number):
        return b"inf" if number > 0 else b"-inf"
    return f"{number:.17g}".encode()
