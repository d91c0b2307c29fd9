"""From the fields of a header section to the request that they mean (RFC 9113 section 8.3).

The request is written down as the head of HTTP/1.1 that says the same, and read as such a head is: what is a target, a
host or a value, and which answer is for it, is decided where it is decided for HTTP/1.1. So that nothing can hide in
there, names and values are checked before.
"""

from __future__ import annotations

import re
from typing import Any

from ..message.bad_request import BadRequest
from ..message.common_head import Head, Recogniser, request_of
from ..message.limits import Limits
from ..message.request import Request, join_fields, make_request
from ..message.target import is_host, parse_target
from .decoder import Field
from .frames import Code, StreamFault

__all__ = ["Asked", "check_trailers", "read_request"]

VERSION = "2.0"
"""As it is in logs."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD = re.compile(rb"[A-Za-z_-]+")
"""As ``message.incomplete.METHOD``."""
_TARGET = re.compile(rb"[!-~]+")
_VALUE = re.compile(rb"(?![\t ])[\t\x20-\x7e\x80-\xff]*+(?<![\t ])")
_LENGTH = re.compile(rb"[0-9]{1,18}")

_OTHER, _PSEUDO, _HOST, _COOKIE, _CONTENT_LENGTH, _TE, _BAD = range(7)
"""Kinds of fields, by their names. ``_BAD``: it is no name, or of a field that HTTP/2 has not."""

_SPECIAL = {
    **dict.fromkeys((b":method", b":scheme", b":authority", b":path"), _PSEUDO),
    **dict.fromkeys((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"), _BAD),
    b"host": _HOST,
    b"cookie": _COOKIE,
    b"content-length": _CONTENT_LENGTH,
    b"te": _TE,
}
"""Sections 8.2.2, 8.2.3 and 8.3.1."""

MOST_NAMES, LONGEST_NAME = 1024, 64
"""Names of which the kind is remembered, and the longest of them."""

_kinds: dict[bytes, int] = {}


class Asked:
    """The meaning of a header section: a request, or a refusal."""

    __slots__ = ("_request", "continues", "head", "in_full", "length", "record", "refused")

    def __init__(
        self,
        request: Request | None = None,
        refused: int = 0,
        length: int | None = None,
        head: Head | None = None,
    ) -> None:
        self._request = request
        self.refused: int = refused
        """The status of the refusal."""
        self.length: int | None = length
        """Content-Length."""
        self.head: Head | None = head
        """The request as a common head, if it is one."""
        self.continues: bool = False
        """The client waits for 100 (Continue)."""
        self.record: Any = None
        """For the answerer to remember something."""
        self.in_full: bool = False
        """As well."""

    @property
    def request(self) -> Request | None:
        """The request, which all streams with the same fields share: not to be changed. Made when it is needed first,
        as most answers are found without it."""
        if self._request is None and self.head is not None:
            self._request = request_of(self.head, "https")
            self._request.version = VERSION
        return self._request


def read_request(fields: list[Field] | None, ended: bool, limits: Limits, recognise: Recogniser) -> Asked:
    """Read a header section; ``fields`` is None for one that is too long, and ``ended`` says that no content follows.
    Raises :class:`~evio_http.http2.frames.StreamFault` for what is malformed (section 8.1.1)."""
    if fields is None:
        return Asked(None, 431)
    pseudo, lines, host, length = _sort(fields)
    method, path, scheme = pseudo.get(b":method", b""), pseudo.get(b":path", b""), pseudo.get(b":scheme")
    if scheme == b"https" and ended and not length:
        head = _common(method, path, host, lines, recognise)
        if head is not None:
            return Asked(length=length, head=head)
    for _, value in lines:
        if not _VALUE.fullmatch(value):
            raise _malformed("a malformed value")
    if not _METHOD.fullmatch(method):
        raise _malformed("no method, or a malformed one")
    if method == b"CONNECT":
        return Asked(None, 501)  # as ``parse_target``
    if scheme is None or not (path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")):
        raise _malformed("no scheme, or a path that is none")
    if not _TARGET.fullmatch(path):
        raise _malformed("malformed path")
    if length and ended:
        raise _malformed("content was announced and there is none")
    if len(method) + len(path) + len(" HTTP/1.1") > limits.request_line:
        return Asked(None, 414)
    if len(lines) >= limits.fields:
        return Asked(None, 431)
    if scheme != b"https":
        return Asked(None, 421)  # RFC 9110 section 7.4: for a server of another scheme
    try:
        request = _other(method, path, host, lines)
    except BadRequest as refused:
        return Asked(None, refused.status)
    asked = Asked(request, length=length)
    if "expect" in request.headers and not ended:
        if (request.headers.get("expect") or "").lower() != "100-continue":
            return Asked(None, 417, length)
        asked.continues = True
    return asked


def _sort(fields: list[Field]) -> tuple[dict[bytes, bytes], list[Field], bytes, int | None]:
    """Return pseudo-fields, other fields (cookies as one, section 8.2.3; without Host), the host that is meant, and the
    value of Content-Length."""
    pseudo: dict[bytes, bytes] = {}
    lines: list[Field] = []
    cookies: list[bytes] = []
    hosts: list[bytes] = []
    length: int | None = None
    kind_of = _kinds.get
    for field in fields:
        name, value = field
        kind = kind_of(name)
        if kind is None:
            kind = _kind(name)
        if not kind:
            lines.append(field)
        elif kind == _PSEUDO:
            if name in pseudo or lines or cookies or hosts:
                raise _malformed("a pseudo-field that is repeated, or behind others")
            pseudo[name] = value
        elif kind == _COOKIE:
            cookies.append(value)
        elif kind == _HOST:
            hosts.append(value)
        else:
            if kind == _CONTENT_LENGTH:
                if length is not None or not _LENGTH.fullmatch(value):
                    raise _malformed("malformed Content-Length")
                length = int(value)
            elif kind == _BAD or value != b"trailers":
                raise _malformed("a malformed name, or a field that HTTP/2 has not")
            lines.append(field)
    if cookies:
        lines.append((b"cookie", b"; ".join(cookies)))
    # Section 8.3.1: if there are both, they have to agree.
    host = pseudo.get(b":authority")
    if hosts:
        if len(hosts) > 1 or (host is not None and host.lower() != hosts[0].lower()):
            raise _malformed("two hosts")
        host = hosts[0]
    return pseudo, lines, host or b"", length


def _kind(name: bytes) -> int:
    """Return what to do with a field of this name."""
    kind = _SPECIAL.get(name, _OTHER)
    if kind == _OTHER and not _NAME.fullmatch(name):
        return _BAD
    if len(name) <= LONGEST_NAME and len(_kinds) < MOST_NAMES:
        _kinds[name] = kind
    return kind


def _common(method: bytes, path: bytes, host: bytes, lines: list[Field], recognise: Recogniser) -> Head | None:
    """Return the request written down as a head, if that is a common one: every byte of it is then what it has to be,
    once as many lines are there as were written, and no value has white space around it. None for others."""
    text = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (
        method, path, host, b"".join([b"%b: %b\r\n" % field for field in lines])
    )  # fmt: skip
    head = recognise(text)
    if head is None or text.count(b"\n") != len(lines) + 3:
        return None
    # Most have none of these anywhere; ": " and CRLF stand around each value.
    suspicious = b":  " in text or b": \t" in text or b" \r\n" in text or b"\t\r\n" in text
    if suspicious and not all(_VALUE.fullmatch(value) for _, value in (*lines, (b"", host))):
        return None
    return head


def _other(method: bytes, path: bytes, host: bytes, lines: list[Field]) -> Request:
    """Make the request whose head is not the common one, as ``RequestParser`` does."""
    name = host.decode("latin-1")
    if not is_host(name):
        raise BadRequest(400, "malformed or missing host")
    text = method.decode("ascii")
    target = parse_target(text, path)
    return make_request(text, path, target, VERSION, join_fields([(b"host", host), *lines]), "https")


def check_trailers(fields: list[Field] | None) -> None:
    """Raise :class:`~evio_http.http2.frames.StreamFault` for a trailer section that is malformed. Nobody needs what is
    in one."""
    if fields is None:
        raise StreamFault(Code.ENHANCE_YOUR_CALM, "trailers too long")
    for name, value in fields:
        if _kind(name) in (_PSEUDO, _BAD) or not _VALUE.fullmatch(value):
            raise _malformed("a field that cannot be in trailers")


def _malformed(reason: str) -> StreamFault:
    return StreamFault(Code.PROTOCOL_ERROR, reason)
