"""From the plain port to the one with TLS."""

from __future__ import annotations

from ..files.paths import BadPath, decode_target_path
from ..message.request import Request
from ..message.response import Response
from ..pages.error_pages import error_response

__all__ = ["HttpsRedirect"]

CHALLENGES = [".well-known", "acme-challenge"]
"""The path where a certificate authority looks, over plain HTTP, for the proof of who we are (RFC 8555 section 8.3)."""


class HttpsRedirect:
    """A handler that answers every request over plain HTTP with where to go; ``port`` is that of TLS."""

    shared_requests = True

    def __init__(self, port: int) -> None:
        self._suffix = "" if port == 443 else f":{port}"

    def __call__(self, request: Request) -> Response | None:
        if request.scheme == "https" or _is_challenge(request.path):
            return None
        if not request.host or request.path == b"*":
            return error_response(400)  # nobody can say where the site is
        host = request.host
        if ":" in host.rpartition("]")[2]:
            host = host.rpartition(":")[0]
        query = b"?" + request.query if request.query else b""
        # 308 keeps the method where 301 may turn it into GET (RFC 9110 section 15.4.9).
        status = 301 if request.method in ("GET", "HEAD") else 308
        location = f"https://{host}{self._suffix}{(request.path + query).decode('ascii')}"
        return Response(status, [("Location", location)])


def _is_challenge(path: bytes) -> bool:
    try:
        return decode_target_path(path)[: len(CHALLENGES)] == CHALLENGES  # "..", too, is resolved
    except BadPath:
        return False
