"""Metrics in the form that Prometheus collects, with the package ``prometheus-client``."""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import accumulate
from time import monotonic
from typing import Any

from evio_core import Conn, Events, Reply

from ..connections.session import HTTPSession
from ..message.request import KNOWN_METHODS, Request
from ..message.response import Response
from .counters import Counters

__all__ = ["Metrics"]

BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Upper bounds of the histogram, in seconds."""

OTHER = "-"
"""The label of methods that are not known, and of requests that could not be read."""

LABELS = [(method, status.value) for method in (*sorted(KNOWN_METHODS), OTHER) for status in HTTPStatus]
RESPONSES = {label: number for number, label in enumerate(LABELS)}
"""The cell of each counter of responses. A method is whatever the client likes: all others have one label."""

SECONDS = len(LABELS)
"""The first cell of the histogram: one for each bucket, and one above them all."""

SUM = SECONDS + len(BUCKETS) + 1
BYTES = SUM + 1
CONNECTIONS = SUM + 2
CELLS = SUM + 3


class Metrics:
    """An observer that counts responses, and a handler that shows the counters at ``path``: those of all processes, if
    they are ``shared`` by :func:`evio_core.workers`. Raises ``ImportError`` without ``prometheus-client``, ``OSError``
    where no temporary file can be made for what is shared."""

    shared_requests = True

    def __init__(self, path: str, shared: bool = False) -> None:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        self._path = path.encode()
        self._counters = _shared_counters() if shared else Counters(CELLS)
        self._cells = self._counters.cells
        self._lock = threading.Lock()  # of the loops, which all count
        self._families: tuple[Callable[..., Any], ...] = (CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily)
        registry = CollectorRegistry()
        registry.register(self)
        self._show: Callable[[], bytes] = lambda: generate_latest(registry)

    def begin(self) -> None:
        """Begin to count in this process, one of those that share the counters."""
        self._counters.claim()
        self._cells = self._counters.cells
        self._cells[CONNECTIONS] = 0.0  # those of a process that was killed ended with it

    def close(self) -> None:
        """Let go of what the processes share."""
        self._counters.close()

    def count_connections(self, events: Events) -> None:
        """Have the connections of a server counted."""
        opened, closed = events.opened, events.closed
        assert opened is not None, "a server of HTTP has all of them"
        assert closed is not None, "a server of HTTP has all of them"

        def count_opened(conn: Conn) -> Reply:
            with self._lock:
                self._cells[CONNECTIONS] += 1
            return opened(conn)

        def count_closed(conn: Conn, error: BaseException | None) -> Any:
            with self._lock:
                self._cells[CONNECTIONS] -= 1
            return closed(conn, error)

        events.opened, events.closed = count_opened, count_closed

    def __call__(self, request: Request) -> Response | None:
        if request.path != self._path or request.method not in ("GET", "HEAD"):
            return None
        fields = [("Content-Type", "text/plain; version=0.0.4; charset=utf-8"), ("Cache-Control", "no-store")]
        return Response(200, fields, self._show())

    def answered(self, session: HTTPSession, request: Request | None, status: int, length: int) -> None:
        """See :class:`~evio_http.connections.observer.Observer`."""
        method = request.method if request is not None and request.method in KNOWN_METHODS else OTHER
        cells = self._cells
        with self._lock:
            cells[RESPONSES[method, status]] += 1
            cells[BYTES] += length
            if session.started:
                seconds = monotonic() - session.started
                cells[SECONDS + bisect_left(BUCKETS, seconds)] += 1
                cells[SUM] += seconds

    # -- of the registry

    def describe(self) -> list[Any]:
        """Return no description: a registry would call ``collect`` for it."""
        return []

    def collect(self) -> Iterator[Any]:
        """Return the families, summed over all processes."""
        counter, gauge, histogram = self._families
        regions = self._counters.regions()
        cells = [sum(numbers) for numbers in zip(*(each for each, _ in regions), strict=True)]
        responses = counter("evio_http_responses", "Responses by method and status", labels=["method", "status"])
        for (method, status), value in zip(LABELS, cells, strict=False):
            if value:
                responses.add_metric([method, str(status)], value)
        yield responses
        yield counter("evio_http_content_bytes", "Bytes of content in responses", value=cells[BYTES])
        counts = accumulate(cells[SECONDS:SUM])
        bounds = (*map(str, BUCKETS), "+Inf")
        seconds = histogram("evio_http_seconds", "From request to response")
        seconds.add_metric([], list(zip(bounds, counts, strict=True)), cells[SUM])
        yield seconds
        connections = sum(each[CONNECTIONS] for each, is_running in regions if is_running)
        yield gauge("evio_http_connections", "Open connections", value=connections)
        yield gauge("evio_http_processes", "Processes that serve", value=sum(running for _, running in regions))


def _shared_counters() -> Counters:
    if sys.platform == "win32":
        raise OSError("this system cannot fork")
    else:  # noqa: RET506  # mypy does not import in a branch of another platform
        from .counters import SharedCounters

        return SharedCounters(CELLS)
