"""Heads to field blocks (RFC 7541).

A head of HTTP/1.1 is what every answer begins with, whoever it is for: this turns one into the block that means the
same. Fields are literals that are never put into the dynamic table, as nginx sends them: such a block is the same for
all connections, so one can be kept with its answer, and an encoder has no state. Names are taken from the static table.
"""

from __future__ import annotations

import functools

from hpack.table import HeaderTable

__all__ = ["CONTINUE_BLOCK", "NO_TABLE", "encode_head"]

NO_TABLE = b"\x20"
"""At the beginning of a block: from here on the dynamic table has no room (RFC 7541 section 6.3)."""

_NAMES: dict[bytes, int] = {}
for _index, (_name, _) in enumerate(HeaderTable.STATIC_TABLE, 1):
    _NAMES.setdefault(_name, _index)
_STATUSES = {
    value: bytes([0x80 | index])
    for index, (name, value) in enumerate(HeaderTable.STATIC_TABLE, 1)
    if name == b":status"
}

_NOT_SENT = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""Fields about a connection of HTTP/1.1 (RFC 9113 section 8.2.2)."""


def encode_head(head: bytes) -> bytes:
    """Return the field block of a response's head, up to and including its empty line."""
    status, *lines = head[:-4].split(b"\r\n")
    return _status(status[9:12]) + b"".join(map(_line, lines))


def _integer(value: int, first: int, most: int) -> bytes:
    """An integer whose prefix holds up to ``most`` (RFC 7541 section 5.1), behind the bits of ``first``."""
    if value < most:
        return bytes([first | value])
    encoded = bytearray([first | most])
    value -= most
    while value >= 0x80:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _string(text: bytes) -> bytes:
    return _integer(len(text), 0, 0x7F) + text


@functools.cache
def _status(value: bytes) -> bytes:
    return _STATUSES.get(value) or _integer(_NAMES[b":status"], 0, 0x0F) + _string(value)


@functools.lru_cache(maxsize=4096)
def _line(line: bytes) -> bytes:
    """A field line, encoded; empty for one that HTTP/2 has not."""
    raw, _, value = line.partition(b":")
    name = raw.lower()
    if name in _NOT_SENT:
        return b""
    index = _NAMES.get(name)
    named = _integer(index, 0, 0x0F) if index is not None else b"\x00" + _string(name)
    return named + _string(value.strip(b" \t"))


CONTINUE_BLOCK = _status(b"100")
"""The field block of 100 (Continue)."""
