"""A directory as a site: from a request to a response."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Collection, Mapping, Sequence

from ..files.encodings import CompressedCache
from ..files.media_types import DEFAULT_TYPE, MediaTypes
from ..files.paths import (
    BadPath,
    OpenedDirectory,
    OpenedFile,
    PermissionDenied,
    Root,
    decode_target_path,
    decoded_path,
    encode_path,
)
from ..files.representation import Representations
from ..files.validators import Validators
from ..files.version import FileSource, FileVersion, is_missing, nearest_directory
from ..message.request import KNOWN_METHODS, Headers, Request
from ..message.response import Deferred, Response, then, without_source
from ..pages.error_pages import OWN_PAGES, error_response
from .auth import BasicAuth, Verdict
from .error_template import ErrorTemplate
from .listing_template import ListingTemplate
from .listings import Listings
from .policy import Policy
from .redirects import REWRITES, Move, Redirects, with_query

__all__ = ["Site"]

ALLOW = ("Allow", "GET, HEAD, OPTIONS")

_BUSY = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))

_NO_FIELDS = Headers({})

log: logging.Logger = logging.getLogger("evio_http")


class Site:
    """Answers requests with the files of a directory. It is a handler: ``site(request)`` is a :class:`Response`, a
    :class:`Deferred`, or None for a path that is not below ``mount``.

    - ``mount``: the path at which the directory is;
    - ``index``: names that stand for their directory, the first that exists;
    - ``listing``: show directories that have no index; ``listing_template``: what makes their pages;
    - ``spa``: the path of the page for what does not exist, in a site that routes in the browser;
    - ``clean_urls``: ``/about`` is about.html;
    - ``precompressed``, ``compress``: see :class:`Representations`;
    - ``error_pages``: paths of pages for statuses, of ``OWN_PAGES``; ``error_template``: what makes the others;
    - ``media_types``: Content-Types by the end of a file's name (".foo") or by name, before the usual ones;
    - ``health``: a path that always answers 200;
    - ``hidden``: names in the directory itself that are not to be given, such as "_redirects";
    - ``etag``: what entity tags are made of; see ``files.validators``;
    - ``hot_file``: files of up to this many bytes are answered from memory.

    Raises ``OSError`` when the directory cannot be searched, ``ValueError`` for a path that cannot be one and for a
    status that has no such page.
    """

    shared_requests = True
    """It takes requests that are not its own, and keeps nothing of them."""

    def __init__(
        self,
        directory: str,
        *,
        mount: str = "/",
        index: Sequence[str] = ("index.html",),
        listing: bool = False,
        listing_template: ListingTemplate | None = None,
        spa: str | None = None,
        clean_urls: bool = False,
        precompressed: bool = True,
        compress: bool = False,
        follow_symlinks: bool = False,
        dotfiles: bool = False,
        policy: Policy | None = None,
        redirects: Redirects | None = None,
        auth: BasicAuth | None = None,
        error_pages: Mapping[int, str] | None = None,
        error_template: ErrorTemplate | None = None,
        media_types: Mapping[str, str] | None = None,
        health: str | None = None,
        hidden: Collection[str] = (),
        etag: str = "stat",
        hot_file: int = 32 * 1024,
    ) -> None:
        self._root = Root(directory, follow_symlinks=follow_symlinks, dotfiles=dotfiles, hidden=hidden)
        self._mount = decode_target_path(mount.encode())
        self._index = tuple(index)
        self._listings = Listings(self._root, self._mount, listing_template) if listing else None
        self._spa = decode_target_path(spa.encode()) if spa is not None else None
        self._clean_urls = clean_urls
        compressed = CompressedCache() if compress else None
        self._types = MediaTypes(media_types)
        self._files = Representations(
            self._root,
            precompressed=precompressed,
            compressed=compressed,
            small=hot_file,
            types=self._types,
            validators=Validators(etag),
        )
        self._policy = policy or Policy()
        self._redirects = redirects
        self._auth = auth
        for status in error_pages or ():
            if status not in OWN_PAGES:
                raise ValueError(f"pages for errors are not for {status} but for {', '.join(map(str, OWN_PAGES))}")
        self._error_pages = {status: decode_target_path(path.encode()) for status, path in (error_pages or {}).items()}
        self._error_template = error_template
        self._health = health.encode() if health is not None else None

    def __call__(self, request: Request) -> Response | Deferred | None:
        try:
            segments = decode_target_path(request.path) if request.path != b"*" else []
        except BadPath:
            return self._policy.apply(request, self._error(request, 400), None)
        if request.path == self._health and request.method in ("GET", "HEAD"):
            return Response(200, [("Content-Type", "text/plain"), ("Cache-Control", "no-store")], b"ok\n")
        depth = len(self._mount)
        if segments[:depth] != self._mount:
            return None
        below = segments[depth:]
        if self._auth is None:
            return self._answer(request, below)
        authorization = request.headers.get("authorization")
        verdict = self._auth.known(authorization)
        if verdict is Verdict.UNKNOWN:
            return Deferred(lambda: self._verify(request, below, authorization or ""))
        return self._authorized(request, below, verdict is Verdict.ALLOWED)

    def _verify(self, request: Request, segments: list[str], authorization: str) -> Response:
        assert self._auth is not None
        response = self._authorized(request, segments, self._auth.verify(authorization))
        return response.work() if isinstance(response, Deferred) else response

    def _authorized(self, request: Request, segments: list[str], allowed: bool) -> Response | Deferred:
        assert self._auth is not None
        if allowed:
            # What is for some is not to be answered without a look at who asks.
            return then(self._answer(request, segments), without_source)
        response = self._error(request, 401)
        response.add("WWW-Authenticate", self._auth.challenge)
        return self._policy.apply(request, response, decoded_path(segments))

    def _answer(self, request: Request, segments: list[str]) -> Response | Deferred:
        """The response, whatever happens."""
        try:
            response = self._respond(request, segments)
        except OSError as error:
            response = self._failed(request, error)
        if isinstance(response, Response):
            if self._policy.is_empty and not response.fallback:
                return response
            return self._policy.apply(request, response, decoded_path(segments))
        later = response.work

        def work() -> Response:
            try:
                made = later()
            except OSError as error:
                made = self._failed(request, error)
            return self._policy.apply(request, made, decoded_path(segments))

        return Deferred(work, response.key)

    def _failed(self, request: Request, error: OSError) -> Response:
        if isinstance(error, PermissionDenied):
            return self._error(request, 403)
        log.error("cannot serve %s: %s", request.path.decode("ascii", "replace"), error)
        return self._made_error(503 if error.errno in _BUSY else 500)

    def _respond(self, request: Request, segments: list[str]) -> Response | Deferred:
        if request.method not in ("GET", "HEAD"):
            return self._other_method(request)
        if self._redirects is None or (found := self._redirects.find(segments, request.query)) is None:
            return self._respond_to(request, segments, None)
        response = self._respond_to(request, segments, found.move)
        # What is kept in memory is for any query.
        return then(response, without_source) if found.by_query else response

    def _respond_to(self, request: Request, segments: list[str], move: Move | None) -> Response | Deferred:
        """Serve the file at a path, or follow ``move``."""
        if move is not None and move.forced:
            return self._move(request, move)
        opened = self._root.open(segments)
        # "/a/", "/a/." and "/a/b/.." ask for a directory.
        as_directory = request.path.endswith((b"/", b"/.", b"/.."))
        if isinstance(opened, OpenedFile):
            if not as_directory:
                return self._files.respond(request, segments, opened)
            opened.close()
        elif opened is not None:
            return self._directory(request, segments, opened, as_directory, move)
        return self._missing(request, segments, as_directory, move)

    def _move(self, request: Request, move: Move) -> Response | Deferred:
        """Redirect, or send another file instead."""
        if move.status not in REWRITES:
            return Response(move.status, [("Location", move.to)])
        try:
            segments = decode_target_path(re.split("[?#]", move.to)[0].encode())
        except BadPath:  # a parameter of the query has what no path can
            return self._error(request, 404)
        if move.status == 404:
            return self._error(request, 404, segments)
        for place in (segments, *([*segments, name] for name in self._index)):
            found = self._root.open(place)
            if isinstance(found, OpenedFile):
                return then(self._files.respond(request, place, found, lasting=False), _as_fallback)
            if found is not None:
                found.close()
        return self._error(request, 404)

    def _other_method(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(204, [ALLOW])
        if request.method not in KNOWN_METHODS:
            return self._error(request, 501)
        response = self._error(request, 405)
        response.add(*ALLOW)
        return response

    # -- directories

    def _directory(
        self,
        request: Request,
        segments: list[str],
        opened: OpenedDirectory,
        as_directory: bool,
        move: Move | None,
    ) -> Response | Deferred:
        try:
            if not as_directory:
                # From the decoded names: the path as it came may begin with "//", which would be another host.
                location = encode_path(self._mount + segments, directory=True)
                return Response(301, [("Location", with_query(location, request.query.decode("ascii")))])
            for place, name in enumerate(self._index):
                found = self._root.open([*segments, name])
                if isinstance(found, OpenedFile):
                    return self._files.respond(request, [*segments, name], found, lasting=place == 0)
                if found is not None:
                    found.close()
            listings = self._listings
            if listings is None:
                return self._missing(request, segments, True, move, 403)
            work = Deferred(lambda: self._listed(request, segments, listings), (self, *segments))
            return listings.find(request, segments, opened) or work
        finally:
            opened.close()

    def _listed(self, request: Request, segments: list[str], listings: Listings) -> Response:
        """In another thread. The directory is looked up again, as the descriptors of all who wait would be many."""
        opened = self._root.open(segments)
        if isinstance(opened, OpenedDirectory):
            try:
                return listings.make(request, segments, opened)
            finally:
                opened.close()
        if opened is not None:
            opened.close()
        return self._error(request, 404)

    # -- what is not there

    def _missing(
        self, request: Request, segments: list[str], as_directory: bool, move: Move | None, status: int = 404
    ) -> Response | Deferred:
        if self._clean_urls and segments and not as_directory:
            page = [*segments[:-1], segments[-1] + ".html"]
            found = self._root.open(page)
            if isinstance(found, OpenedFile):
                return self._files.respond(request, page, found, lasting=False)
            if found is not None:
                found.close()
        if move is not None:
            return self._move(request, move)
        if self._spa is None or self._root.hides(segments):
            if status != 404 or self._clean_urls:
                return self._error(request, status)
            path = self._root.locate(segments)
            directory = nearest_directory(path)  # first: what comes into it from now on shows
            return self._error(request, status, missing=path if is_missing(path) else b"", directory=directory)
        response = self._routed(request, segments, self._spa) or self._error(request, status)
        return then(response, _vary_by_accept) if self._depends_on_accept(segments) else response

    def _routed(self, request: Request, segments: list[str], page: list[str]) -> Response | Deferred | None:
        """The page of a site that routes in the browser, if ``segments`` may be one of its routes."""
        if not self._is_route(request, segments):
            return None
        found = self._root.open(page)
        if isinstance(found, OpenedFile):
            return then(self._files.respond(request, page, found, lasting=False), _as_fallback)
        if found is not None:
            found.close()
        return None

    def _is_route(self, request: Request, segments: list[str]) -> bool:
        """Tell whether a path that leads to no file may be one of a site that routes in the browser: not for what a
        page only includes, like /old/app.js, which had better be missing than be a page. What has a dot and no
        extension that we know may be either (/users/jane.doe): it is one for a client that asks for a page."""
        if self._depends_on_accept(segments):
            return "text/html" in (request.headers.get("accept") or "")
        return not segments or "." not in segments[-1]

    def _depends_on_accept(self, segments: list[str]) -> bool:
        """Tell whether it takes the field Accept to say if a path may be a route."""
        if not segments or "." not in segments[-1]:
            return False
        return self._types(segments[-1]).startswith(("text/html", "application/xhtml+xml", DEFAULT_TYPE))

    def _error(
        self,
        request: Request,
        status: int,
        page: list[str] | None = None,
        *,
        missing: bytes = b"",
        directory: FileVersion | None = None,
    ) -> Response:
        """Return the site's own page for ``status``, or else ours. It may be given from memory for as long as there is
        nothing at the path ``missing``, if that is given, which is so while ``directory`` is current."""
        page = page or self._error_pages.get(status)
        if page is not None:
            try:
                found = self._root.open(page)
                if isinstance(found, OpenedFile):
                    return self._own_page(page, found, status, missing)
                log.error("the error page for %d is not there: %s", status, decoded_path(page))
            except OSError as error:
                log.error("cannot read the error page for %d: %s", status, error)
        response = self._made_error(status)
        if missing and page is None:
            response.source = FileSource((), missing=(missing,), directory=directory)
        return response

    def _made_error(self, status: int) -> Response:
        """The page for ``status`` that needs no file."""
        return error_response(status) if self._error_template is None else self._error_template.response(status)

    def _own_page(self, page: list[str], found: OpenedFile, status: int, missing: bytes) -> Response:
        # Without the request's conditions and ranges: they are about something else (RFC 9110 section 13.2.1).
        unconditional = Request("GET", b"/", "1.1", _NO_FIELDS, path=b"/", query=b"", host="", selective=False)
        version, settled = found.version, found.settled
        response = self._files.respond_plainly(unconditional, page, found)
        if missing and settled:
            response.source = FileSource((version,), missing=(missing,))
        response.status, response.served = status, ""
        response.headers = [field for field in response.headers if field[0] != "Accept-Ranges"]
        return response


def _as_fallback(response: Response) -> Response:
    response.fallback = True
    return response


def _vary_by_accept(response: Response) -> Response:
    response.vary("Accept")
    return response
