"""Response fields that a site sends by policy: caching, security, cross-origin access, fields by pattern."""

from __future__ import annotations

from collections.abc import Iterable

from ..message.request import Request
from ..message.response import Response
from .rules import CacheRules, HeaderRules

__all__ = ["SECURITY_FIELDS", "Policy"]

SECURITY_FIELDS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
"""The preset: the OWASP HTTP Headers Cheat Sheet without what would break a site that was not written for it (a
Content-Security-Policy is for whoever knows the pages)."""

PREFLIGHT_SECONDS = 86400


class Policy:
    """Fields that are added to the responses of a site.

    ``origins`` that may read the site from their scripts, or ``*`` (the CORS protocol, Fetch standard section 3.2).
    ``hsts``: seconds for which browsers are to come over TLS only (RFC 6797); sent over TLS only; 0: not sent.
    """

    def __init__(
        self,
        *,
        cache: CacheRules | None = None,
        headers: HeaderRules | None = None,
        security: bool = False,
        origins: Iterable[str] = (),
        hsts: int = 0,
    ) -> None:
        self._cache = cache
        self._headers = headers
        self._security = security
        self._origins = frozenset(origins)
        self._hsts = f"max-age={hsts}" if hsts else ""
        self.is_empty: bool = not (cache or headers or security or self._origins or hsts)
        """True if nothing is added to a response that is no fallback."""

    def apply(self, request: Request, response: Response, path: str | None) -> Response:
        """Add to ``response`` what is due; ``path`` is the decoded path of what was asked for, None if that is
        malformed. The more special comes first: what is there already stays. Patterns are for what was asked for and
        for the file that answers it: ``*.html`` is for ``/``, too, and ``/app/*`` for all that a single page answers.
        But how long that page may be kept depends on its own file alone, and on nothing what is no success: or caches
        would keep it under the name of an asset that may be there a moment later."""
        if path is not None:
            paths = {path, response.served or path}
            lasting = {response.served} if response.fallback else paths
            success = response.status in (200, 206, 304)
            if self._headers is not None:
                own = self._headers.find(*lasting) if success else []
                self._add(response, (field for field in own if _is_caching(field[0])))
                self._add(response, (field for field in self._headers.find(*paths) if not _is_caching(field[0])))
            if self._cache is not None and success:
                value = self._cache.find(*lasting)
                self._add(response, [("Cache-Control", value)] if value else [])
        if response.fallback:
            self._add(response, [("Cache-Control", "no-cache")])
        if self._origins:
            self._cross_origin(request, response)
        if self._security:
            self._add(response, SECURITY_FIELDS)
        if self._hsts and request.scheme == "https":
            self._add(response, [("Strict-Transport-Security", self._hsts)])
        return response

    @staticmethod
    def _add(response: Response, fields: Iterable[tuple[str, str]]) -> None:
        for name, value in fields:
            if name.lower() == "vary":
                response.vary(value)
            elif not response.has(name):
                response.add(name, value)

    def _cross_origin(self, request: Request, response: Response) -> None:
        if "*" in self._origins:
            allowed: str | None = "*"
        else:
            origin = request.headers.get("origin")
            allowed = origin if origin in self._origins else None
            response.vary("Origin")
        if allowed is None or response.has("Access-Control-Allow-Origin"):
            return
        response.add("Access-Control-Allow-Origin", allowed)
        if request.method != "OPTIONS":
            response.add("Access-Control-Expose-Headers", "Content-Length, Content-Range, ETag")
        elif "access-control-request-method" in request.headers:
            response.add("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
            response.add("Access-Control-Allow-Headers", "Range, If-Match, If-None-Match, If-Range")
            response.add("Access-Control-Max-Age", str(PREFLIGHT_SECONDS))


def _is_caching(name: str) -> bool:
    """Tell whether a field says how long a response may be kept (RFC 9111 section 5, RFC 9213)."""
    name = name.lower()
    return name.endswith("cache-control") or name in ("expires", "surrogate-control")
