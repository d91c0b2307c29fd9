"""HTTP/1.x requests out of bytes (RFC 9112), without sockets.

What a request means is decided by h11. Before it sees a head, the head has passed a check that is stricter than h11
is: CRLF ends every line and stands nowhere else, no obs-fold, no control characters, one well-formed Host, one
opinion about where the message ends. What the check refuses is refused although h11 would take it; what it lets
through can still be refused by h11.

Feed bytes with ``receive`` and take events with ``next_event`` until it returns None:

- :class:`~evio_http.message.request.Request`: a whole request, content included;
- ``CONTINUE``: the client waits for "100 Continue" before it sends the content;
- :class:`BadRequest`: the connection can only be answered with this status and closed. It is the last event.

The same bytes give the same events however they are split: each decision is made from a prefix of the stream whose
length depends on the stream alone.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

import h11

from .bad_request import BadRequest
from .chunked import ChunkedCheck
from .common_head import Recogniser, request_of
from .incomplete import METHOD, check_incomplete
from .limits import Limits
from .request import Request, join_fields, make_request
from .target import is_host, parse_target

__all__ = ["CONTINUE", "Continue", "Event", "RequestParser", "BadRequest"]


class Continue(enum.Enum):
    """The type of ``CONTINUE``."""

    CONTINUE = "continue"


CONTINUE: Final = Continue.CONTINUE

Event = Request | BadRequest | Continue

MAX_EMPTY_LINES = 4
"""Empty lines tolerated before a request line (RFC 9112 section 2.2 asks for one)."""

# Possessive, so that no head takes longer than its length to refuse. Field values: RFC 9110 section 5.5.
_HEAD = re.compile(
    rb"%b [!-~]++ HTTP/(?P<major>[0-9])\.(?P<minor>[0-9])\r\n"
    rb"(?:[!#$%%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n" % METHOD
)
_FRAMING = re.compile(rb"\n(host|content-length|transfer-encoding|expect|upgrade):([^\r]*+)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]+")
LONGEST_LENGTH = 18
"""Digits of a Content-Length that may be a number of bytes; more is too long whatever the limit is."""

_IDLE, _FIXED, _CHUNKED, _REFUSED = range(4)


@dataclass(slots=True)
class _Body:
    """The content of a request that is on its way."""

    request: Request
    machine: h11.Connection
    content: bytearray
    remaining: int = 0  # of a Content-Length
    check: ChunkedCheck | None = None


class RequestParser:
    """The server's side of one connection's input."""

    __slots__ = (
        "_body",
        "_buffer",
        "_empty_lines",
        "_keep_body",
        "_limits",
        "_recognise",
        "_searched",
        "_start",
        "_state",
        "scheme",
    )

    def __init__(
        self, limits: Limits, recognise: Recogniser | None, *, scheme: str = "http", keep_body: bool = False
    ) -> None:
        """``recognise``, of ``common_head`` for the same ``limits``, spares h11 what it knows; None: h11 sees every
        head. ``keep_body``: give requests their content."""
        self._limits = limits
        self._recognise = recognise
        self.scheme: str = scheme
        self._keep_body = keep_body
        self._buffer = b""
        self._start = 0  # what is before it has been dealt with
        self._searched = 0  # how far from there no end of a head was found
        self._empty_lines = 0
        self._state = _IDLE
        self._body: _Body | None = None

    @property
    def idle(self) -> bool:
        """True while no request is on its way: at a message boundary, with nothing received behind it."""
        return self._state == _IDLE and self._start == len(self._buffer) and not self._empty_lines

    @property
    def incoming(self) -> Request | None:
        """The request whose content is on its way."""
        return self._body.request if self._body is not None else None

    @property
    def awaited(self) -> int | None:
        """The number of bytes of content that a request still needs, at most; None when none is on its way."""
        if self._body is None:
            return None
        return self._body.remaining or self._limits.body

    def receive(self, data: bytes) -> None:
        """Take bytes of the stream."""
        if self._state != _REFUSED:
            self._buffer = self._buffer[self._start :] + data
            self._start = 0

    def next_event(self) -> Event | None:
        """The next event, or None when that needs more bytes."""
        try:
            if self._state == _IDLE:
                return self._head()
            return self._content() if self._state != _REFUSED else None
        except h11.RemoteProtocolError as error:
            return self._refuse(BadRequest(error.error_status_hint, str(error)))
        except BadRequest as refused:
            return self._refuse(refused)

    def _refuse(self, refused: BadRequest) -> BadRequest:
        self._state = _REFUSED
        self._buffer = b""
        self._start = self._empty_lines = 0
        self._body = None
        return refused

    # -- the head

    def _head(self) -> Event | None:
        self._skip_empty_lines()
        start = self._start
        end = self._buffer.find(b"\r\n\r\n", start + self._searched) + 4
        if end < 4 or end - start > self._limits.head:
            self._check_incomplete()
            return None
        head = self._buffer[start:end]
        self._start = end
        self._searched = self._empty_lines = 0
        if self._recognise is not None and (found := self._recognise(head)) is not None:
            return request_of(found, self.scheme)
        return self._parse(head)

    def _skip_empty_lines(self) -> None:
        while self._buffer.startswith(b"\r\n", self._start):
            self._start += 2
            self._empty_lines += 1
            if self._empty_lines > MAX_EMPTY_LINES:
                raise BadRequest(400, "empty lines instead of a request")

    def _check_incomplete(self) -> None:
        """Refuse what no further byte can make good: in the order in which the bytes came, so that it does not matter
        how many of them are here already."""
        window = self._buffer[self._start : self._start + self._limits.head]
        check_incomplete(window, self._searched, self._limits.request_line)
        if len(window) == self._limits.head:
            raise BadRequest(431, "head too long")
        self._searched = max(0, len(window) - 3)

    def _parse(self, head: bytes) -> Event | None:
        found = _HEAD.fullmatch(head)
        if found is None or head.find(b"\n") > self._limits.request_line:
            check_incomplete(head, 0, self._limits.request_line)
        if found is None:
            raise BadRequest(400, "malformed head")
        if found["major"] != b"1" or found["minor"] not in b"01":
            raise BadRequest(505, "HTTP version not supported")
        if head.count(b"\n") - 2 > self._limits.fields:
            raise BadRequest(431, "too many header fields")
        framing = _framing(head)
        _check_framing(framing, modern=found["minor"] == b"1")
        machine = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head)
        machine.receive_data(head)
        event = machine.next_event()
        if type(event) is not h11.Request:
            raise BadRequest(400, "malformed head")
        request = self._request(event)
        if request.has_body:
            return self._begin_content(request, machine, framing)
        return request

    def _request(self, event: h11.Request) -> Request:
        fields = join_fields(event.headers)
        method = event.method.decode("ascii")
        target = parse_target(method, event.target)
        return make_request(method, event.target, target, event.http_version.decode("ascii"), fields, self.scheme)

    # -- the content

    def _begin_content(self, request: Request, machine: h11.Connection, framing: dict[str, list[str]]) -> Event | None:
        body = _Body(request, machine, bytearray())
        if "transfer-encoding" in framing:
            self._state = _CHUNKED
            body.check = ChunkedCheck(self._limits.body, self._limits.head)
        else:
            self._state = _FIXED
            body.remaining = int(framing["content-length"][0])
            if body.remaining > self._limits.body:
                raise BadRequest(413, "content too long")
        self._body = body
        # RFC 9110 section 10.1.1: an HTTP/1.0 client's expectation is to be ignored.
        if request.version == "1.1" and "expect" in framing:
            return CONTINUE
        return self._content()

    def _content(self) -> Event | None:
        body = self._body
        assert body is not None
        start = self._start
        if body.check is not None:
            self._start, done = body.check.walk(self._buffer, start)
        else:
            self._start = min(start + body.remaining, len(self._buffer))
            body.remaining -= self._start - start
            done = not body.remaining
        if self._feed(body, self._buffer[start : self._start]) != done:
            raise BadRequest(400, "h11 sees the end of the content elsewhere")
        if not done:
            return None
        self._state = _IDLE
        self._body = None
        body.request.body = bytes(body.content)
        return body.request

    def _feed(self, body: _Body, data: bytes) -> bool:
        """Let h11 read content; whether it has seen the end."""
        if data:
            body.machine.receive_data(data)
        while True:
            event = body.machine.next_event()
            if type(event) is h11.EndOfMessage:
                return True
            if type(event) is not h11.Data:
                return False
            if self._keep_body:
                body.content += event.data


def _framing(head: bytes) -> dict[str, list[str]]:
    """The values of the fields that decide for whom a message is and where it ends."""
    found: dict[str, list[str]] = {}
    for name, value in _FRAMING.findall(head):
        found.setdefault(name.decode("ascii").lower(), []).append(value.decode("latin-1").strip(" \t"))
    return found


def _check_framing(framing: dict[str, list[str]], *, modern: bool) -> None:
    """Refuse what two servers could understand differently; ``modern`` is HTTP/1.1."""
    hosts = framing.get("host", [])
    # RFC 9112 section 3.2: exactly one in HTTP/1.1.
    if len(hosts) > 1 or (modern and not hosts) or not all(map(is_host, hosts)):
        raise BadRequest(400, "malformed or missing Host")
    lengths = framing.get("content-length", [])
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise BadRequest(400, "malformed Content-Length")
    if lengths and len(lengths[0].lstrip("0")) > LONGEST_LENGTH:
        raise BadRequest(413, "content too long")
    if "transfer-encoding" in framing:
        if lengths or not modern:
            raise BadRequest(400, "Transfer-Encoding with Content-Length or in HTTP/1.0")  # RFC 9112 section 6.1
        _check_codings(",".join(framing["transfer-encoding"]))
    if modern and [value.lower() for value in framing.get("expect", [])] not in ([], ["100-continue"]):
        raise BadRequest(417, "unknown expectation")


def _check_codings(value: str) -> None:
    codings = [coding.strip(" \t").lower() for coding in value.split(",")]
    if codings[-1] != "chunked" or codings.count("chunked") > 1 or "" in codings:
        raise BadRequest(400, "the transfer codings do not end with chunked")  # RFC 9112 section 6.3, item 4
    if len(codings) > 1:
        raise BadRequest(501, "transfer coding not implemented")
