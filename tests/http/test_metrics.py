"""Metrics: what is counted, and that no client makes them grow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evio_http import Site, http_events
from evio_http.site.https_redirect import HttpsRedirect
from tests.core.harness import connect, receive_all, running

pytest.importorskip("prometheus_client")

from evio_http.logs.metrics import Metrics


def exchange(addr: object, *requests: bytes) -> bytes:
    with connect(addr) as peer:
        for request in requests:
            peer.sendall(request + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return receive_all(peer)


def values(shown: bytes, name: str) -> dict[str, float]:
    """The values of a metric by its labels."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", shown.decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_responses_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"12345")
    metrics = Metrics("/metrics")
    events = http_events(metrics, Site(str(tmp_path)), observers=[metrics])
    with running(events, "tcp://127.0.0.1:0") as server:
        shown = exchange(server.addr, b"GET /a.txt", b"GET /a.txt", b"HEAD /a.txt", b"PUT /a.txt")
        assert b"Content-Type: text/plain; version=0.0.4" in shown
        assert values(shown, "evio_http_responses_total")['method="PUT",status="405"'] == 1
    counted = metrics._show()  # all of it: files are counted when they have left
    assert values(counted, "evio_http_responses_total") == {
        'method="GET",status="200"': 3,
        'method="HEAD",status="200"': 1,
        'method="PUT",status="405"': 1,
    }
    assert values(counted, "evio_http_content_bytes_total")[""] > 10
    assert values(counted, "evio_http_seconds_count") == {"": 5}


def test_no_client_makes_a_label(tmp_path: Path) -> None:
    metrics = Metrics("/metrics")
    events = http_events(metrics, HttpsRedirect(443), Site(str(tmp_path)), observers=[metrics])
    with running(events, "tcp://127.0.0.1:0") as server:
        shown = exchange(server.addr, *[b"M%c /" % letter for letter in b"ABCDEFGHIJKLMNOPQRST"])
        assert values(shown, "evio_http_responses_total") == {'method="-",status="308"': 20}
