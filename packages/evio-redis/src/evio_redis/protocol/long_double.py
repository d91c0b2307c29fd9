"""Sums of floating-point numbers as Redis makes them on x86: in a ``long double``, printed with 17 decimals.

A ``double`` has 53 bits, in which 3 + 1.1 is not 4.1 to 17 decimals; a long double has 64. Python has no such type, and
``decimal`` rounds in base ten, which differs in the last digits shown. A number here is an integer times a power of
two, and every step rounds to the nearest, ties to even, as the processor does. Results are the same on all platforms.

https://redis.io/docs/latest/commands/incrbyfloat/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from ..errors import NOT_A_FLOAT, CommandError

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["add_long_doubles", "parse_long_double"]

MANTISSA = 64
"""Bits of the mantissa (Intel 64 manual, volume 1, 4.2.2)."""

BEYOND = 16384
"""Infinity begins at two to this."""

SMALLEST = -16445
"""The smallest number above zero is two to this."""

DECIMALS = 17
"""Digits that are shown (``%.17Lf``)."""

LONGEST = 5 * 1024
"""Bytes from which on Redis takes no text for a number."""

MOST_DIGITS = 4000
"""Python refuses to convert integers of more than 4300 digits; ``Decimal`` does it."""

Number: TypeAlias = tuple[int, int]
"""``(m, e)`` is ``m * 2**e``."""

EXACT_BELOW = 32 * 10**DECIMALS
"""Of two numbers below 32 with at most so many decimals the sum can be had in integers: what a long double would lose
when each is read and when they are added up is less than 2**-58, which is less than half of the last digit shown."""

_SHORT = re.compile(rb"(-?\d\d?)(?:\.(\d{1,17}))?\Z").match
_DECIMAL = re.compile(rb"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?\Z").match
_HEXADECIMAL = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?\d+))?\Z").match
_INFINITE = re.compile(rb"[+-]?inf(?:inity)?\Z", re.IGNORECASE).match


def add_long_doubles(one: bytes, other: bytes, error: str = NOT_A_FLOAT) -> bytes | None:
    """The sum of two numbers as INCRBYFLOAT stores it, without trailing zeros and exponent; None if it is not finite.
    Raises :class:`CommandError`, with ``error`` if it is ``one`` that is no number."""
    exact, addend = _short(one), _short(other)
    if exact is not None and addend is not None:
        return _show_scaled(exact + addend)
    first, second = parse_long_double(one, error), parse_long_double(other)
    if first is None or second is None:
        return None
    total = _sum(first, second)
    return None if total is None else _show(total)


def _short(text: bytes) -> int | None:
    """A number for which ``EXACT_BELOW`` is true, times 10**17; None for others."""
    found = _SHORT(text)
    if found is None:
        return None
    whole, decimals = found.groups(b"")
    number = int(whole + decimals.ljust(DECIMALS, b"0"))
    return number if -EXACT_BELOW < number < EXACT_BELOW else None


def parse_long_double(text: bytes, error: str = NOT_A_FLOAT) -> Number | None:
    """Return the number that ``strtold`` reads in a text; None for infinity. Raises :class:`CommandError` for what is
    no number, or one that a long double cannot hold."""
    found = _DECIMAL(text) or _HEXADECIMAL(text)
    if found is None or not 0 < len(text) < LONGEST:
        if _INFINITE(text) is None:
            raise CommandError(error)
        return None
    sign, whole, decimals, exponent = found.groups(b"")
    digits, power = whole + decimals, int(exponent[:LONGEST] or 0)
    if not digits:
        raise CommandError(error)
    if found.re.groups and b"x" in text.lower():
        number = _rounded(int(digits, 16), power - 4 * len(decimals))
    else:
        number = _from_decimal(digits, power - len(decimals))
    if number is None or (not number[0] and digits.strip(b"0")):
        raise CommandError(error)  # ERANGE
    return (-number[0], number[1]) if sign == b"-" else number


def _decimal(number: str | int) -> Decimal:
    from decimal import Decimal  # numbers of thousands of digits are rare

    return Decimal(number)


def _from_decimal(digits: bytes, power: int) -> Number | None:
    """``digits`` times ten to the ``power``, rounded once; None for infinity."""
    digits = digits.lstrip(b"0")
    number = int(digits or b"0") if len(digits) < MOST_DIGITS else int(_decimal(digits.decode()))
    if not number or len(digits) + power < SMALLEST // 3:
        return 0, 0
    if power >= 0:
        return _rounded(number * 10**power, 0) if power < BEYOND // 3 else None
    divisor = 10**-power
    shift = max(0, MANTISSA + 2 + divisor.bit_length() - number.bit_length())
    quotient, rest = divmod(number << shift, divisor)
    return _rounded(quotient << 1 | (rest > 0), -shift - 1)  # the last bit stands for whatever follows: no false tie


def _rounded(number: int, exponent: int) -> Number | None:
    """The nearest long double; None for infinity."""
    surplus = max(number.bit_length() - MANTISSA, SMALLEST - exponent)
    if surplus > 0:
        half = 1 << (surplus - 1)
        rest = number & ((1 << surplus) - 1)
        number >>= surplus
        number += rest > half or (rest == half and number & 1)
        exponent += surplus
    return None if number.bit_length() + exponent > BEYOND else (number, exponent)


def _sum(one: Number, other: Number) -> Number | None:
    exponent = min(one[1], other[1])
    total = (one[0] << (one[1] - exponent)) + (other[0] << (other[1] - exponent))
    number = _rounded(abs(total), exponent)
    return (-number[0], number[1]) if number is not None and total < 0 else number


def _show(number: Number) -> bytes:
    mantissa, exponent = number
    scaled = abs(mantissa) * 10**DECIMALS
    if exponent >= 0:
        scaled <<= exponent
    else:
        half = 1 << (-exponent - 1)
        rest = scaled & ((1 << -exponent) - 1)
        scaled >>= -exponent
        scaled += rest > half or (rest == half and scaled & 1)
    return _show_scaled(-scaled if mantissa < 0 else scaled)


def _show_scaled(number: int) -> bytes:
    size = abs(number)
    digits = (str(size) if size.bit_length() < 3 * MOST_DIGITS else str(_decimal(size))).rjust(DECIMALS + 1, "0")
    text = f"{digits[:-DECIMALS]}.{digits[-DECIMALS:]}".rstrip("0").rstrip(".")
    return f"-{text}".encode() if number < 0 else text.encode()
