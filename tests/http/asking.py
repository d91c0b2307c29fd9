"""A site asked without sockets."""

from __future__ import annotations

import os
from dataclasses import dataclass

from evio_http.message.common_head import Recogniser
from evio_http.message.handler import RequestHandler
from evio_http.message.limits import Limits
from evio_http.message.parser import RequestParser
from evio_http.message.request import Request
from evio_http.message.response import Deferred, FileBody, Response

__all__ = ["Asked", "ask", "make_request"]


def make_request(
    target: str, *fields: str, method: str = "GET", scheme: str = "http", host: str = "localhost"
) -> Request:
    """A request as the parser makes it."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    parser = RequestParser(Limits(), Recogniser(Limits()), scheme=scheme)
    parser.receive("\r\n".join(lines).encode("latin-1"))
    request = parser.next_event()
    assert isinstance(request, Request), request
    return request


@dataclass
class Asked:
    """A response, its content read."""

    status: int
    fields: dict[str, str]
    body: bytes


def ask(
    handler: RequestHandler,
    target: str,
    *fields: str,
    method: str = "GET",
    scheme: str = "http",
    host: str = "localhost",
) -> Asked:
    """Return the answer of ``handler``, even if it comes later."""
    response = handler(make_request(target, *fields, method=method, scheme=scheme, host=host))
    if isinstance(response, Deferred):
        response = response.work()
    assert isinstance(response, Response)
    names = [name.lower() for name, _ in response.headers]
    assert len(set(names)) == len(names), f"a field twice: {names}"
    try:
        return Asked(
            response.status, dict(zip(names, (value for _, value in response.headers), strict=True)), content(response)
        )
    finally:
        response.close()


def content(response: Response) -> bytes:
    body = response.body
    if not isinstance(body, FileBody):
        return body
    pieces = [
        piece if isinstance(piece, bytes) else os.pread(body.file.fd, piece[1], piece[0]) for piece in body.pieces
    ]
    joined = b"".join(pieces)
    assert len(joined) == body.length
    return joined
