"""Numbers as Redis reads and writes them."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from .errors import NOT_A_FLOAT, NOT_AN_INTEGER, CommandError

__all__ = ["LLONG_MAX", "LLONG_MIN", "add_long_doubles", "format_double", "parse_double", "parse_int", "to_int"]

LLONG_MIN, LLONG_MAX = -(2**63), 2**63 - 1

ZERO_DIGIT = ord("0")

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}\Z").fullmatch
_FLOAT = re.compile(rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?|0[xX][0-9a-fA-F]+)", re.I).fullmatch


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
    number = to_int(text)
    if number is None:
        raise CommandError(error)
    return number


def parse_double(text: bytes, error: str = NOT_A_FLOAT) -> float:
    """A double as ``strtod`` takes it, but no blanks and no NaN. Raises :class:`CommandError` with ``error``."""
    if text.isdigit():  # the usual, without a match
        return float(text)
    if _FLOAT(text) is None:
        raise CommandError(error)
    return float(int(text, 16)) if b"x" in text.lower() else float(text)


def format_double(number: float) -> bytes:
    """A score as Redis 7.0 prints it: the integer if it is one, else 17 significant digits."""
    if math.isinf(number):
        return b"inf" if number > 0 else b"-inf"
    if number.is_integer() and abs(number) < 2**52:
        return b"-0" if number == 0 and math.copysign(1.0, number) < 0 else b"%d" % int(number)
    return f"{number:.17g}".encode()


MANTISSA = 64
"""Bits of the mantissa of a long double on x86, in which Redis adds up (INCRBYFLOAT)."""

DECIMALS = 17
"""How many it shows of the result."""


def add_long_doubles(one: bytes, other: bytes, error: str = NOT_A_FLOAT) -> bytes | None:
    """The sum of two numbers as INCRBYFLOAT stores it: exact to a long double, without trailing zeros and exponent;
    None if it is not finite. Raises :class:`CommandError` with ``error`` if ``one`` is no number."""
    values = parse_double(one, error), parse_double(other)
    if not all(map(math.isfinite, values)):
        return None
    total = _long_double(_exact(one)) + _long_double(_exact(other))
    scaled = round(_long_double(total) * 10**DECIMALS)
    sign, digits = ("-" if scaled < 0 else ""), str(abs(scaled)).rjust(DECIMALS + 1, "0")
    text = f"{digits[:-DECIMALS]}.{digits[-DECIMALS:]}".rstrip("0").rstrip(".")
    return (sign + text).encode() if text != "0" else b"0"


def _exact(text: bytes) -> Fraction:
    return Fraction(int(text, 16)) if b"x" in text.lower() else Fraction(text.decode())


def _long_double(number: Fraction) -> Fraction:
    """Rounded to what a long double can hold."""
    if not number:
        return number
    exponent = number.numerator.bit_length() - number.denominator.bit_length() - MANTISSA
    unit = Fraction(2) ** exponent
    return round(number / unit) * unit
