"""Counters of a server for Prometheus."""

from __future__ import annotations

from dataclasses import fields

import pytest

from evio_core import Events
from evio_core.events import LoopStats
from evio_core.metrics import COUNTERS, GAUGES, StatsCollector

from .harness import connect, receive, running

prometheus_client = pytest.importorskip("prometheus_client")


def test_every_counter_has_a_description() -> None:
    assert {*GAUGES, *COUNTERS} == {each.name for each in fields(LoopStats)}


def test_counters_are_shown_by_loop() -> None:
    registry = prometheus_client.CollectorRegistry()
    events = Events(data=lambda conn, chunk: chunk, num_loops=2)
    with running(events, "tcp://127.0.0.1:0") as served:
        registry.register(StatsCollector(served.server.stats))
        with connect(served.addr) as peer:
            peer.sendall(b"hello")
            assert receive(peer, 5) == b"hello"
            text = prometheus_client.generate_latest(registry).decode()
            assert registry.get_sample_value("evio_connections", {"loop": "0"}) == 1.0
            assert registry.get_sample_value("evio_connections", {"loop": "1"}) == 0.0
    assert "# TYPE evio_bytes_in_total counter" in text or "# TYPE evio_bytes_in counter" in text
    assert "# TYPE evio_connections gauge" in text
