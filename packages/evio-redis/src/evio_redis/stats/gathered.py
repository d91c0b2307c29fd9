"""The metrics of all workers in one scrape (``python -m evio_redis.stats.gathered HOST PORT NAME=URL ...``).

``--workers`` runs it with ``--metrics-port``. A scrape has each worker's samples, with its port as the label
``worker``, and ``evio_redis_up`` of each: 0 if it did not answer, and then its samples are missing.
"""

from __future__ import annotations

import signal
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from evio_core.systemd import ServiceManager

from .metrics import serve_collector

__all__ = ["GatheringCollector", "main"]

LONGEST_WAIT = 5.0
"""Seconds that a scrape waits for each worker."""


class GatheringCollector:
    """A collector for a registry of ``prometheus_client`` that scrapes others. Raises ``ImportError`` without it."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """``sources``: the URL of each worker's metrics by its name."""
        from prometheus_client.metrics_core import GaugeMetricFamily, Metric
        from prometheus_client.parser import text_string_to_metric_families

        self._sources = sources
        self._parse = text_string_to_metric_families
        self._family = Metric
        self._gauge = GaugeMetricFamily

    def describe(self) -> list[Any]:
        """Return no description: a registry would call ``collect`` for it."""
        return []

    def collect(self) -> Iterator[Any]:
        """Return the families, each with the samples of all workers."""
        families: dict[str, Any] = {}
        up = self._gauge("evio_redis_up", "1 if the worker answers", labels=["worker"])
        for name, url in self._sources.items():
            try:
                with urllib.request.urlopen(url, timeout=LONGEST_WAIT) as response:
                    text = response.read().decode()
            except OSError:  # it is being started again, or a command holds it up
                up.add_metric([name], 0)
                continue
            up.add_metric([name], 1)
            for found in self._parse(text):
                family = families.setdefault(found.name, self._family(found.name, found.documentation, found.type))
                for sample in found.samples:
                    family.add_sample(sample.name, {"worker": name, **sample.labels}, sample.value)
        yield up
        yield from families.values()


def main(arguments: list[str]) -> int:
    """Serve until a signal ends the process; returns the exit status if it cannot."""
    host, port, *sources = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        serve_collector(host, int(port), GatheringCollector(dict(each.split("=", 1) for each in sources)))
    except ImportError:
        print("evio-redis: metrics-port needs prometheus-client: pip install 'evio-redis[metrics]'", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"evio-redis: cannot listen on http://{host}:{port}: {error.strerror or error}", file=sys.stderr)
        return 1
    manager = ServiceManager.from_environment()
    if manager is not None:
        manager.ready()
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
