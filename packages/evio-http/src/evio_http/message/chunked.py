"""The check of a chunked body before h11 reads it (RFC 9112 section 7.1).

h11 takes LF for CRLF in trailers and any bytes in chunk extensions. A proxy in front may see the end of the message
elsewhere then, and what follows would be somebody else's request. So every line is looked at here first, and h11 is
given only what has passed; that both find the same end is checked by the caller.
"""

from __future__ import annotations

import re

from .bad_request import BadRequest

__all__ = ["ChunkedCheck"]

MAX_SIZE_LINE = 256
"""Of a chunk's size and extensions: the latter mean nothing to us, and cost whoever has to read them."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'  # RFC 9110 section 5.6.4
# White space is to be parsed around the parts of an extension (section 7.1.1), but not taken behind the size: there it
# serves nobody but those who look for two servers that disagree.
_EXTENSION = rb";[ \t]*+%b(?:[ \t]*=[ \t]*+(?:%b|%b))?(?:[ \t]*(?=;))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE_LINE = re.compile(rb"(?P<size>[0-9A-Fa-f]{1,16})(?:%b)*" % _EXTENSION)
_TRAILER = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % _TOKEN)

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedCheck:
    """The state of one body."""

    __slots__ = ("_left", "_max_trailers", "_remaining", "_state")

    def __init__(self, max_body: int, max_trailers: int) -> None:
        self._state = _SIZE
        self._left = max_body
        self._max_trailers = max_trailers
        self._remaining = 0

    def walk(self, buffer: bytes, start: int) -> tuple[int, bool]:
        """Go on at ``start``; returns up to where ``buffer`` is well-formed and complete, and whether that is the end
        of the body. Raises :class:`BadRequest`."""
        while self._state != _DONE:
            if self._state == _DATA:
                size = min(self._remaining, len(buffer) - start)
                start += size
                self._remaining -= size
                if self._remaining:
                    return start, False
                self._state = _DATA_END
            elif self._state == _DATA_END:
                if not b"\r\n".startswith(buffer[start : start + 2]):
                    raise BadRequest(400, "a chunk is longer than its size")
                if len(buffer) - start < 2:
                    return start, False
                start += 2
                self._state = _SIZE
            else:
                end = self._line(buffer, start)
                if end < 0:
                    return start, False
                self._on_line(buffer[start:end])
                start = end + 2
        return start, True

    def _line(self, buffer: bytes, start: int) -> int:
        """Find the end of the line that begins at ``start``; -1 if it is not complete."""
        limit = MAX_SIZE_LINE if self._state == _SIZE else self._max_trailers
        end = buffer.find(b"\n", start, start + limit + 2)
        if end < 0:
            if len(buffer) - start >= limit + 2:
                raise BadRequest(400 if self._state == _SIZE else 431, "line too long in a chunked body")
            return -1
        if end == start or buffer[end - 1] != 0x0D:
            raise BadRequest(400, "a line ends without CR in a chunked body")
        return end - 1

    def _on_line(self, line: bytes) -> None:
        if self._state == _TRAILERS:
            self._max_trailers -= len(line) + 2
            if not line:
                self._state = _DONE
            elif not _TRAILER.fullmatch(line):
                raise BadRequest(400, "malformed trailer")
            elif self._max_trailers < 0:
                raise BadRequest(431, "trailers too long")
            return
        found = _SIZE_LINE.fullmatch(line)
        if found is None:
            raise BadRequest(400, "malformed chunk size")
        self._remaining = int(found["size"], 16)
        self._left -= self._remaining
        if self._left < 0:
            raise BadRequest(413, "content too long")
        self._state = _DATA if self._remaining else _TRAILERS
