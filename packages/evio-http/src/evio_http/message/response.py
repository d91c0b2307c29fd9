"""Responses, and the bytes of their heads."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from .conditional import http_date

__all__ = [
    "DATE_AT",
    "DATE_SIZE",
    "DateClock",
    "FileBody",
    "OpenFile",
    "Deferred",
    "Response",
    "Source",
    "checked_response",
    "copied",
    "not_modified_head",
    "render_head",
    "then",
    "without_source",
]

DATE_SIZE = 29
"""Bytes of an IMF-fixdate (RFC 9110 section 5.6.7)."""

# A field that could end its line would begin another one, or the content (RFC 9110 section 5.5).
_FIELD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: ".encode() for status in HTTPStatus}
DATE_AT = {status: len(line) for status, line in _STATUS_LINES.items()}
"""The position of the value of Date, in bytes, in a head of ``render_head``, by status."""

_OF_CONTENT = re.compile(rb"(?<=\n)(?:Content-(?:Type|Length|Encoding)|Accept-Ranges):[^\r]*\r\n", re.IGNORECASE)
"""Fields of a 200 that a 304 does not have."""

_FRAMED_BY_SERVER = ("content-length", "transfer-encoding", "connection", "date")


class OpenFile(Protocol):
    """A file that is open for reading. Whoever has it closes it."""

    fd: int

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""


@dataclass(slots=True)
class FileBody:
    """Content out of a file: ``pieces`` are bytes, and (offset, count) of what is in the file. Whoever has the
    response closes the file."""

    file: OpenFile
    pieces: list[bytes | tuple[int, int]]
    length: int


class Source(Protocol):
    """The files that a response was made of. A response that has one depends on no more of its request than method,
    scheme, host, version, path, the fields of conditions and ranges, and those of Accept-Encoding and Origin that its
    Vary names. It may be sent again for as long as its source is current."""

    def is_current(self) -> bool:
        """Tell whether what the response was made of still is what it was."""


class Response:
    """A final response (RFC 9110 section 15). Content-Length, Connection and Date are the server's to add.

    Raises ``ValueError`` for a status that is none, or not final, and for a field that cannot be sent.
    """

    __slots__ = ("body", "fallback", "headers", "served", "source", "status")

    def __init__(
        self,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | FileBody = b"",
        *,
        source: Source | None = None,
    ) -> None:
        if status not in _STATUS_LINES or status < 200:
            raise ValueError(f"{status} is not the status of a final response")
        self.status: int = status
        self.headers: list[tuple[str, str]] = list(headers)
        self.body: bytes | FileBody = body
        self.source: Source | None = source
        self.served: str = ""
        """The decoded path of the site's file that it is made of, if any: of ``/`` this is ``/index.html``."""
        self.fallback: bool = False
        """True if that file stands in for whatever was asked for, which does not exist."""
        for name, value in self.headers:
            self._check(name, value)

    @staticmethod
    def _check(name: str, value: str) -> None:
        if not _FIELD.fullmatch(f"{name}: {value}"):
            raise ValueError(f"a field that cannot be sent: {name!r}: {value!r}")
        if name.lower() in _FRAMED_BY_SERVER:
            raise ValueError(f"{name} is the server's own to set")

    def add(self, name: str, value: str) -> None:
        """Add a field. Raises ``ValueError`` for one that cannot be sent."""
        self._check(name, value)
        self.headers.append((name, value))

    def has(self, name: str) -> bool:
        """Tell whether there is a field of that name."""
        name = name.lower()
        return any(each.lower() == name for each, _ in self.headers)

    def varies_by(self) -> frozenset[str]:
        """Return the names in Vary, in lower case."""
        names: list[str] = []
        for name, value in self.headers:
            if len(name) == 4 and name.lower() == "vary":
                names += value.lower().replace(" ", "").replace("\t", "").split(",")
        return frozenset(names)

    def vary(self, name: str) -> None:
        """Add the name of a request's field to Vary (RFC 9110 section 12.5.5)."""
        names = [value for field, value in self.headers if field.lower() == "vary"]
        self.headers = [field for field in self.headers if field[0].lower() != "vary"]
        self.add("Vary", ", ".join([*names, name]))

    def close(self) -> None:
        """Close the file, if there is one."""
        if type(self.body) is FileBody:
            self.body.file.close()

    @classmethod
    def text(cls, text: str, status: int = 200, media_type: str = "text/plain; charset=utf-8") -> Response:
        """Text in UTF-8."""
        return cls(status, [("Content-Type", media_type)], text.encode())

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        """``value`` as JSON (RFC 8259). Raises what ``json.dumps`` raises."""
        return cls(status, [("Content-Type", "application/json")], json.dumps(value).encode())

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Response:
        """A redirect to a URI reference (RFC 9110 section 10.2.2)."""
        return cls(status, [("Location", location)])

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def checked_response(status: int, fields: list[tuple[str, str]], body: bytes | FileBody = b"") -> Response:
    """Make a response without looking at ``fields`` again, which are known to be ones that can be sent."""
    response = Response.__new__(Response)
    response.status = status
    response.headers = fields
    response.body = body
    response.source = None
    response.served = ""
    response.fallback = False
    return response


