"""The latency monitor: events that took longer than ``latency-monitor-threshold``.

https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/latency-monitor/
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ..config.config import Config

__all__ = ["Latency"]

HISTORY = 160
"""Samples kept of an event, one a second at most."""


class Latency:
    """The spikes of each event: ``(Unix second, milliseconds)``."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.events: dict[str, deque[tuple[int, int]]] = {}
        self.worst: dict[str, int] = {}

    def sample(self, event: str, seconds: float) -> None:
        """An event took so long; it counts if that is long enough."""
        milliseconds = int(seconds * 1000)
        threshold = self._config.latency_monitor_threshold
        if not threshold or milliseconds < threshold:
            return
        samples = self.events.setdefault(event, deque(maxlen=HISTORY))
        now = int(time.time())
        if samples and samples[-1][0] == now:
            milliseconds = max(milliseconds, samples.pop()[1])
        samples.append((now, milliseconds))
        self.worst[event] = max(milliseconds, self.worst.get(event, 0))

    def timed(self, job: Callable[[], object], *events: str) -> None:
        """Do something that is one or several events."""
        if not self._config.latency_monitor_threshold:
            job()
            return
        begin = time.perf_counter()
        try:
            job()
        finally:
            taken = time.perf_counter() - begin
            for event in events:
                self.sample(event, taken)

    def reset(self, events: list[str] | None = None) -> int:
        """Forget some events, or all; returns how many there were."""
        doomed = [event for event in (self.events if events is None else events) if event in self.events]
        for event in doomed:
            del self.events[event], self.worst[event]
        return len(doomed)
