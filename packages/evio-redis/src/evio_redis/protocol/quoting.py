"""Strings as Redis shows them to people: MONITOR, configuration files, the manifest of the append-only file."""

from __future__ import annotations

__all__ = ["escaped", "one_line", "quoted"]

ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}


def escaped(text: bytes) -> str:
    """Return a string as one line of ASCII, with everything unprintable escaped."""
    return "".join(ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in text)


def quoted(text: bytes) -> str:
    """Return a string escaped and in double quotes (``sdscatrepr``)."""
    return f'"{escaped(text)}"'


def one_line(text: str) -> str:
    """Return a text that may repeat any bytes of a file, escaped."""
    return escaped(text.encode(errors="surrogateescape"))
