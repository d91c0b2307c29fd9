"""Replies, encoded: RESP2 and RESP3.

What is the same in both is a function here; what differs is a method of :class:`Resp2` and :class:`Resp3`, one of which
every session has as ``session.resp``.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from .numbers import format_double

__all__ = [
    "ARRAYS",
    "EMPTY_ARRAY",
    "HEADS",
    "INTEGERS",
    "LARGE",
    "LENGTHS",
    "OK",
    "ONE",
    "QUEUED",
    "RESP2",
    "RESP3",
    "ZERO",
    "Resp2",
    "Resp3",
    "array",
    "bulk",
    "bulks",
]
__all__ += ["integer", "simple"]

OK, QUEUED = b"+OK\r\n", b"+QUEUED\r\n"
ZERO, ONE = b":0\r\n", b":1\r\n"
EMPTY_ARRAY = b"*0\r\n"

HEADS = [b"$%d\r\n" % size for size in range(1024)]
"""Length lines of short strings: to look one up is faster than to format it."""

INTEGERS = [b":%d\r\n" % number for number in range(1024)]
"""Small integers, likewise."""

LENGTHS = [b"$%d" % size for size in range(1024)]
"""Length lines without their ends, for what is joined."""

ARRAYS = [b"*%d" % count for count in range(1024)]
"""First lines of short arrays, likewise."""


LARGE = 64 * 1024
"""Bytes from which a string is joined to its length rather than formatted, which would ask for a quarter more memory
than it needs, and for fresh pages each time."""


def bulk(value: bytes | memoryview) -> bytes:
    """A string."""
    size = len(value)
    if size < 1024:
        return HEADS[size] + value + b"\r\n"
    if size < LARGE:
        return b"$%d\r\n%b\r\n" % (size, value)  # type: ignore[str-format]  # %b takes any buffer (PEP 461)
    return b"".join((b"$%d\r\n" % size, value, b"\r\n"))


def _strings(head: bytes, values: Collection[bytes]) -> bytes:
    """Encode strings behind ``head``, the first line without its end. They are joined, so long ones are copied once;
    line by line, as to put a string together with its length first is slower, for two strings as for a thousand."""
    lengths, lines = LENGTHS, [head]
    append = lines.append
    try:
        for value in values:
            append(lengths[len(value)])
            append(value)
    except IndexError:  # there are long ones
        return b"".join((head, b"\r\n", *map(bulk, values)))
    append(b"")
    return b"\r\n".join(lines)


def _pairs(head: bytes, pairs: Mapping[bytes, bytes]) -> bytes:
    """Encode keys and values in turn behind ``head``, likewise."""
    lengths, lines = LENGTHS, [head]
    append = lines.append
    try:
        for key, value in pairs.items():
            append(lengths[len(key)])
            append(key)
            append(lengths[len(value)])
            append(value)
    except IndexError:  # there are long ones
        return b"".join((head, b"\r\n", *map(bulk, chain.from_iterable(pairs.items()))))
    append(b"")
    return b"\r\n".join(lines)


def bulks(values: Collection[bytes]) -> bytes:
    """Encode an array of strings."""
    count = len(values)
    return _strings(ARRAYS[count] if count < 1024 else b"*%d" % count, values)


def integer(number: int) -> bytes:
    """An integer."""
    return INTEGERS[number] if 0 <= number < 1024 else b":%d\r\n" % number


def array(encoded: Sequence[bytes]) -> bytes:
    """An array of replies that are encoded already."""
    return b"*%d\r\n%b" % (len(encoded), b"".join(encoded))


def simple(text: str) -> bytes:
    """A status, ``+PONG``."""
    return b"+%b\r\n" % text.encode()


class Resp2:
    """The replies that RESP2 has in its own way."""

    version = 2
    null = b"$-1\r\n"
    null_array = b"*-1\r\n"
    true: bytes = ONE
    false: bytes = ZERO

    @staticmethod
    def map(encoded: Sequence[bytes]) -> bytes:
        """A map: keys and values in turn, encoded."""
        return array(encoded)

    @staticmethod
    def set(encoded: Sequence[bytes]) -> bytes:
        """A set of encoded members."""
        return array(encoded)

    @staticmethod
    def map_of_strings(pairs: Mapping[bytes, bytes]) -> bytes:
        """Encode a map of strings."""
        count = 2 * len(pairs)
        return _pairs(ARRAYS[count] if count < 1024 else b"*%d" % count, pairs)

    @staticmethod
    def set_of_strings(members: Collection[bytes]) -> bytes:
        """Encode a set of strings."""
        return bulks(members)

    @staticmethod
    def push(encoded: Sequence[bytes]) -> bytes:
        """Encode a message of pub/sub, which nobody asked for."""
        return array(encoded)

    @staticmethod
    def double(number: float) -> bytes:
        """A floating-point number."""
        return bulk(format_double(number))

    @staticmethod
    def verbatim(text: bytes) -> bytes:
        """A text for humans."""
        return bulk(text)

    @staticmethod
    def bignum(number: int) -> bytes:
        """An integer of any size."""
        return bulk(b"%d" % number)


class Resp3(Resp2):
    """The replies that RESP3 has types of its own for."""

    version = 3
    null = null_array = b"_\r\n"
    true: bytes = b"#t\r\n"
    false: bytes = b"#f\r\n"

    @staticmethod
    def map(encoded: Sequence[bytes]) -> bytes:
        return b"%%%d\r\n%b" % (len(encoded) // 2, b"".join(encoded))

    @staticmethod
    def set(encoded: Sequence[bytes]) -> bytes:
        return b"~%d\r\n%b" % (len(encoded), b"".join(encoded))

    @staticmethod
    def map_of_strings(pairs: Mapping[bytes, bytes]) -> bytes:
        return _pairs(b"%%%d" % len(pairs), pairs)

    @staticmethod
    def set_of_strings(members: Collection[bytes]) -> bytes:
        return _strings(b"~%d" % len(members), members)

    @staticmethod
    def push(encoded: Sequence[bytes]) -> bytes:
        return b">%d\r\n%b" % (len(encoded), b"".join(encoded))

    @staticmethod
    def double(number: float) -> bytes:
        return b",%b\r\n" % format_double(number)

    @staticmethod
    def verbatim(text: bytes) -> bytes:
        return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text)

    @staticmethod
    def bignum(number: int) -> bytes:
        return b"(%d\r\n" % number


RESP2, RESP3 = Resp2(), Resp3()
