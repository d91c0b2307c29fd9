"""The common head: requests without content, as browsers and programs send them, recognised by one expression.

h11 takes 45 µs for a browser's head; this takes 3. What it recognises is a subset of what the parser's check and h11
accept, and means the same to the byte: ``tests/http/test_common_head.py`` holds the two against each other. It is
sound by itself, because every byte of the head is matched by something:

- the request line is GET or HEAD, one space, the origin form of a target without fragment (RFC 9112 section 3.2.1),
  one space, HTTP/1.0 or 1.1 and CRLF;
- a field line is a token, a colon, and a value of visible characters, spaces and tabs (RFC 9110 section 5.5); CRLF ends
  it, so there is no obs-fold, no bare LF or CR and no white space before a colon;
- Host is there once and is a name or an IPv4 address in lower case, perhaps with a port;
- fields that decide where the message ends or what happens to the connection are not taken at all (Content-*,
  Transfer-Encoding, Trailer, TE, Expect, Upgrade), but for Connection with nothing but "keep-alive" or "close";
- the fields that an answer from memory depends on stand there once at most.

Repeats are possessive: a head that is not recognised costs no more than its length.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from .limits import Limits
from .request import Headers, Request, join_fields

__all__ = [
    "CLOSE",
    "CODING",
    "KEY",
    "ORIGIN",
    "OTHER",
    "SINCE",
    "TAGS",
    "Head",
    "Recogniser",
    "request_of",
]

Head = re.Match[bytes]
"""A head that was recognised."""

KEY = slice(0, 4)
"""Of ``Head.groups()``: method, path, minor version and host."""

CODING, TAGS, SINCE, ORIGIN, CLOSE, OTHER = range(4, 10)
"""The values of Accept-Encoding, If-None-Match, If-Modified-Since and Origin; "close" of Connection; the name of any
other field on which the response may depend: Range, If-Range, If-Match, If-Unmodified-Since. None for what is not
there."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_PORT = rb"(?:6(?:[0-4][0-9]{3}|5(?:[0-4][0-9]{2}|5(?:[0-2][0-9]|3[0-5])))|[1-5][0-9]{4}|[0-9]{1,4})"
_HOST = rb"(?![0-9a-z._~-]{256})[0-9a-z_~-]++(?:\.[0-9a-z_~-]++)*+\.?+(?::%b)?+" % _PORT
# A branch that begins with a set of letters is left alone without trying it, which one that ignores case is not.
_DECIDING = (
    rb"(?:[Hh](?i:ost:)|[Cc](?i:onnection:|ontent-)|[Ii](?i:f-)|[Rr](?i:ange:)|[Aa](?i:ccept-encoding:)|[Oo](?i:rigin:)"
    rb"|[Ee](?i:xpect:)|[Uu](?i:pgrade:)|[Tt](?i:e:|railer:|ransfer-encoding:))"
)
_FREQUENT = (rb"User-Agent", rb"Accept(?:-Language)?", rb"Referer", rb"Cookie", rb"Sec-%b" % _TOKEN)


def _once(group: int, letters: bytes, rest: bytes, value: bytes) -> bytes:
    """A field line that is taken if ``group``, the one of its value, is still empty. Its name is one of ``letters`` and
    ``rest``."""
    return rb"[%b](?i:%b):(?(%d)(?!))[\t ]*+(%b)" % (letters, rest, group, value)


