"""From an open file to the response that a request for it gets: coding, conditions, ranges."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..message.conditional import Outcome, evaluate, http_date, make_etag, range_applies
from ..message.ranges import content_range, multipart, parse_range, unsatisfied_range
from ..message.request import Request
from ..message.response import FileBody, Response, Source
from .encodings import EXTENSIONS, CompressedCache, choose
from .media_types import MediaTypes, is_compressible
from .paths import Identity, OpenedFile, Root, decoded_path, identity, is_settled

__all__ = ["Representations"]

Fields = list[tuple[str, str]]


@dataclass(slots=True)
class _Chosen:
    """What is going to be sent of a file."""

    opened: OpenedFile
    coding: str | None
    source: Source
    varies: bool
    content: bytes | None = None
    """In memory, when it is compressed or small."""

    @property
    def size(self) -> int:
        return len(self.content) if self.content is not None else self.opened.stat.st_size


class Representations:
    """Answers for the files below one root.

    ``precompressed``: look for siblings (``app.js.br``, ``.zst``, ``.gz``). ``compressed``: compress what has none.
    Files of up to ``small`` bytes are answered from memory. ``types`` says what a file is by its name.
    """

    def __init__(
        self,
        root: Root,
        *,
        precompressed: bool,
        compressed: CompressedCache | None,
        small: int,
        types: MediaTypes,
    ) -> None:
        self._root = root
        self._precompressed = precompressed
        self._compressed = compressed
        self._small = small
        self._types = types

    def respond(self, request: Request, segments: list[str], opened: OpenedFile, *, lasting: bool = True) -> Response:
        """The response to GET or HEAD for the file that SEGMENTS lead to; OPENED is used up. Not ``lasting``: the
        file was only found because others do not exist. Raises ``OSError``."""
        chosen = self._choose(request, segments, opened)
        try:
            response = self._respond(request, segments[-1], chosen)
        except BaseException:
            chosen.opened.close()
            raise
        if type(response.body) is not FileBody:
            chosen.opened.close()
        settled = is_settled(chosen.opened.stat)
        # Of several ranges only the content itself says which: too rare to be told apart in memory.
        single = response.status in (200, 304) or (response.status == 206 and response.has("Content-Range"))
        response.served = decoded_path(segments)
        if lasting and settled and single:
            response.source = chosen.source
        return response

    # -- what to send

    def _choose(self, request: Request, segments: list[str], opened: OpenedFile) -> _Chosen:
        location = self._root.locate(segments)
        original = (location, identity(opened.stat))
        accepted = request.headers.get("accept-encoding")
        directory = _settled_directory(location) if self._precompressed else None
        siblings = [(coding, location + suffix.encode()) for coding, suffix in self._suffixes()]
        there = [coding for coding, path in siblings if os.path.lexists(path)]
        absent = tuple(path for coding, path in siblings if coding not in there)
        coding = choose(accepted, there) if there else None
        if coding is not None:
            sibling = self._sibling(segments, EXTENSIONS[coding], opened)
            if sibling is not None:
                version = (location + EXTENSIONS[coding].encode(), identity(sibling.stat))
                opened.close()
                return _Chosen(sibling, coding, Source((original, version), absent, directory), True)
        chosen = _Chosen(opened, None, Source((original,), absent, directory), bool(there))
        self._compress(accepted, segments[-1], chosen)
        return chosen

    def _suffixes(self) -> list[tuple[str, str]]:
        return list(EXTENSIONS.items()) if self._precompressed else []

    def _sibling(self, segments: list[str], suffix: str, original: OpenedFile) -> OpenedFile | None:
        """The precompressed sibling, if it is a file of its own and not older than what it was made of."""
        found = self._root.open([*segments[:-1], segments[-1] + suffix])
        if type(found) is OpenedFile and found.stat.st_mtime >= original.stat.st_mtime:
            return found
        if found is not None:
            found.close()
        return None

    def _compress(self, accepted: str | None, name: str, chosen: _Chosen) -> None:
        cache, opened = self._compressed, chosen.opened
        if cache is None or not cache.accepts(opened.stat.st_size) or not is_compressible(self._types(name)):
            return
        chosen.varies = True
        coding = choose(accepted, cache.codings)
        content = opened.snapshot() if coding is not None else None
        if coding is not None and content is not None:
            chosen.content = cache.get(identity(opened.stat), content, coding)
            chosen.coding = coding if chosen.content is not None else None

    # -- how to send it

    def _respond(self, request: Request, name: str, chosen: _Chosen) -> Response:
        status = chosen.opened.stat
        etag = make_etag(status, chosen.coding or "")
        fields: Fields = [("ETag", etag), ("Last-Modified", http_date(status.st_mtime))]
        if chosen.varies:
            fields.append(("Vary", "Accept-Encoding"))
        outcome = evaluate(request.method, request.headers.get, etag, status.st_mtime)
        if outcome is Outcome.NOT_MODIFIED:
            return Response(304, fields)
        if outcome is Outcome.PRECONDITION_FAILED:
            return Response(412, fields)
        media_type = self._types(name)
        if chosen.coding is not None:
            fields.append(("Content-Encoding", chosen.coding))
        fields.append(("Accept-Ranges", "bytes"))
        ranges = self._ranges(request, etag, status.st_mtime, chosen.size)
        if ranges is None:
            return Response(200, [("Content-Type", media_type), *fields], self._body(chosen, [(0, chosen.size)]))
        return self._partial(chosen, ranges, media_type, fields)

    def _ranges(self, request: Request, etag: str, mtime: float, size: int) -> list[tuple[int, int]] | None:
        asked = request.headers.get("range")
        # RFC 9110 section 14.2: only GET has ranges.
        if asked is None or request.method != "GET":
            return None
        if not range_applies(request.headers.get("if-range"), etag, mtime):
            return None
        return parse_range(asked, size)

    def _partial(self, chosen: _Chosen, ranges: list[tuple[int, int]], media_type: str, fields: Fields) -> Response:
        size = chosen.size
        if not ranges:
            return Response(416, [*fields, ("Content-Range", unsatisfied_range(size))])
        if len(ranges) == 1:
            start, stop = ranges[0]
            fields = [("Content-Type", media_type), ("Content-Range", content_range(start, stop, size)), *fields]
            return Response(206, fields, self._body(chosen, [(start, stop)]))
        frame = multipart(ranges, size, media_type)
        pieces: list[bytes | tuple[int, int]] = []
        for head, part in zip(frame.heads, ranges, strict=True):
            pieces += [head, part]
        return Response(206, [("Content-Type", frame.content_type), *fields], self._body(chosen, [*pieces, frame.tail]))

    def _body(
        self, chosen: _Chosen, pieces: list[bytes] | list[tuple[int, int]] | list[bytes | tuple[int, int]]
    ) -> bytes | FileBody:
        """The content: PIECES are bytes, and (start, stop) of the file."""
        content = chosen.content
        if content is None and chosen.opened.stat.st_size <= self._small:
            content = chosen.opened.snapshot()
        if content is not None:
            return b"".join(piece if isinstance(piece, bytes) else content[slice(*piece)] for piece in pieces)
        spans = [piece if isinstance(piece, bytes) else (piece[0], piece[1] - piece[0]) for piece in pieces]
        length = sum(len(span) if isinstance(span, bytes) else span[1] for span in spans)
        return FileBody(chosen.opened, spans, length)


def _settled_directory(path: bytes) -> tuple[bytes, Identity] | None:
    """The directory of a path and its version; None while a new name in it might leave its times as they are, and when
    it cannot be looked at: the file was open before it was moved away."""
    directory = os.path.dirname(path)
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return (directory, identity(status)) if is_settled(status) else None
