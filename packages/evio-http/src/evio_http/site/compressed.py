"""Compressing what handlers make: content that comes from no file."""

from __future__ import annotations

import functools

from ..files.encodings import COMPRESS_AT_ONCE, choose, compressed, compressors
from ..files.media_types import is_compressible
from ..message.handler import RequestHandler
from ..message.request import Request
from ..message.response import Deferred, Response, copied, then

__all__ = ["MIN_SIZE", "Compressed"]

MIN_SIZE = 1024
"""Bytes below which content is left as it is: head and content take one segment either way."""

REMEMBERED = 32
"""Compressed contents that are kept, each of at most ``COMPRESS_AT_ONCE`` bytes before: error pages, and listings while
many ask for one."""

_AS_IT_IS = frozenset(
    ("content-encoding", "content-range", "content-digest", "repr-digest", "digest", "content-md5")
)  # fmt: skip
"""Fields of responses whose content is in a coding, is a part, or is described byte by byte."""


class Compressed:
    """A handler around another one, which compresses its responses for clients that accept it (RFC 9110 section
    12.5.3): with br and zstd where the packages ``brotli`` and ``zstandard`` are installed, and with gzip.

    It compresses content in memory of ``min_size`` bytes or more whose Content-Type is text or shrinks as text does,
    in another thread if that is more than 128 KiB. Vary then names Accept-Encoding, and a strong ETag becomes a weak
    one, as it stands for other bytes (section 8.8.1). It leaves alone what has a Content-Encoding, a digest, or
    ``no-transform`` in Cache-Control (RFC 9111 section 5.2.2.6), and the files of a :class:`Site`, which compresses
    each version of them once (``Site(compress=True)``).
    """

    def __init__(self, handler: RequestHandler, *, min_size: int = MIN_SIZE) -> None:
        self._handler = handler
        self._min_size = min_size
        self._compressors = compressors()
        self._codings = tuple(self._compressors)
        self._remembered = functools.lru_cache(maxsize=REMEMBERED)(self._compress)
        self.shared_requests: bool = getattr(handler, "shared_requests", False)

    def __call__(self, request: Request) -> Response | Deferred | None:
        response = self._handler(request)
        if isinstance(response, Response) and self._takes_long(request, response):
            return Deferred(lambda: self._finish(request, response))
        if isinstance(response, (Response, Deferred)):
            return then(response, lambda made: self._finish(request, made))
        return response

    def _takes_long(self, request: Request, response: Response) -> bool:
        body = response.body
        if not isinstance(body, bytes) or len(body) <= COMPRESS_AT_ONCE or not self._may_compress(response, body):
            return False
        return choose(request.headers.get("accept-encoding"), self._codings) is not None

    def _finish(self, request: Request, response: Response) -> Response:
        """Return ``response`` as it is to be sent, a copy if that differs: a handler may give one again and again."""
        if response.status == 304:
            return _known_as_weak(request, response)
        body = response.body
        if not isinstance(body, bytes) or not self._may_compress(response, body):
            return response
        copy = _varying(response)
        coding = choose(request.headers.get("accept-encoding"), self._codings)
        if coding is None:
            return copy
        made = (self._remembered if len(body) <= COMPRESS_AT_ONCE else self._compress)(coding, body)
        if made is not None:
            _weaken(copy)
            copy.add("Content-Encoding", coding)
            copy.body = made
        return copy

    def _may_compress(self, response: Response, body: bytes) -> bool:
        if len(body) < self._min_size or response.served or response.status in (204, 206):
            return False
        fields = {name.lower(): value for name, value in response.headers}
        if not _AS_IT_IS.isdisjoint(fields) or "no-transform" in fields.get("cache-control", "").lower():
            return False
        return is_compressible(fields.get("content-type", "").lower())

    def _compress(self, coding: str, body: bytes) -> bytes | None:
        return compressed(self._compressors[coding], body)


def _known_as_weak(request: Request, response: Response) -> Response:
    """Name what a client has compressed by its weak tag, as 304 has the fields that 200 had (RFC 9110 section
    15.4.5)."""
    known = request.headers.get("if-none-match") or ""
    copy = _varying(response)
    _weaken(copy)
    is_known = any(name.lower() == "etag" and value in known for name, value in copy.headers)
    return copy if is_known else response


def _weaken(response: Response) -> None:
    response.headers = [
        (name, f"W/{value}" if name.lower() == "etag" and not value.startswith("W/") else value)
        for name, value in response.headers
    ]


def _varying(response: Response) -> Response:
    """A copy that says in Vary that it depends on Accept-Encoding."""
    copy = copied(response)
    if not copy.varies_by() & {"*", "accept-encoding"}:
        copy.vary("Accept-Encoding")
    return copy
