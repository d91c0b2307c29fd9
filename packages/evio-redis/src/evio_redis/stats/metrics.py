"""Metrics in the form that Prometheus collects, with the package ``prometheus-client`` (``metrics-port``).

They are made of INFO when they are asked for, on the server's own loop, and cost nothing between two scrapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

__all__ = ["InfoCollector", "serve_collector"]

GAUGES = {
    "uptime_in_seconds": "Seconds since the server started",
    "connected_clients": "Clients that are connected",
    "blocked_clients": "Clients that wait in a blocking command",
    "maxclients": "Most clients at once",
    "used_memory": "Bytes of keys, clients and scripts",
    "used_memory_rss": "Bytes of the process",
    "maxmemory": "Bytes above which keys are evicted or writes refused; 0 is no limit",
    "rdb_changes_since_last_save": "Writes since the last snapshot",
    "rdb_last_save_time": "Unix time of the last snapshot",
    "aof_enabled": "1 if the append-only file is on",
    "connected_slaves": "Replicas that are connected",
    "master_repl_offset": "Bytes of the replication stream",
    "pubsub_channels": "Channels with subscribers",
}
"""Fields of INFO that go up and down."""

COUNTERS = {
    "total_connections_received": "Connections accepted",
    "rejected_connections": "Connections refused",
    "total_commands_processed": "Commands processed",
    "total_net_input_bytes": "Bytes received",
    "total_net_output_bytes": "Bytes sent",
    "expired_keys": "Keys that have expired",
    "evicted_keys": "Keys that were evicted",
    "keyspace_hits": "Keys that were looked up and there",
    "keyspace_misses": "Keys that were looked up and not there",
    "total_error_replies": "Replies that were errors",
}
"""Fields that only grow."""

SECTIONS = ["server", "clients", "memory", "persistence", "stats", "replication", "commandstats", "keyspace"]

LONGEST_WAIT = 5.0
"""Seconds that a scrape waits for a loop which a command holds up."""


class InfoCollector:
    """A collector for a registry of ``prometheus_client``. Raises ``ImportError`` without it."""

    def __init__(self, info: Callable[[list[str]], str], call: Callable[[Callable[[], object]], None]) -> None:
        """``info`` returns the text of sections; ``call`` has a function called where that may be done."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        self._info = info
        self._call = call
        self._counter: Callable[..., Any] = CounterMetricFamily
        self._gauge: Callable[..., Any] = GaugeMetricFamily

    def describe(self) -> list[Any]:
        """Return no description: a registry would call ``collect`` for it, before the server runs."""
        return []

    def collect(self) -> Iterator[Any]:
        """Return the families. Raises ``TimeoutError`` if the server does not come round to it in 5 s."""
        fields = dict(line.split(":", 1) for line in self._text().split("\r\n") if ":" in line)
        for names, make in ((GAUGES, self._gauge), (COUNTERS, self._counter)):
            for name, about in names.items():
                if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", fields.get(name, "")):
                    yield make(f"evio_redis_{name.removeprefix('total_')}", about, value=float(fields[name]))
        yield from self._of_commands(fields)
        yield from self._of_databases(fields)

    def _text(self) -> str:
        found: Future[str] = Future()

        def answer() -> None:
            try:
                found.set_result(self._info(SECTIONS))
            except Exception as error:
                found.set_exception(error)

        self._call(answer)
        return found.result(LONGEST_WAIT)

    def _of_commands(self, fields: dict[str, str]) -> Iterator[Any]:
        calls = self._counter("evio_redis_command_calls", "Calls by command", labels=["command"])
        taken = self._counter("evio_redis_command_seconds", "Seconds in a command", labels=["command"])
        for name, value in fields.items():
            if name.startswith("cmdstat_"):
                figures = dict(part.split("=", 1) for part in value.split(","))
                command = [name.removeprefix("cmdstat_")]
                calls.add_metric(command, float(figures["calls"]))
                taken.add_metric(command, float(figures["usec"]) / 1e6)
        yield calls
        yield taken

    def _of_databases(self, fields: dict[str, str]) -> Iterator[Any]:
        keys = self._gauge("evio_redis_keys", "Keys by database", labels=["db"])
        expiring = self._gauge("evio_redis_expiring_keys", "Keys with an expiry time by database", labels=["db"])
        for name, value in fields.items():
            if re.fullmatch("db[0-9]+", name):
                figures = dict(part.split("=", 1) for part in value.split(","))
                keys.add_metric([name], float(figures["keys"]))
                expiring.add_metric([name], float(figures["expires"]))
        yield keys
        yield expiring


def serve_collector(host: str, port: int, collector: Any) -> Callable[[], None]:
    """Serve a collector's metrics over HTTP in a thread; returns what ends that. Raises ``OSError`` if the port cannot
    be had."""
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(port, host, registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
