"""Pages that reload themselves when the site's files change, for development.

Each page gets a script, which waits for server-sent events (HTML standard, section 9.2). The answer to it is held back
until something changes, for ``HOLD`` seconds at most, and is complete then: a browser asks again by itself, and names
the last version that it has heard of.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from concurrent.futures import Future
from time import monotonic
from urllib.parse import parse_qs

from ..files.paths import pread
from ..message.handler import RequestHandler
from ..message.request import Request
from ..message.response import Deferred, FileBody, Response, copied, then

__all__ = ["PREFIX", "Changes", "Live"]

PREFIX = b"/_evio/"
"""The beginning of the paths that are not the site's own."""

_SCRIPT, _EVENTS = PREFIX + b"live.js", PREFIX + b"live"

HOLD = 25.0
"""Seconds for which an answer is held back: proxies commonly wait for 30 or 60."""

RETRY = 200
"""Milliseconds until a browser asks again."""

REMEMBERED = 100
"""Changes that are known one by one; whoever knows none of them reloads the page."""

MAX_PAGE = 8 << 20
"""Bytes of the largest page that gets the script."""

_SHOWN = frozenset(("document", "iframe", "frame", "embed", "object"))
"""Values of Sec-Fetch-Dest of what a browser shows as a page."""

_CHOOSING = frozenset(
    ("accept-encoding", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range")
)
"""Fields of requests that may lead to less than the whole page, or to one that is compressed."""

_OF_THE_FILE = frozenset(("etag", "last-modified", "accept-ranges", "cache-control"))
"""Fields of responses that are about the file without the script."""

_CODE = b"""\
(() => {
  "use strict";
  const script = document.currentScript;
  if (window.evioLive) return;
  window.evioLive = true;
  const events = script.src.replace(/\\.js$/, "");
  let version = script.dataset.version;
  let source = null;

  function restyle() {
    const links = [...document.querySelectorAll("link[rel~=stylesheet][href]")]
      .filter(link => new URL(link.href).origin === location.origin);
    const importing = [...document.styleSheets].some(sheet => {
      try { return [...sheet.cssRules].some(rule => rule instanceof CSSImportRule); } catch { return false; }
    });
    if (importing || !links.length) return location.reload();
    for (const link of links) {
      const url = new URL(link.href);
      url.searchParams.set("evio-live", version);
      const fresh = link.cloneNode();
      fresh.href = url;
      fresh.onload = fresh.onerror = () => link.remove();
      link.after(fresh);
    }
  }

  function stop() {
    if (source) source.close();
    source = null;
  }

  function listen() {
    if (source || document.hidden) return;  // a browser has six connections for all its tabs
    source = new EventSource(`${events}?since=${version}`);
    source.addEventListener("reload", () => { stop(); location.reload(); });
    source.addEventListener("style", event => { version = event.lastEventId; restyle(); });
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) { stop(); setTimeout(listen, 2000); }
    };
  }

  document.addEventListener("visibilitychange", () => document.hidden ? stop() : listen());
  addEventListener("pagehide", stop);
  addEventListener("pageshow", listen);
  listen();
})();
"""


class Changes:
    """The versions of a site, and who waits for the next one. For several threads."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(4)  # what was before a restart is not known
        self._count = 0
        self._kinds: deque[str] = deque(maxlen=REMEMBERED)
        self._next: Future[None] | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """The name of the current version."""
        return f"{self._run}.{self._count}"

    def add(self, *, only_styles: bool) -> None:
        """Begin another version: files have changed."""
        with self._lock:
            self._count += 1
            self._kinds.append("style" if only_styles else "reload")
            waiting, self._next = self._next, None
        if waiting is not None:
            waiting.set_result(None)

    def since(self, version: str) -> str | None:
        """Return what has changed since ``version``: ``"style"`` if only stylesheets have, ``"reload"`` for anything
        else and if the version is not known, None for nothing."""
        run, _, number = version.partition(".")
        with self._lock:
            behind = self._count - int(number) if run == self._run and number.isdecimal() else -1
            if behind == 0:
                return None
            if not 0 < behind <= len(self._kinds):
                return "reload"
            return "reload" if "reload" in list(self._kinds)[-behind:] else "style"

    def next(self) -> Future[None]:
        """Return what is done with the next change, or when ``HOLD`` seconds are over."""
        with self._lock:
            if self._next is None:
                self._next = Future()
                self._until = monotonic() + HOLD
            return self._next

    def release(self, now: float) -> None:
        """Let those who wait go on if ``HOLD`` seconds are over at ``now``, ``time.monotonic``. To be called every few
        seconds."""
        with self._lock:
            if self._next is None or now < self._until:
                return
            waiting, self._next = self._next, None
        waiting.set_result(None)


class Live:
    """A handler around ``handler``, which gives its pages the script, and has browsers ask for everything each time: a
    reload is to show what is there. ``changes`` says when."""

    def __init__(self, handler: RequestHandler, changes: Changes) -> None:
        self._handler = handler
        self._changes = changes
        self.shared_requests: bool = getattr(handler, "shared_requests", False)

    def __call__(self, request: Request) -> Response | Deferred | None:
        if request.path == _SCRIPT:
            return Response(200, [("Content-Type", "text/javascript"), ("Cache-Control", "no-cache")], _CODE)
        if request.path == _EVENTS:
            return self._events(request)
        if request.method not in ("GET", "HEAD") or not _may_be_page(request):
            response = self._handler(request)
            return response if response is None else then(response, _for_now)
        version = self._changes.version  # first: what changes from now on is another one
        response = self._handler(request.without(_CHOOSING))
        return response if response is None else then(response, lambda made: _with_script(made, version))

    def _events(self, request: Request) -> Response | Deferred:
        asked = parse_qs(request.query.decode("ascii")).get("since", [""])
        version = request.headers.get("last-event-id") or asked[0]
        change = self._changes.next()
        if self._changes.since(version) is not None:
            return self._told(version)
        return Deferred(lambda: self._told(version), self, after=change)

    def _told(self, version: str) -> Response:
        now, event = self._changes.version, self._changes.since(version)
        text = f"retry: {RETRY}\nid: {now}\n" + (f"event: {event}\ndata: {now}\n" if event else "") + "\n"
        return Response(200, [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")], text.encode())


def _may_be_page(request: Request) -> bool:
    """Tell whether a browser may show the answer as a page. Over plain HTTP it says so only to this machine."""
    get = request.headers.get
    shown = get("sec-fetch-dest")
    if shown is not None:
        return shown in _SHOWN
    accepted = get("accept", "*/*") or ""
    return get("range") is None and ("text/html" in accepted or "*/*" in accepted)


def _for_now(response: Response) -> Response:
    """Have browsers ask again each time."""
    copy = copied(response)
    copy.headers = [field for field in copy.headers if field[0].lower() != "cache-control"]
    copy.add("Cache-Control", "no-cache")
    return copy


def _with_script(response: Response, version: str) -> Response:
    page = _page(response)
    if page is None:
        return _for_now(response)
    nonce = secrets.token_urlsafe(12)
    copy = copied(response)
    response.close()
    copy.source = None  # or the next one would get this version
    copy.headers = [
        (name, _allowing(value, nonce) if name.lower() == "content-security-policy" else value)
        for name, value in copy.headers
        if name.lower() not in _OF_THE_FILE
    ]
    copy.add("Cache-Control", "no-cache")
    tag = f'\n<script async src="{_SCRIPT.decode()}" data-version="{version}" nonce="{nonce}"></script>\n'
    copy.body = page + tag.encode()
    return copy


def _page(response: Response) -> bytes | None:
    """Return the whole page that a response is, if it is one in a charset that has ASCII in it."""
    fields = {name.lower(): value.lower() for name, value in response.headers}
    media_type, _, parameters = fields.get("content-type", "").partition(";")
    if media_type.strip() != "text/html" or "utf-16" in parameters or "content-encoding" in fields:
        return None
    body = response.body
    if isinstance(body, FileBody):
        if response.status == 206 or body.length > MAX_PAGE:
            return None
        body = b"".join(_read(body.file.fd, piece) for piece in body.pieces)
    return None if body.startswith((b"\xff\xfe", b"\xfe\xff")) else body


def _read(fd: int, piece: bytes | tuple[int, int]) -> bytes:
    if isinstance(piece, bytes):
        return piece
    offset, count = piece
    content: bytes = pread(fd, count, offset)
    while len(content) < count and (more := pread(fd, count - len(content), offset + len(content))):
        content += more
    return content


def _allowing(policies: str, nonce: str) -> str:
    """Allow the script, and what it asks for, in the value of Content-Security-Policy (CSP Level 3, section 2.3)."""
    return ", ".join(_allowing_one(policy, nonce) for policy in policies.split(","))


def _allowing_one(policy: str, nonce: str) -> str:
    directives: dict[str, list[str]] = {}
    for directive in policy.split(";"):
        words = directive.split()
        if words:
            directives.setdefault(words[0].lower(), words[1:])  # of several the first counts
    for name, fallback in (("script-src-elem", ""), ("script-src", "default-src"), ("connect-src", "default-src")):
        sources = directives.get(name, directives.get(fallback))
        if sources is None:
            continue
        # With 'strict-dynamic' no address counts; without it, a nonce would take 'unsafe-inline' away.
        own = f"'nonce-{nonce}'" if "'strict-dynamic'" in sources else "'self'"
        if own not in sources:
            directives[name] = [source for source in sources if source != "'none'"] + [own]
    return "; ".join(" ".join((name, *sources)) for name, sources in directives.items())
