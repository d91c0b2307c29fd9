"""Replies as Lua values (https://redis.io/docs/latest/develop/interact/programmability/lua-api/, "Data type
conversion")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["to_lua"]

MakeTable = Callable[[Any], Any]
"""Makes a Lua table of a list or a dictionary."""


def to_lua(reply: bytes, table: MakeTable) -> Any:
    """An encoded reply, RESP2 or RESP3, as what a script gets: strings are ``bytes``, a null of RESP2 is False."""
    return _decode(reply, 0, table)[0]


def _decode(reply: bytes, at: int, table: MakeTable) -> tuple[Any, int]:
    """The value at an offset, and the offset behind it."""
    end = reply.index(b"\r\n", at)
    kind, line, end = reply[at : at + 1], reply[at + 1 : end], end + 2
    if kind in b"$=":
        size = int(line)
        if size < 0:
            return False, end
        text, end = reply[end : end + size], end + size + 2
        if kind == b"$":
            return text, end
        return table({b"verbatim_string": table({b"format": text[:3], b"string": text[4:]})}), end
    if kind == b"|":  # attributes, which scripts do not see, come before the value
        _, end = _decode_many(reply, b"%", int(line), end, table)
        return _decode(reply, end, table)
    if kind in b"*~>%":
        return _decode_many(reply, kind, int(line), end, table)
    return _simple(kind, line, table), end


def _decode_many(reply: bytes, kind: bytes, count: int, end: int, table: MakeTable) -> tuple[Any, int]:
    if count < 0:
        return False, end
    values = []
    for _ in range(2 * count if kind == b"%" else count):
        value, end = _decode(reply, end, table)
        values.append(value)
    if kind == b"%":
        return table({b"map": table(dict(zip(values[::2], values[1::2], strict=True)))}), end
    if kind == b"~":
        return table({b"set": table(dict.fromkeys(values, True))}), end
    return table(values), end


def _simple(kind: bytes, line: bytes, table: MakeTable) -> Any:
    if kind == b":":
        return int(line)
    if kind == b"+":
        return table({b"ok": line})
    if kind == b"-":
        return table({b"err": line})
    if kind == b",":
        return table({b"double": float(line)})
    if kind == b"(":
        return table({b"big_number": line})
    return line == b"t" if kind == b"#" else None
