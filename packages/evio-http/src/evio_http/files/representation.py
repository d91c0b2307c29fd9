"""From an open file to the response that a request for it gets: coding, then conditions, then ranges."""

from __future__ import annotations

from ..message.conditional import Outcome, evaluate, http_date, range_applies
from ..message.ranges import content_range, multipart, parse_range, unsatisfied_range
from ..message.request import Request
from ..message.response import Deferred, FileBody, Response, checked_response
from .encodings import COMPRESS_AT_ONCE, EXTENSIONS, CompressedCache, choose
from .media_types import MediaTypes, is_compressible
from .paths import OpenedFile, Root
from .siblings import Siblings
from .validators import READ_AT_ONCE, Validators
from .version import FileSource

__all__ = ["Representations"]

Fields = list[tuple[str, str]]
Pieces = list[bytes | tuple[int, int]]
"""Content in order: bytes, and (start, stop) of the file."""

AT_ONCE = min(COMPRESS_AT_ONCE, READ_AT_ONCE)
"""Bytes of a file that takes no longer than a loop may wait, whatever is to be done with it."""


class _Chosen:
    """The part and form of a file that is going to be sent."""

    __slots__ = ("coding", "compressible", "content", "media_type", "opened", "source", "varies")

    def __init__(
        self, opened: OpenedFile, media_type: str, coding: str | None, source: FileSource, *, varies: bool
    ) -> None:
        self.opened = opened
        self.media_type = media_type
        self.coding = coding
        self.source = source
        self.varies = varies
        self.content: bytes | None = None
        """In memory, when it is compressed or small."""
        self.compressible: str | None = None
        """The coding that it is to be compressed to, if that is worth it."""


