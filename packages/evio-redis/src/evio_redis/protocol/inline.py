"""Splitting a line into words, as Redis's inline commands and configuration files do (``sdssplitargs``)."""

from __future__ import annotations

import re

__all__ = ["split_inline"]

BLANKS = b" \n\r\t\v\f\0"

ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)

_WORD = re.compile(
    rb"""(?: "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\'|\\)*?)' | (?P<bare>[^\s\0"']) )""",
    re.VERBOSE | re.DOTALL,
)


def split_inline(line: bytes) -> list[bytes] | None:
    """The words of a line; None when quotes are not balanced or a closing one is not followed by a blank."""
    words: list[bytes] = []
    at, size = 0, len(line)
    while True:
        while at < size and line[at] in BLANKS:
            at += 1
        if at >= size or line[at] == 0:
            return words
        word = bytearray()
        while at < size and line[at] not in BLANKS:
            match = _WORD.match(line, at)
            if match is None:
                return None
            at = match.end()
            bare, double = match["bare"], match["double"]
            if bare is not None:
                word += bare
                continue
            word += _unescape(double) if double is not None else match["single"].replace(b"\\'", b"'")
            if at < size and line[at] not in BLANKS:
                return None
            break
        words.append(bytes(word))


def _unescape(text: bytes) -> bytes:
    def value(match: re.Match[bytes]) -> bytes:
        if match[1] is not None:
            return bytes([int(match[1], 16)])
        return ESCAPES.get(match[2], match[2])

    return _ESCAPE.sub(value, text)
