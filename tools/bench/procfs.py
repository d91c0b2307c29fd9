"""The figures of Linux about a process, from ``/proc`` (proc(5)): CPU time, context switches, memory.

Figures are sums over the threads of a process and, but for memory, of its descendants, as they are now: what has ended
no longer counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

__all__ = ["Restless", "context_switches", "cpu_seconds", "memory_bytes", "settled"]

Figure = TypeVar("Figure", int, float)

QUIET = 0.02
"""Seconds without CPU time after which a server has done all that there was to do."""

PATIENCE = 10.0
"""Seconds to wait for that."""


class Restless(Exception):
    """A server goes on using CPU though there is nothing for it to do."""


def cpu_seconds(pid: int) -> float:
    """Time on a CPU, user and kernel, in seconds, from ``schedstat``: exact to the nanosecond, where
    ``/proc/``pid``/stat`` counts clock ticks of 10 ms. The kernel brings it up to date when a thread leaves the
    CPU, so read it through :func:`settled`."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks(pid)) / 1e9


def tasks(pid: int) -> Iterator[Path]:
    """The folders in ``/proc`` of a process's threads and of its descendants'."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield task
        for child in (task / "children").read_text().split():
            yield from tasks(int(child))


def context_switches(pid: int) -> int:
    """Count how often its threads left a CPU, on their own (``voluntary``) and by force."""
    return sum(
        int(line.split()[1])
        for task in tasks(pid)
        for line in (task / "status").read_text().splitlines()
        if "ctxt_switches" in line
    )


def memory_bytes(pid: int) -> int:
    """The proportional set size (PSS): pages of its own whole, pages shared with n processes as 1/n. With
    RSS, a page of libpython that some other server also maps would count as this one's."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss line in /proc/{pid}/smaps_rollup")


def runnable(pid: int) -> bool:
    """True if a thread of it is on a CPU or waits for one (state R): on a busy machine, one that has work to do may be
    kept waiting for longer than :data:`QUIET`."""
    stats = [(task / "stat").read_text() for task in tasks(pid)]
    return any(stat.rpartition(")")[2].split()[0] == "R" for stat in stats)


def settled(read: Callable[[int], Figure], pid: int) -> Figure:
    """``read(pid)`` once the process has fallen asleep.

    Raises :class:`Restless` when it does not.
    """
    deadline = time.monotonic() + PATIENCE
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(QUIET)
        now = cpu_seconds(pid)
        if now == before and not runnable(pid):
            return read(pid)
        before = now
    raise Restless(f"process {pid} still uses CPU time {PATIENCE:g} s after the load ended")
