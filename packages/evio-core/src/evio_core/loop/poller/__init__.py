"""Waiting for descriptors: one class per system call, all with the methods of :class:`Poller`.

The best one that the system has is taken; ``EVIO_POLLER`` in the environment overrides that, for tests.
"""

from __future__ import annotations

import os
import select as system  # the name `select` here becomes our submodule once that is imported
import sys
from typing import Protocol

from .masks import ERROR, HANGUP, MAX_EVENTS, READ, WRITE

__all__ = ["ERROR", "HANGUP", "MAX_EVENTS", "READ", "WRITE", "Poller", "choice", "make_poller"]

LADDER = ("epoll", "kqueue", "select", "asyncio")
"""Best first. ``asyncio`` is no poller but the fallback that simulates one (:mod:`evio_core.stdlib`)."""


class Poller(Protocol):
    """Level-triggered readiness of file descriptors."""

    def register(self, fd: int, mask: int, exclusive: bool = False) -> None:
        """Watch ``fd`` for ``mask``, a sum of ``READ`` and ``WRITE``; ``ERROR`` and ``HANGUP`` may be reported
        in any case. ``exclusive``: of several processes that watch the same socket wake only some
        (``EPOLLEXCLUSIVE``), where the system can. Raises ``OSError``."""

    def modify(self, fd: int, mask: int) -> None:
        """Watch for something else."""

    def unregister(self, fd: int) -> None:
        """Watch no more; before the descriptor is closed."""

    def poll(self, timeout: float | None, maxevents: int = MAX_EVENTS, /) -> list[tuple[int, int]]:
        """Wait up to ``timeout`` seconds, for ever when None; the ready descriptors and what for."""

    def close(self) -> None:
        """Release the kernel's object."""


def choice() -> str:
    """The name of the poller to use. Raises ``ValueError`` for an ``EVIO_POLLER`` that cannot be used."""
    usable = [name for name in LADDER if name in ("select", "asyncio") or hasattr(system, name)]
    if os.name == "nt":
        usable.remove("select")  # it takes sockets only, and its descriptors cannot be read with os.read
    wanted = os.environ.get("EVIO_POLLER") or usable[0]
    if wanted not in usable:
        raise ValueError(f"EVIO_POLLER={wanted}: this system has {', '.join(usable)}")
    return wanted


def make_poller() -> Poller:
    """A poller of the kind that :func:`choice` names."""
    name = choice()
    if sys.platform == "linux" and name == "epoll":
        from .epoll import EpollPoller

        return EpollPoller()
    if name == "kqueue":
        from .kqueue import KqueuePoller

        return KqueuePoller()
    from .select import SelectPoller

    return SelectPoller()
