"""Metrics in the form that Prometheus collects, with the package ``prometheus-client``."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from ..connections.session import HTTPSession
from ..message.request import KNOWN_METHODS, Request
from ..message.response import Response

__all__ = ["Metrics"]

BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """An observer that counts responses, and a handler that shows the counters at ``path``. Each worker process counts
    for itself. Raises ``ImportError`` without ``prometheus-client``."""

    shared_requests = True

    def __init__(self, path: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

        self._path = path.encode()
        self._registry = CollectorRegistry()
        self._show: Callable[[Any], bytes] = generate_latest
        own: dict[str, Any] = {"registry": self._registry}
        self._responses = Counter("evio_http_responses", "Responses by method and status", ["method", "status"], **own)
        self._bytes = Counter("evio_http_content_bytes", "Bytes of content in responses", **own)
        self._seconds = Histogram("evio_http_seconds", "From request to response", buckets=BUCKETS, **own)
        self._connections = Gauge("evio_http_connections", "Open connections", **own)
        self._counters: dict[tuple[str, int], Any] = {}

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Show as open connections what ``count`` says."""
        self._connections.set_function(count)

    def __call__(self, request: Request) -> Response | None:
        if request.path != self._path or request.method not in ("GET", "HEAD"):
            return None
        fields = [("Content-Type", "text/plain; version=0.0.4; charset=utf-8"), ("Cache-Control", "no-store")]
        return Response(200, fields, self._show(self._registry))

    def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
        """See :class:`~evio_http.connections.observer.Observer`."""
        # A method is whatever the client likes, and each label is kept for good.
        method = request.method if request is not None and request.method in KNOWN_METHODS else "-"
        counter = self._counters.get((method, status))
        if counter is None:
            counter = self._counters[method, status] = self._responses.labels(method, status)
        counter.inc()
        self._bytes.inc(length)
        if session.started:
            self._seconds.observe(monotonic() - session.started)
