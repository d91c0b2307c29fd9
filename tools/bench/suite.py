"""The parts of a benchmark: workloads, the servers each runs on, what is read, what is to be reached.

``echo``, ``http`` and ``redis`` fill these in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import Literal

from .server import BenchError, Peer, Requirement, Server
from .traffic import Load

__all__ = ["REQUEST_METRICS", "Group", "Metric", "Settings", "Suite", "Target", "Workload", "is_variant", "matches"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The decisions of the command line."""

    rounds: int = 3
    seconds: float = 2.0
    """Seconds that a server is under load in one measurement."""
    idle_seconds: float = 10.0
    """Seconds that it is left alone in one that counts wake-ups."""
    pin: str = "same"
    """``same``: the load runs on the server's core; ``split``: on another."""

    def cores(self) -> tuple[int, int]:
        """The server's core and the load's: of those this process may use, the last and, for ``split``, the
        first.

        Raises :class:`BenchError` when there is no second one.
        """
        usable = sorted(os.sched_getaffinity(0))
        if self.pin == "split" and len(usable) == 1:
            raise BenchError("--pin split needs two cores and this process may use one; allowed is: same")
        return usable[-1], usable[0] if self.pin == "split" else usable[-1]

    def cores_for(self, workload: Workload) -> tuple[frozenset[int], frozenset[int]]:
        """The cores that a workload's servers and its load may use. Raises as :meth:`cores` does."""
        if not workload.pinned:
            return (frozenset(os.sched_getaffinity(0)),) * 2
        server, load = self.cores()
        return frozenset({server}), frozenset({load})


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that a workload yields."""

    key: str
    title: str
    """With its unit."""
    decimals: int = 0
    higher_is_better: bool = False

    def best(self, values: Sequence[float]) -> float:
        """Of several rounds, the one that was disturbed least."""
        return max(values) if self.higher_is_better else min(values)


REQUEST_METRICS = (
    Metric("cpu", "CPU µs/request", 2),
    Metric("p50", "p50 ms", 2),
    Metric("p99", "p99 ms", 2),
    Metric("p999", "p99.9 ms", 2),
    Metric("rate", "requests/s", higher_is_better=True),
)
"""The figures of every workload that is made of requests."""


@dataclass(frozen=True, slots=True)
class Group:
    """Workloads with the same metrics, which share a table and a chart."""

    key: str
    """Part of the names of the chart's files."""
    title: str
    axis: str = ""
    """Of workloads that are the points of a curve: what the number behind the colon of their keys counts."""


def is_variant(server: str, subject: str) -> bool:
    """True for the name of the subject with other settings, such as ``evio 60 s``."""
    return server.startswith(f"{subject} ")


def matches(key: str, pattern: str) -> bool:
    """True if ``pattern`` names the workload ``key``: by itself, by how it begins (``cache`` for ``cache:16``), or with
    the wildcards of :mod:`fnmatch` (``*:16``)."""
    return fnmatchcase(key, pattern) or key.startswith(f"{pattern}:")


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to measure. Its first metric is what servers are compared by."""

    key: str
    title: str
    metrics: tuple[Metric, ...]
    peers: tuple[Peer, ...]
    measure: Callable[[Server, Settings], dict[str, float]] | None = None
    """Called on the load's core with a server just started; returns a value for each metric."""
    load: Callable[[Server, Settings], AbstractContextManager[Load]] | None = None
    """Instead of ``measure``: makes a server ready for what is sent to it and to the others in turns. Its metrics are
    :data:`REQUEST_METRICS`."""
    prepare: Callable[[Path], None] | None = None
    """Called once, before any server starts, with an empty folder for what servers and load need."""
    requires: tuple[Requirement, ...] = ()
    repeat: bool = True
    """False for what is counted rather than timed: one round says as much as many."""
    label: str = ""
    """A few words for a chart, where they are not those of the key."""
    group: Group | None = None
    """The table and the chart it is a row of; without one it has a table of its own."""
    pinned: bool = True
    """False for servers that are meant to use several cores: they and the load then run on all of them."""
    shared: bool = False
    """Those of a group that share servers are measured one after the other on the same process of each server, which
    saves starting it for what takes a tenth of a second."""

    def metric(self, key: str) -> Metric:
        """The metric of that key."""
        return next(metric for metric in self.metrics if metric.key == key)


@dataclass(frozen=True, slots=True)
class Target:
    """A goal of a suite's subject: a limit for a metric or, with ``against``, for its ratio to that
    server's."""

    workload: str
    """A workload's key or a pattern for several, as :func:`matches` has them."""
    metric: str
    comparison: Literal["<=", "<", ">="]
    limit: float
    against: str | None = None
    of: Literal["worst", "median"] = "worst"
    """The one that counts of several workloads."""

    def judged(self, values: Sequence[float]) -> float:
        """The one of ``values``, one of each workload, that the limit is for."""
        if self.of == "median":
            return median(values)
        return min(values) if self.comparison == ">=" else max(values)

    def reached(self, value: float) -> bool:
        """Tell whether ``value`` is good enough."""
        if self.comparison == ">=":
            return value >= self.limit
        return value < self.limit or (value == self.limit and self.comparison == "<=")


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark that can be asked for by name."""

    name: str
    title: str
    subject: str
    """The server that is held against the others."""
    reference: str
    """The server that charts measure all others by."""
    short: tuple[str, ...]
    """The workloads of the short form, which flatter and which do not: patterns, as :func:`matches` has them."""
    documented: tuple[str, ...]
    """Those of the documentation, likewise."""
    workloads: tuple[Workload, ...]
    targets: tuple[Target, ...]

    def chosen(self, patterns: Collection[str]) -> tuple[Workload, ...]:
        """Its workloads that one of the ``patterns`` names, in the suite's order."""
        return tuple(each for each in self.workloads if any(matches(each.key, pattern) for pattern in patterns))

    def servers(self) -> tuple[str, ...]:
        """The names of all its servers, in order."""
        return tuple(dict.fromkeys(peer.name for workload in self.workloads for peer in workload.peers))

    def installed(self) -> tuple[str, ...]:
        """The names of its servers without the optional ones that are not installed."""
        return tuple(
            dict.fromkeys(
                peer.name
                for workload in self.workloads
                for peer in workload.peers
                if not peer.optional or all(each.met() for each in peer.requires)
            )
        )
