"""Making the measurements, interleaved: every server once, then every server again.

What disturbs the machine for a while then falls on all of them. Every measurement starts a new process, so
that the lucky memory layout of one is not taken for a property of the program.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .results import Outcome, Result
from .server import BenchError, Peer, pinned, require, running
from .suite import Settings, Suite, Workload

__all__ = ["Step", "run", "steps"]


@dataclass(frozen=True, slots=True)
class Step:
    """The measurements on one process of a server."""

    workloads: tuple[Workload, ...]
    """One, or several that share servers."""
    peer: Peer
    round: int
    """From 1."""

    def __str__(self) -> str:
        first, last = self.workloads[0].key, self.workloads[-1].key
        return f"{first if first == last else f'{first} to {last}'}, round {self.round}: {self.peer.name}"


def steps(workloads: Sequence[Workload], servers: Collection[str], rounds: int) -> Iterator[Step]:
    """All measurements in their order: by workload, then by round, then by server."""
    for _, same in groupby(workloads, lambda workload: (workload.group, workload.shared or workload.key)):
        together = tuple(same)
        for number in range(1, (rounds if together[0].repeat else 1) + 1):
            for peer in together[0].peers:
                if peer.name in servers:
                    yield Step(together, peer, number)


def run(
    suite: Suite,
    settings: Settings,
    workloads: Sequence[Workload],
    servers: Collection[str],
    track: Callable[[Sequence[Step]], Iterable[Step]],
) -> Result:
    """Measure these of the suite's workloads on these of its servers. ``track`` yields the steps that it is given, one
    by one, and may show how far it is.

    Raises :class:`BenchError` when nothing is to be measured, when something that is needed is missing and
    when a server fails.
    """
    plan = list(steps(workloads, servers, settings.rounds))
    if not plan:
        raise BenchError("none of the chosen workloads runs on any of the chosen servers")
    require(each for step in plan for each in step.peer.requires)
    require(each for step in plan for workload in step.workloads for each in workload.requires)
    outcomes = {workload.key: Outcome(workload) for workload in workloads}
    cores = [settings.cores_for(step.workloads[0]) for step in plan]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directories = {workload.key: prepared(workload, Path(folder)) for workload in workloads}
        for step, (server_cores, load_cores) in zip(track(plan), cores, strict=True):
            directory = directories[step.workloads[0].key]
            with pinned(load_cores), running(step.peer, server_cores, directory) as server:
                for workload in step.workloads:
                    outcomes[workload.key].add(step.peer.name, workload.measure(server, settings))
    return Result(suite, settings, outcomes)


def prepared(workload: Workload, folder: Path) -> Path:
    directory = folder / workload.key
    directory.mkdir()
    if workload.prepare:
        workload.prepare(directory)
    return directory
