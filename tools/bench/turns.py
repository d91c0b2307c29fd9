"""Turns: all servers of a workload run at the same time, and the load goes to each of them for a millisecond or two,
over and over.

A core's speed changes by a factor of two within milliseconds when another thread of the same core, or another core of
the same processor, begins to work. What is measured a second later is measured on another machine, as it were; two
turns that follow each other are not, and over hundreds of them what is left falls on all servers alike.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import procfs
from .server import Server, blamed
from .traffic import Load, Run, figures

__all__ = ["Turns", "take_turns"]


@dataclass(slots=True)
class Turns:
    """The turns of one server."""

    server: Server
    load: Load
    run: Run = field(default_factory=Run)
    """All turns together."""
    counts: list[int] = field(default_factory=list)
    """Requests of each turn."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of CPU time before each turn, and at the end: what a server does between two turns, be it what one left
    or what it does by itself, belongs to the earlier one."""

    def take(self) -> bool:
        """Make one more turn. Returns False when there is nothing left to send."""
        with blamed(self.server.name):
            # The core was another server's since the last turn: this one sleeps, and its CPU time is up to date.
            self.cpu.append(procfs.cpu_seconds(self.server.pid))
            turn = self.load.send()
        self.run.add(turn)
        self.counts.append(turn.batches * self.load.requests)
        return turn.batches > 0

    def end(self) -> None:
        """Take the CPU time of the last turn."""
        with blamed(self.server.name):
            self.cpu.append(procfs.settled(procfs.cpu_seconds, self.server.pid))

    def figures(self) -> dict[str, float]:
        """Those of :data:`~tools.bench.suite.REQUEST_METRICS`."""
        return figures(self.run, self.cpu[-1] - self.cpu[0], self.load.requests)

    def costs(self) -> list[float]:
        """CPU time for a request, of each turn."""
        spent = (after - before for before, after in zip(self.cpu, self.cpu[1:], strict=False))
        return [seconds / count for seconds, count in zip(spent, self.counts, strict=True) if count]


def take_turns(loads: Mapping[Server, Load], seconds: float) -> dict[str, Turns]:
    """Send to each server in turn, for as many ``seconds`` as there are servers times that, or until there is nothing
    left to send. Returns the turns of each by its name."""
    all_turns = [Turns(server, load) for server, load in loads.items()]
    deadline = time.monotonic() + seconds * len(all_turns)
    # Not in the midst of them: each server has as many turns.
    while time.monotonic() < deadline and all(turns.take() for turns in all_turns):
        pass
    for turns in all_turns:
        turns.end()
    return {turns.server.name: turns for turns in all_turns}