class Representations:
    """Responses for the files below one root.

    ``precompressed``: look for siblings (``app.js.br``, ``.zst``, ``.gz``). ``compressed``: compress what has none.
    Files of up to ``small`` bytes are answered from memory. ``types`` says what a file is by its name, ``validators``
    what conditions are compared with.
    """

    def __init__(
        self,
        root: Root,
        *,
        precompressed: bool,
        compressed: CompressedCache | None,
        small: int,
        types: MediaTypes,
        validators: Validators,
    ) -> None:
        self._root = root
        self._siblings = Siblings() if precompressed else None
        self._compressed = compressed
        self._small = small
        self._types = types
        self._validators = validators

    def respond(
        self, request: Request, segments: list[str], opened: OpenedFile, *, lasting: bool = True
    ) -> Response | Deferred:
        """Make the response to GET or HEAD for the file that ``segments`` lead to; ``opened`` is used up. Not
        ``lasting``: the file was only found because others do not exist. Deferred when more is to be read, or
        compressed, than a loop has time for. Raises ``OSError``."""
        chosen = self._choose(request, segments, opened)
        if chosen.opened.stat.st_size > AT_ONCE and self._takes_long(chosen):
            key = (self, chosen.opened.version)
            return Deferred(lambda: self._finish(request, segments, chosen, lasting), key)
        return self._finish(request, segments, chosen, lasting)

    def respond_plainly(self, request: Request, segments: list[str], opened: OpenedFile) -> Response:
        """As ``respond``, for a page that stands for something else: without validators."""
        return self._finish(request, segments, self._choose(request, segments, opened), False, validated=False)

    def _takes_long(self, chosen: _Chosen) -> bool:
        opened, cache, coding = chosen.opened, self._compressed, chosen.compressible
        if cache is None or coding is None:
            return self._validators.take_long(opened)
        compressing = cache.takes_long(opened.version.identity, opened.stat.st_size, coding)
        return compressing or self._validators.take_long(opened)

    # -- what to send

    def _choose(self, request: Request, segments: list[str], opened: OpenedFile) -> _Chosen:
        version, media_type = opened.version, self._types(segments[-1])
        if self._siblings is None:
            chosen = _Chosen(opened, media_type, None, FileSource((version,)), varies=False)
        else:
            there, absent, directory = self._siblings.find(version[0])
            if there:
                coding = choose(request.headers.get("accept-encoding"), there)
                sibling = self._sibling(segments, coding, opened) if coding is not None else None
                if sibling is not None:
                    opened.close()
                    source = FileSource((version, sibling.version), absent, directory)
                    return _Chosen(sibling, media_type, coding, source, varies=True)
            source = FileSource((version,), absent, directory)
            chosen = _Chosen(opened, media_type, None, source, varies=bool(there))
        cache = self._compressed
        if cache is not None and cache.accepts(opened.stat.st_size) and is_compressible(media_type):
            chosen.varies = True
            if opened.settled:
                chosen.compressible = choose(request.headers.get("accept-encoding"), cache.codings)
        return chosen

    def _sibling(self, segments: list[str], coding: str, original: OpenedFile) -> OpenedFile | None:
        """Open the precompressed sibling, if it is a file of its own and not older than what it was made of."""
        found = self._root.open([*segments[:-1], segments[-1] + EXTENSIONS[coding]])
        if type(found) is OpenedFile and found.stat.st_mtime >= original.stat.st_mtime:
            return found
        if found is not None:
            found.close()
        return None

    # -- how to send it

    def _finish(
        self, request: Request, segments: list[str], chosen: _Chosen, lasting: bool, *, validated: bool = True
    ) -> Response:
        opened, source = chosen.opened, chosen.source
        try:
            if chosen.compressible is not None:
                self._compress(chosen, chosen.compressible)
            if validated:
                source.etag, source.mtime = self._validators.find(opened, chosen.coding)
                if source.mtime is not None:
                    source.modified = http_date(source.mtime)
            response = self._respond(request, chosen)
        except BaseException:
            opened.close()
            raise
        if type(response.body) is not FileBody:
            opened.close()
        response.served = "/" + "/".join(segments)
        if lasting and opened.trusted and response.status in (200, 304):
            response.source = source
        return response

    def _compress(self, chosen: _Chosen, coding: str) -> None:
        content, cache = chosen.opened.snapshot(), self._compressed
        if cache is not None and content is not None:
            chosen.content = cache.get(chosen.opened.version.identity, content, coding)
            chosen.coding = coding if chosen.content is not None else None

    def _respond(self, request: Request, chosen: _Chosen) -> Response:
        source, fields = chosen.source, list[tuple[str, str]]()
        if source.etag:
            fields.append(("ETag", source.etag))
        if source.modified:
            fields.append(("Last-Modified", source.modified))
        if chosen.varies:
            fields.append(("Vary", "Accept-Encoding"))
        size = len(chosen.content) if chosen.content is not None else chosen.opened.stat.st_size
        ranges = None
        if request.selective:
            outcome = evaluate(request.method, request.headers.get, source.etag, source.mtime)
            if outcome is not Outcome.PROCEED:
                return checked_response(304 if outcome is Outcome.NOT_MODIFIED else 412, fields)
            ranges = self._ranges(request, source.etag, source.mtime, size)
        if chosen.coding is not None:
            fields.append(("Content-Encoding", chosen.coding))
        fields.append(("Accept-Ranges", "bytes"))
        if ranges is not None:
            return self._partial(chosen, ranges, fields, size)
        fields.insert(0, ("Content-Type", chosen.media_type))
        content = self._content(chosen)
        return checked_response(200, fields, FileBody(chosen.opened, [(0, size)], size) if content is None else content)

    def _ranges(self, request: Request, etag: str, mtime: float | None, size: int) -> list[tuple[int, int]] | None:
        asked = request.headers.get("range")
        # RFC 9110 section 14.2: only GET has ranges.
        if asked is None or request.method != "GET":
            return None
        if not range_applies(request.headers.get("if-range"), etag, mtime):
            return None
        return parse_range(asked, size)

    def _partial(self, chosen: _Chosen, ranges: list[tuple[int, int]], fields: Fields, size: int) -> Response:
        media_type = chosen.media_type
        if not ranges:
            return checked_response(416, [*fields, ("Content-Range", unsatisfied_range(size))])
        if len(ranges) == 1:
            start, stop = ranges[0]
            fields = [("Content-Type", media_type), ("Content-Range", content_range(start, stop, size)), *fields]
            return checked_response(206, fields, self._body(chosen, [(start, stop)]))
        frame = multipart(ranges, size, media_type)
        pieces: Pieces = []
        for head, part in zip(frame.heads, ranges, strict=True):
            pieces += [head, part]
        return checked_response(
            206, [("Content-Type", frame.content_type), *fields], self._body(chosen, [*pieces, frame.tail])
        )

    def _content(self, chosen: _Chosen) -> bytes | None:
        """Return the content if it is in memory or small."""
        if chosen.content is None and chosen.opened.stat.st_size <= self._small:
            return chosen.opened.snapshot()
        return chosen.content

    def _body(self, chosen: _Chosen, pieces: Pieces) -> bytes | FileBody:
        """Return the content, or where in the file it is if that is not small."""
        content = self._content(chosen)
        if content is not None:
            return b"".join(piece if isinstance(piece, bytes) else content[slice(*piece)] for piece in pieces)
        spans = [piece if isinstance(piece, bytes) else (piece[0], piece[1] - piece[0]) for piece in pieces]
        length = sum(len(span) if isinstance(span, bytes) else span[1] for span in spans)
        return FileBody(chosen.opened, spans, length)
