"""The beginning of a head: refuse what no further byte can make good (RFC 9112 sections 2.2, 3 and 5).

A peer that speaks another protocol is answered at once instead of holding its connection until the time for a head is
over. The same checks say what is wrong with a complete head, so that the refusal does not depend on how the bytes were
split: the first fault of the stream decides.
"""

from __future__ import annotations

import re

from .bad_request import BadRequest

__all__ = ["METHOD", "check_incomplete"]

METHOD = rb"[A-Za-z_-]++"
"""A token may have more (RFC 9110 section 5.6.2), but no method in IANA's registry has, nor does nginx take it; and
"SSH-2.0-OpenSSH_9" is a token."""

_DOT = rb"\.(?:[0-9](?:\r\n?)?)?"
_VERSION = rb"(?:H(?:T(?:T(?:P(?:/(?:[0-9](?:%b)?)?)?)?)?)?)?" % _DOT
_REQUEST_LINE = re.compile(rb"(?:%b(?: (?:[!-~]++(?: %b)?)?)?)?" % (METHOD, _VERSION))
"""Any beginning of a request line, its CRLF included."""

_TOKEN = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
_IMPOSSIBLE = re.compile(
    rb"(?P<lf>(?<!\r)\n)"
    rb"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"  # control characters
    rb"|\r(?!\n|\Z)"
    rb"|(?<=\n)[^%b\r]" % _TOKEN  # obs-fold, or a line that begins with no name
)
"""A byte that cannot be where it is, behind the request line."""


def check_incomplete(window: bytes, searched: int, longest_request_line: int) -> None:
    """Raise :class:`BadRequest` if ``window``, the beginning of a head, cannot become one. ``searched`` is how much of
    it has passed already, less the three bytes that may be a part of the head's end; 0 the first time."""
    end = window.find(b"\n") + 1
    if not end or searched < end:
        _check_request_line(window[: end or len(window)], longest_request_line)
    if end and (impossible := _IMPOSSIBLE.search(window, max(end, searched))):
        raise BadRequest(400, "a line ends without CR" if impossible["lf"] else "malformed field line")


def _check_request_line(line: bytes, longest: int) -> None:
    """``longest`` is without the LF."""
    found = _REQUEST_LINE.match(line, 0, longest + 1)
    possible = found.end() if found is not None else 0
    too_long = len(line) > longest and line[longest] != 0x0A
    if too_long and possible >= longest:
        raise BadRequest(414, "request line too long")
    if possible < len(line) and line != b"\r":  # that may be the first half of an empty line
        bare = line[possible] == 0x0A and not line.endswith(b"\r\n")
        raise BadRequest(400, "a line ends without CR" if bare else "malformed request line")
