"""Responses into the access log."""

from __future__ import annotations

from time import monotonic

from ..connections.peers import TrustedProxies
from ..connections.session import HTTPSession
from ..message.request import Request
from ..site.auth import BasicAuth
from .access_log import AccessLog

__all__ = ["LogObserver"]


class LogObserver:
    """Notes each response in an access log, with who asked. ``auth`` knows the names of users."""

    def __init__(self, log: AccessLog, trusted: TrustedProxies, auth: BasicAuth | None) -> None:
        self._log = log
        self._client = trusted.client if trusted else None
        self._auth = auth

    def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
        """See :class:`~evio_http.connections.observer.Observer`."""
        seconds = monotonic() - session.started if session.started else 0.0
        if request is None:
            self._log.log(session.address, "", "", "", status, length, seconds, tls=session.tls)
            return
        get = request.headers.get
        self._log.log(
            session.address if self._client is None else self._client(session.address, request),
            request.method,
            request.target.decode("latin-1"),
            f"HTTP/{request.version}",
            status,
            length,
            seconds,
            user=self._auth.user(get("authorization")) if self._auth is not None and status != 401 else "",
            host=request.host,
            referer=get("referer") or "",
            user_agent=get("user-agent") or "",
            tls=session.tls,
        )
