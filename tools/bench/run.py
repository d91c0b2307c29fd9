"""Making the measurements, interleaved: in turns of milliseconds where a workload can be sent so, else every server
once, then every server again.

What disturbs the machine for a while then falls on all of them. Every round starts new processes, so that the lucky
memory layout of one is not taken for a property of the program.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .results import Outcome, Result
from .server import BenchError, Peer, Server, blamed, pinned, require, running
from .suite import Settings, Suite, Workload
from .turns import take_turns

__all__ = ["Step", "run", "steps"]


@dataclass(frozen=True, slots=True)
class Step:
    """The measurements on one process of a server, or of each of several that take turns."""

    workloads: tuple[Workload, ...]
    """One, or several that share servers."""
    peers: tuple[Peer, ...]
    round: int
    """From 1."""

    def __str__(self) -> str:
        first, last = self.workloads[0].key, self.workloads[-1].key
        names = ", ".join(peer.name for peer in self.peers)
        return f"{first if first == last else f'{first} to {last}'}, round {self.round}: {names}"


def steps(workloads: Sequence[Workload], servers: Collection[str], rounds: int) -> Iterator[Step]:
    """All measurements in their order: by workload, then by round, then, unless they take turns, by server."""
    for _, same in groupby(workloads, lambda workload: (workload.group, workload.shared or workload.key)):
        together = tuple(same)
        peers = tuple(peer for peer in together[0].peers if peer.name in servers)
        by_itself = [(peer,) for peer in peers]
        for number in range(1, (rounds if together[0].repeat else 1) + 1):
            for chosen in [peers] if together[0].load and peers else by_itself:
                yield Step(together, chosen, number)


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
    require(each for step in plan for peer in step.peers for each in peer.requires)
    require(each for step in plan for workload in step.workloads for each in workload.requires)
    outcomes = {workload.key: Outcome(workload) for workload in workloads}
    cores = [settings.cores_for(step.workloads[0]) for step in plan]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directories = {workload.key: prepared(workload, Path(folder)) for workload in workloads}
        for step, (server_cores, load_cores) in zip(track(plan), cores, strict=True):
            directory = directories[step.workloads[0].key]
            with pinned(load_cores), ExitStack() as stack:
                started = [stack.enter_context(running(peer, server_cores, directory)) for peer in step.peers]
                for workload in step.workloads:
                    measure(workload, started, settings, outcomes[workload.key])
    return Result(suite, settings, outcomes)


def measure(workload: Workload, servers: Sequence[Server], settings: Settings, outcome: Outcome) -> None:
    """Add a round of each server, which take turns if they are several."""
    if workload.measure:
        for server in servers:
            outcome.add(server.name, workload.measure(server, settings))
    elif workload.load:
        with ExitStack() as stack:
            loads = {}
            for server in servers:
                with blamed(server.name):
                    loads[server] = stack.enter_context(workload.load(server, settings))
            for name, turns in take_turns(loads, settings.seconds).items():
                outcome.add(name, turns.figures(), turns.costs())


def prepared(workload: Workload, folder: Path) -> Path:
    directory = folder / workload.key
    directory.mkdir()
    if workload.prepare:
        workload.prepare(directory)
    return directory
