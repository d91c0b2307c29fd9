"""Error pages. They say what went wrong and never repeat any of the request: there is nothing to inject into."""

from __future__ import annotations

import functools
from http import HTTPStatus

from ..message.response import Response
from .markup import PAGE_FIELDS, document

__all__ = ["OWN_PAGES", "error_page", "error_response", "explanation", "retry_fields"]

OWN_PAGES = (400, 401, 403, 404, 405, 501)
"""Statuses for which a site may have a page among its files: those that it answers with itself. Not 500 and 503, when
files may be what fails."""

_EXPLANATIONS = {
    400: "The request is malformed.",
    401: "A user name and a password are needed.",
    403: "This page may not be read.",
    404: "There is no such page.",
    405: "The page cannot be used in this way.",
    406: "The page is not available in any form that was asked for.",
    408: "The request took too long to arrive.",
    412: "The page has changed, or has not, against what was asked for.",
    413: "The request is too large.",
    414: "The address is too long.",
    416: "The page does not have the part that was asked for.",
    417: "What the request expects cannot be done.",
    421: "The request was sent to the wrong server.",
    426: "This needs another protocol.",
    429: "Too many requests: try again later.",
    431: "The header fields of the request are too large.",
    500: "Something went wrong here.",
    501: "The server does not know this method.",
    503: "The server cannot answer now: try again later.",
    505: "The server does not speak this version of HTTP.",
}

RETRY_AFTER = 1
"""Seconds until a client that came at a bad time may come again (RFC 9110 section 10.2.3): descriptors come free, and
work gets done, within that."""


def explanation(status: HTTPStatus) -> str:
    """A sentence about an error, or nothing."""
    return _EXPLANATIONS.get(status.value, status.description)


@functools.cache
def error_page(status: int) -> bytes:
    """A page in UTF-8 for an error status (RFC 9110 section 15), to be sent with
    ``markup.CONTENT_SECURITY_POLICY``. Raises ``ValueError`` for a number that is no status of an error."""
    known = HTTPStatus(status)
    if status < 400:
        raise ValueError(f"{status} is not the status of an error")
    title = f"{known.value} {known.phrase}"
    text = explanation(known)
    body = f"<h1>{title}</h1>\n" + (f"<p>{text}</p>\n" if text else "")
    return document(title, body + '<p><a href="/">Go to the start page</a></p>\n')


def error_response(status: int, *, retry_after: int = RETRY_AFTER) -> Response:
    """The server's own response for an error status (RFC 9110 section 15): ``error_page`` with its fields. Raises
    ``ValueError`` as that does."""
    return Response(status, [*PAGE_FIELDS, *retry_fields(status, retry_after)], error_page(status))


def retry_fields(status: int, retry_after: int = RETRY_AFTER) -> list[tuple[str, str]]:
    """The field that says when to come again, where a status is about that; ``retry_after`` is in seconds."""
    return [("Retry-After", str(retry_after))] if status in (429, 503) else []