@functools.cache
def _pattern(most_fields: int) -> re.Pattern[bytes]:
    # No line is one of two of these, so their order is for speed: what most heads have comes first, as it is mostly
    # written. But the one that begins with its group is the last: within a possessive repeat ``re`` of Python 3.11 does
    # not take back where a group began when another alternative matches, and after the last there is none.
    lines = (
        _once(4, b"Hh", b"ost", _HOST) + rb"[\t ]*+",
        rb"Connection: keep-alive",
        _once(5, b"Aa", b"ccept-encoding", _VALUE),
        _once(6, b"Ii", b"f-none-match", _VALUE),
        *(rb"%b:%b" % (name, _VALUE) for name in _FREQUENT),
        _once(7, b"Ii", b"f-modified-since", _VALUE),
        _once(8, b"Oo", b"rigin", _VALUE),
        rb"[Cc](?i:onnection):[\t ]*+(?i:keep-alive|(close))[\t ]*+",
        rb"(?!%b)%b:%b" % (_DECIDING, _TOKEN, _VALUE),
        rb"([Rr](?i:ange)|[Ii](?i:f-range|f-match|f-unmodified-since)):%b" % _VALUE,
    )
    return re.compile(
        rb"(GET|HEAD) (/[!\"$-\x3e@-~]*+)(?:\?[!\"$-~]*+)? HTTP/1\.([01])\r\n(?:(?:%b)\r\n){0,%d}+\r\n(?(4)|(?!))"
        % (b"|".join(lines), most_fields)
    )


class Recogniser:
    """Recognises heads within limits: whole ones, up to and including the empty line.

    ``longest`` and ``match`` are its two halves, for whoever cannot afford a call more: of a head of up to ``longest``
    bytes, ``match`` says all.
    """

    __slots__ = ("longest", "match")

    def __init__(self, limits: Limits) -> None:
        self.longest: int = min(limits.request_line, limits.head)  # then the request line is within its limit, too
        self.match: Callable[[bytes], Head | None] = _pattern(limits.fields).fullmatch

    def __call__(self, head: bytes) -> Head | None:
        return self.match(head) if len(head) <= self.longest else None


_FIELD = re.compile(rb"\n([^:\r]++):[\t ]*+([^\r]*+)")


class HeadFields(Headers):
    """The fields of a head that was recognised, looked up in its bytes: an answer from memory needs none, others need
    a few. They are parsed for whoever wants all."""

    __slots__ = ("_head", "_lower")

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._lower = b""

    def get(self, name: str, default: str | None = None) -> str | None:
        lower, line = self._lower or self._lowered(), _line(name)
        start = lower.find(line)
        if start < 0:
            return default
        start += len(line)
        if lower.find(line, start) >= 0:  # several lines of one field
            return self._fields.get(name.lower(), default)
        return self._head[start : lower.index(b"\r", start)].strip(b"\t ").decode("latin-1")

    def has_any(self, names: frozenset[str]) -> bool:
        lower = self._lower or self._lowered()
        return any(_line(name) in lower for name in names)

    def __contains__(self, name: str) -> bool:
        return _line(name) in (self._lower or self._lowered())

    def _lowered(self) -> bytes:
        self._lower = self._head.lower()
        return self._lower

    def __getattr__(self, name: str) -> Any:
        if name != "_fields":  # the only slot that is set late
            raise AttributeError(name)
        self._fields = join_fields(_FIELD.findall(self._head))
        return self._fields


@functools.lru_cache(maxsize=256)
def _line(name: str) -> bytes:
    """Return how a line of this field begins, in lower case; something that no head has for what is no name."""
    return b"\n%b:" % name.lower().encode("latin-1", "replace") if ":" not in name else b"\n\n"


def request_of(head: Head, scheme: str) -> Request:
    """Make the request that a head says."""
    method, path, minor, host, _, tags, since, _, close, other = head.groups()
    text = head.string
    target = text[head.start(2) : text.index(b" ", head.end(2))]
    headers = HeadFields(text)
    return Request(
        "GET" if method == b"GET" else "HEAD",
        target,
        "1.1" if minor == b"1" else "1.0",
        headers,
        path=path,
        query=target[len(path) + 1 :],
        host=host.decode("ascii"),
        scheme=scheme,
        # Connection has nothing but "keep-alive" and "close" in it.
        keep_alive=close is None and (minor == b"1" or "connection" in headers),
        selective=tags is not None or since is not None or other is not None,
    )
