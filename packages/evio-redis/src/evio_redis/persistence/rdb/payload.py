"""Payloads of DUMP and RESTORE: a value as RDB has it, RDB's version in two bytes, and a checksum of all that in eight.

https://redis.io/docs/latest/commands/dump/
"""

from __future__ import annotations

from typing import Any

from .codes import FUNCTION
from .crc64 import crc64
from .primitives import MALFORMED, Reader, string, why
from .values import VERSION, Limits, code_of, pieces, read_value

__all__ = ["Checksums", "intact", "pack", "pack_functions", "sealed", "unpack", "unpack_functions"]

CHECKSUM = 8
FOOTER = 2 + CHECKSUM


class Checksums:
    """Tells RESTORE if checksums are looked at (DEBUG SET-SKIP-CHECKSUM-VALIDATION)."""

    def __init__(self) -> None:
        self.checked = True


def sealed(*parts: bytes) -> bytes:
    """The payload of these bytes: with RDB's version and the checksum behind them."""
    body = b"".join((*parts, VERSION.to_bytes(2, "little")))
    return body + crc64(body).to_bytes(CHECKSUM, "little")


def pack(value: Any, limits: Limits) -> bytes:
    """The payload of a value."""
    return sealed(bytes((code_of(value),)), *pieces(value, limits))


def intact(payload: bytes, checked: bool = True) -> bool:
    """Tell whether a payload has a version that is known and, if that is to be ``checked``, the right checksum."""
    if len(payload) < FOOTER or int.from_bytes(payload[-FOOTER:-CHECKSUM], "little") > VERSION:
        return False
    return not checked or crc64(payload[:-CHECKSUM]) == int.from_bytes(payload[-CHECKSUM:], "little")


def pack_functions(codes: list[bytes]) -> bytes:
    """The payload of libraries of functions."""
    return sealed(*(part for code in codes for part in (bytes((FUNCTION,)), string(code))))


def unpack_functions(payload: bytes) -> list[bytes]:
    """The texts of libraries in a payload that is intact. Raises ``ValueError`` for anything else."""
    reader, codes = Reader(payload[:-FOOTER]), []
    try:
        while reader.at < len(payload) - FOOTER:
            if reader.byte() != FUNCTION:
                raise ValueError("given type is not a function")
            codes.append(reader.string())
    except MALFORMED as error:
        raise error if type(error) is ValueError else ValueError("failed loading functions payload") from None
    return codes


def unpack(payload: bytes, limits: Limits) -> Any:
    """The value of a payload that is intact. Raises ``ValueError`` for what is no value, or an empty one."""
    reader = Reader(payload[:-FOOTER])
    try:
        value = read_value(reader, reader.byte(), limits)
    except MALFORMED as error:
        raise ValueError(why(error)) from None
    if not value and not isinstance(value, bytes):
        raise ValueError("an empty collection")
    return value
