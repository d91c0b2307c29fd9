"""From an open file to the response that a request for it gets: coding, then conditions, then ranges."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..message.conditional import CONDITIONS, Outcome, evaluate, http_date, range_applies
from ..message.ranges import content_range, multipart, parse_range, unsatisfied_range
from ..message.request import Request
from ..message.response import Deferred, FileBody, Response
from .encodings import EXTENSIONS, CompressedCache, choose
from .media_types import MediaTypes, is_compressible
from .paths import OpenedFile, Root, decoded_path
from .validators import NO_VALIDATORS, Validators, is_trusted
from .version import FileSource, FileVersion

__all__ = ["Representations"]

Fields = list[tuple[str, str]]
Pieces = list[bytes | tuple[int, int]]
"""Content in order: bytes, and (start, stop) of the file."""


@dataclass(slots=True)
class _Chosen:
    """The part and form of a file that is going to be sent."""

    opened: OpenedFile
    media_type: str
    coding: str | None
    source: FileSource
    varies: bool
    content: bytes | None = None
    """In memory, when it is compressed or small."""
    compressible: str | None = None
    """The coding that it is to be compressed to, if that is worth it."""

    @property
    def size(self) -> int:
        return len(self.content) if self.content is not None else self.opened.stat.st_size


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
        self._siblings = [(coding, suffix.encode()) for coding, suffix in EXTENSIONS.items()] if precompressed else []
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
        if self._takes_long(chosen):
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

    def _finish(
        self, request: Request, segments: list[str], chosen: _Chosen, lasting: bool, *, validated: bool = True
    ) -> Response:
        opened = chosen.opened
        try:
            self._compress(chosen)
            response = self._respond(request, chosen, validated)
        except BaseException:
            opened.close()
            raise
        if type(response.body) is not FileBody:
            opened.close()
        # Of several ranges only the content itself says which: too rare to be told apart in memory.
        single = response.status in (200, 304) or (response.status == 206 and response.has("Content-Range"))
        response.served = decoded_path(segments)
        if lasting and single and is_trusted(opened):
            response.source = chosen.source
        return response

    # -- what to send

    def _choose(self, request: Request, segments: list[str], opened: OpenedFile) -> _Chosen:
        version, media_type = opened.version, self._types(segments[-1])
        if not self._siblings:
            chosen = _Chosen(opened, media_type, None, FileSource((version,)), False)
        else:
            directory = _settled_directory(version.path)
            there, absent = [], []
            for each, suffix in self._siblings:
                path = version.path + suffix
                if os.access(path, os.F_OK):
                    there.append(each)
                else:
                    absent.append(path)
            if there:
                coding = choose(request.headers.get("accept-encoding"), there)
                sibling = self._sibling(segments, coding, opened) if coding is not None else None
                if sibling is not None:
                    opened.close()
                    source = FileSource((version, sibling.version), tuple(absent), directory)
                    return _Chosen(sibling, media_type, coding, source, True)
            chosen = _Chosen(opened, media_type, None, FileSource((version,), tuple(absent), directory), bool(there))
        cache = self._compressed
        if cache is not None and cache.accepts(opened.stat.st_size) and is_compressible(media_type):
            chosen.varies = True
            if version.settled:
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

    def _compress(self, chosen: _Chosen) -> None:
        cache, coding = self._compressed, chosen.compressible
        content = chosen.opened.snapshot() if cache is not None and coding is not None else None
        if cache is not None and coding is not None and content is not None:
            chosen.content = cache.get(chosen.opened.version.identity, content, coding)
            chosen.coding = coding if chosen.content is not None else None

    # -- how to send it

    def _respond(self, request: Request, chosen: _Chosen, validated: bool) -> Response:
        etag, mtime = self._validators.find(chosen.opened, chosen.coding) if validated else NO_VALIDATORS
        source, fields = chosen.source, list[tuple[str, str]]()
        source.etag, source.mtime = etag, mtime
        if etag:
            fields.append(("ETag", etag))
        if mtime is not None:
            source.modified = http_date(mtime)
            fields.append(("Last-Modified", source.modified))
        if chosen.varies:
            fields.append(("Vary", "Accept-Encoding"))
        if request.headers.has_any(CONDITIONS):
            outcome = evaluate(request.method, request.headers.get, etag, mtime)
            if outcome is not Outcome.PROCEED:
                return _response(304 if outcome is Outcome.NOT_MODIFIED else 412, fields)
        if chosen.coding is not None:
            fields.append(("Content-Encoding", chosen.coding))
        fields.append(("Accept-Ranges", "bytes"))
        ranges = self._ranges(request, etag, mtime, chosen.size)
        if ranges is not None:
            return self._partial(chosen, ranges, fields)
        return _response(200, [("Content-Type", chosen.media_type), *fields], self._body(chosen, [(0, chosen.size)]))

    def _ranges(self, request: Request, etag: str, mtime: float | None, size: int) -> list[tuple[int, int]] | None:
        asked = request.headers.get("range")
        # RFC 9110 section 14.2: only GET has ranges.
        if asked is None or request.method != "GET":
            return None
        if not range_applies(request.headers.get("if-range"), etag, mtime):
            return None
        return parse_range(asked, size)

    def _partial(self, chosen: _Chosen, ranges: list[tuple[int, int]], fields: Fields) -> Response:
        size, media_type = chosen.size, chosen.media_type
        if not ranges:
            return _response(416, [*fields, ("Content-Range", unsatisfied_range(size))])
        if len(ranges) == 1:
            start, stop = ranges[0]
            fields = [("Content-Type", media_type), ("Content-Range", content_range(start, stop, size)), *fields]
            return _response(206, fields, self._body(chosen, [(start, stop)]))
        frame = multipart(ranges, size, media_type)
        pieces: Pieces = []
        for head, part in zip(frame.heads, ranges, strict=True):
            pieces += [head, part]
        return _response(
            206, [("Content-Type", frame.content_type), *fields], self._body(chosen, [*pieces, frame.tail])
        )

    def _body(self, chosen: _Chosen, pieces: Pieces) -> bytes | FileBody:
        """Return the content, or where in the file it is if that is not small."""
        content = chosen.content
        if content is None and chosen.opened.stat.st_size <= self._small:
            content = chosen.opened.snapshot()
        if content is not None:
            return b"".join(piece if isinstance(piece, bytes) else content[slice(*piece)] for piece in pieces)
        spans = [piece if isinstance(piece, bytes) else (piece[0], piece[1] - piece[0]) for piece in pieces]
        length = sum(len(span) if isinstance(span, bytes) else span[1] for span in spans)
        return FileBody(chosen.opened, spans, length)


def _response(status: int, fields: Fields, body: bytes | FileBody = b"") -> Response:
    """A response with ``fields``, which are made here and need no check."""
    response = Response(status, body=body)
    response.headers = fields
    return response


def _settled_directory(path: bytes) -> FileVersion | None:
    """Return the version of a path's directory; None while a new name in it might leave its times as they are, and when
    it cannot be looked at: the file was open before it was moved away."""
    directory = path.rpartition(b"/")[0] or b"/"
    try:
        version = FileVersion(directory, os.stat(directory))
    except OSError:
        return None
    return version if version.settled else None
