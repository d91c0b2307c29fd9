"""The counters of a server for Prometheus, with the package ``prometheus-client`` (``pip install evio-core[metrics]``).

::

    from prometheus_client import REGISTRY, start_http_server

    def serving(server):
        REGISTRY.register(StatsCollector(server.stats))
        start_http_server(9100, "127.0.0.1")  # in a thread of its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from .events import LoopStats, Stats

__all__ = ["StatsCollector"]

GAUGES = {
    "connections": "Open connections",
    "lingering": "Connections that have ended and whose peer has not",
}

COUNTERS = {
    "accepted": "Connections accepted",
    "accept_errors": "Failures to accept a connection",
    "refused": "Connections beyond the allowed number",
    "handshake_errors": "Connections that ended in their TLS handshake",
    "proxy_errors": "Connections that ended before their PROXY header was there",
    "dialled": "Connections dialled",
    "dial_errors": "Dialled connections that did not open",
    "turns": "Turns of the loop",
    "bytes_in": "Bytes received",
    "bytes_out": "Bytes sent",
    "datagrams_in": "Datagrams received",
    "datagrams_out": "Datagrams sent",
    "datagrams_dropped": "Datagrams that could not be sent",
}


class StatsCollector:
    """A collector for a registry of ``prometheus_client``: what :meth:`evio_core.Server.stats` says, labelled by loop,
    as ``evio_connections{loop="0"}`` and ``evio_bytes_in_total{loop="0"}``. It costs nothing between two scrapes."""

    def __init__(self, stats: Callable[[], Stats]) -> None:
        """``stats`` is the method of a server. Raises ``ImportError`` without ``prometheus-client``."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        self._stats = stats
        self._counter: Callable[..., Any] = CounterMetricFamily
        self._gauge: Callable[..., Any] = GaugeMetricFamily

    def describe(self) -> list[Any]:
        """Return no description: a registry would call ``collect`` for it, before the server runs."""
        return []

    def collect(self) -> Iterator[Any]:
        """Return a family for each counter of :class:`LoopStats`."""
        loops = self._stats().loops
        for each in fields(LoopStats):
            name = each.name
            make, about = (self._gauge, GAUGES[name]) if name in GAUGES else (self._counter, COUNTERS[name])
            family = make(f"evio_{name}", about, labels=["loop"])
            for number, loop in enumerate(loops):
                family.add_metric([str(number)], getattr(loop, name))
            yield family
