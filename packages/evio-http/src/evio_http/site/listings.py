"""Listings as responses. They are made in another thread and kept: when many ask for one, it is made once."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from time import monotonic

from ..files.paths import Entry, OpenedDirectory, Root, decoded_path
from ..files.version import identity, is_settled
from ..message.conditional import Outcome, evaluate
from ..message.request import Request
from ..message.response import Response
from ..pages.markup import HTML
from .listing import POLICY, View, html_listing, json_listing
from .listing_cache import ListingCache
from .listing_template import ListingTemplate

__all__ = ["Listings"]

ENTRY_SIZE = 256
"""Bytes that an entry takes in memory, its name included: by tracemalloc, for names of 20 characters, rounded up."""

_CONDITIONS = ("if-match", "if-none-match")
"""A listing has no date: the newest of its files may be one that was moved here, or away."""


@dataclass(frozen=True, slots=True)
class _Page:
    """A listing's content."""

    etag: str
    body: bytes


class Listings:
    """The listings of a site's directories: those below ``root``, which is at the path ``mount``."""

    def __init__(self, root: Root, mount: list[str], template: ListingTemplate | None = None) -> None:
        self._root = root
        self._mount = mount
        self._html = html_listing if template is None else template.page
        # Of a page of the site's own nobody here knows what it needs.
        self._policy = [("Content-Security-Policy", POLICY)] if template is None else []
        self._cache = ListingCache()

    def find(self, request: Request, segments: list[str], opened: OpenedDirectory) -> Response | None:
        """The response, if there is one in memory."""
        view = _view(request)
        page: _Page | None = self._cache.find((*segments, view), identity(opened.stat), monotonic())
        return self._response(request, view, page) if page is not None else None

    def make(self, request: Request, segments: list[str], opened: OpenedDirectory) -> Response:
        """The response: with 100,000 entries it takes a second. Raises ``OSError``."""
        view, version, now = _view(request), identity(opened.stat), monotonic()
        page: _Page | None = self._cache.find((*segments, view), version, now)
        if page is None:
            settled = is_settled(opened.stat)  # or a name that comes now might leave the version as it is
            entries: list[Entry] | None = self._cache.find((*segments,), version, now)
            if entries is None:
                entries = opened.entries()
                if settled:
                    self._cache.keep((*segments,), version, now, entries, len(entries) * ENTRY_SIZE)
            path = decoded_path(self._mount + segments).rstrip("/") + "/"
            body = json_listing(path, entries, view) if view.as_json else self._html(path, entries, view)
            page = _Page(f'"{hashlib.blake2b(body, digest_size=10).hexdigest()}"', body)
            if settled:
                self._cache.keep((*segments, view), version, now, page, sys.getsizeof(body))
        return self._response(request, view, page)

    def _response(self, request: Request, view: View, page: _Page) -> Response:
        fields = [("ETag", page.etag), ("Cache-Control", "no-cache"), ("Vary", "Accept")]
        get = request.headers.get
        outcome = evaluate(request.method, lambda name: get(name) if name in _CONDITIONS else None, page.etag, 0.0)
        if outcome is Outcome.NOT_MODIFIED:
            return Response(304, fields)
        if outcome is Outcome.PRECONDITION_FAILED:
            return Response(412, fields)
        if view.as_json:
            return Response(200, [("Content-Type", "application/json"), *fields], page.body)
        return Response(200, [("Content-Type", HTML), *self._policy, *fields], page.body)


def _view(request: Request) -> View:
    return View.parse(request.query, request.headers.get("accept"))
