"""Strings are ``bytes``; these are the few of which Redis would say another encoding than their value tells.

``OBJECT ENCODING`` of a string mostly follows from the value. But APPEND, SETRANGE and the bit commands leave it raw,
however short it is, and INCRBYFLOAT leaves a text, even of an integer. A subclass says so, for 16 more
bytes; everything else treats these as the bytes they are (``isinstance``, not ``type``).
"""

from __future__ import annotations

from ...protocol.numbers import to_int

__all__ = ["EMBEDDED_MAX", "EmbeddedString", "RawString", "embedded", "encoding_of", "raw", "spliced"]

EMBEDDED_MAX = 44
"""Bytes of a string that Redis keeps in one piece with its header."""


class RawString(bytes):
    """A short string that Redis would not keep in one piece with its header, because it was changed in place."""

    __slots__ = ()


class EmbeddedString(bytes):
    """The text of an integer that Redis would not keep as an integer."""

    __slots__ = ()


def raw(value: bytes) -> bytes:
    """The value, marked as raw if that needs saying."""
    return RawString(value) if len(value) <= EMBEDDED_MAX else value


def spliced(value: bytes, at: int, piece: bytes) -> bytes:
    """The value with ``piece`` in place of what is at ``at``, after zeros if it is shorter, marked as raw. It may be
    large: it is copied once."""
    view = memoryview(value)
    return raw(b"".join((view[:at], bytes(max(0, at - len(value))), piece, view[at + len(piece) :])))


def embedded(value: bytes) -> bytes:
    """The value, marked as a text if it looks like an integer."""
    return value if to_int(value) is None else EmbeddedString(value)


def encoding_of(value: bytes) -> str:
    """As Redis names it."""
    if type(value) is bytes and to_int(value) is not None:
        return "int"
    return "raw" if type(value) is RawString or len(value) > EMBEDDED_MAX else "embstr"
