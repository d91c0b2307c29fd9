"""Strings as Redis shows them to people: MONITOR, configuration files, the manifest of the append-only file."""

from __future__ import annotations

__all__ = ["one_line", "quoted"]

ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}


def quoted(text: bytes) -> str:
    """Return a string in double quotes, with everything unprintable escaped (``sdscatrepr``)."""
    shown = (ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in text)
    return '"' + "".join(shown) + '"'


def one_line(text: str) -> str:
    """Return a text that may repeat any bytes of a file as one line of ASCII, without the quotes."""
    return quoted(text.encode(errors="surrogateescape"))[1:-1]
