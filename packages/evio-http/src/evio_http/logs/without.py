"""Responses that are not reported."""

from __future__ import annotations

from ..connections.observer import Observer
from ..connections.session import HTTPSession
from ..message.request import Request

__all__ = ["Without"]


class Without:
    """An observer around another one, to which nothing is reported of paths that begin with ``prefix``."""

    def __init__(self, observer: Observer, prefix: bytes) -> None:
        self._observer = observer
        self._prefix = prefix

    def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
        """See :class:`~evio_http.connections.observer.Observer`."""
        if request is None or not request.path.startswith(self._prefix):
            self._observer.answered(session, request, status, length)