def copied(response: Response) -> Response:
    """Return a copy whose fields and content may be changed: a handler may give one response again and again."""
    copy = checked_response(response.status, list(response.headers), response.body)
    copy.source, copy.served, copy.fallback = response.source, response.served, response.fallback
    return copy


@dataclass(frozen=True, slots=True)
class Deferred:
    """A response that takes longer than a loop may wait: ``work`` is called in another thread and returns it. Works of
    one ``key`` are done one after the other and count as one among those that wait: the first may leave to the others
    what spares them most of it. If there is a future ``after``, the work begins when that is done, and takes no thread
    until then."""

    work: Callable[[], Response]
    key: Hashable = None
    after: Future[Any] | None = None


def then(response: Response | Deferred, change: Callable[[Response], Response]) -> Response | Deferred:
    """Apply ``change`` to a response: at once, or when it is there."""
    if isinstance(response, Response):
        return change(response)
    work = response.work
    return Deferred(lambda: change(work()), response.key, response.after)


def without_source(response: Response) -> Response:
    """Have ``response`` made anew for each request: it depends on more than a source says."""
    response.source = None
    return response


@dataclass(slots=True)
class DateClock:
    """The value of Date, made once a second. ``until`` is when it is no longer right, by ``time.monotonic``: that one
    is not set back, so a Date cannot get stuck."""

    date: bytes = b""
    until: float = field(default=0.0)

    def tell(self, now: float) -> bytes:
        """The value at ``now``, ``time.monotonic``."""
        if now >= self.until:
            wall = time.time()
            self.date = http_date(wall).encode("ascii")
            self.until = now + 1 - wall % 1
        return self.date


def render_head(
    response: Response, date: bytes, server: bytes, *, connection: str = "", send_length: bool = True
) -> bytes:
    """The head of a response (RFC 9112 section 4). ``server`` is a whole line or empty; ``connection`` is a value, if
    any."""
    fields = ""
    for name, value in response.headers:
        fields += f"{name}: {value}\r\n"
    # RFC 9110 section 8.6: none with 204; with 304 it would be that of a 200, which nobody has made.
    if send_length and response.status not in (204, 304):
        body = response.body
        fields += f"Content-Length: {len(body) if isinstance(body, bytes) else body.length}\r\n"
    if connection:
        fields += f"Connection: {connection}\r\n"
    return b"%b%b\r\n%b%b\r\n" % (_STATUS_LINES[response.status], date, server, fields.encode("latin-1"))


def not_modified_head(head: bytes) -> bytes:
    """Make the head of the 304 that a request for the same, but with a condition, has instead of the 200 with this
    ``head`` of ``render_head`` (RFC 9110 section 15.4.5). What follows the head is ignored."""
    fields = head[DATE_AT[200] : head.index(b"\r\n\r\n") + 2]
    return b"%b%b\r\n" % (_STATUS_LINES[304], _OF_CONTENT.sub(b"", fields))
