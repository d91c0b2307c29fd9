"""Making the measurements, interleaved: every server once, then every server again.

What disturbs the machine for a while then falls on all of them. Every measurement starts a new process, so
that the lucky memory layout of one is not taken for a property of the program.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .results import Outcome, Result
from .server import BenchError, Peer, pinned, require, running
from .suite import Settings, Suite, Workload

__all__ = ["Step", "run", "steps"]


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement to make."""

    workload: Workload
    peer: Peer
    round: int
    """From 1."""


def steps(workloads: Sequence[Workload], servers: Collection[str], rounds: int) -> Iterator[Step]:
    """All measurements in their order: by workload, then by round, then by server."""
    for workload in workloads:
        for number in range(1, (rounds if workload.repeat else 1) + 1):
            for peer in workload.peers:
                if peer.name in servers:
                    yield Step(workload, peer, number)


def run(
    suite: Suite,
    settings: Settings,
    workloads: Sequence[Workload],
    servers: Collection[str],
    begin: Callable[[Step], None],
) -> Result:
    """Measure these of the suite's workloads on these of its servers; BEGIN is called before each step.

    Raises :class:`BenchError` when nothing is to be measured, when something that is needed is missing and
    when a server fails.
    """
    plan = list(steps(workloads, servers, settings.rounds))
    if not plan:
        raise BenchError("none of the chosen workloads runs on any of the chosen servers")
    require(each for step in plan for each in (*step.workload.requires, *step.peer.requires))
    server_core, load_core = settings.cores()
    outcomes = {workload.key: Outcome(workload) for workload in workloads}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, pinned(load_core):
        directories = {workload.key: prepared(workload, Path(folder)) for workload in workloads}
        for step in plan:
            begin(step)
            with running(step.peer, server_core, directories[step.workload.key]) as server:
                values = step.workload.measure(server, settings)
            outcomes[step.workload.key].add(step.peer.name, values)
    return Result(suite, settings, outcomes)


def prepared(workload: Workload, folder: Path) -> Path:
    directory = folder / workload.key
    directory.mkdir()
    if workload.prepare:
        workload.prepare(directory)
    return directory
