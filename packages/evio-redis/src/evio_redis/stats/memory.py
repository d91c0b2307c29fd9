"""The memory in use, and its limit."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..clients.connected import Clients
from ..clients.describe import client_type, memory_of
from ..config.config import Config
from ..keyspace.eviction import Eviction, kind_of
from ..keyspace.idle_times import LFU, LRU, Accesses
from ..keyspace.keyspace import Keyspace
from ..keyspace.sizes import SLOT
from ..keyspace.usage import Usage
from ..model.route import Route
from ..model.services import Services

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["MemoryLimit", "human", "peak", "resident", "total"]


class MemoryLimit:
    """``maxmemory``: what keys, clients and scripts take is counted while there is a limit. When it is exceeded, keys
    are evicted by ``maxmemory-policy``; while that is not enough, commands take the long way, which refuses those that
    may need more. The interpreter itself and what it keeps free are not counted."""

    def __init__(self, services: Services) -> None:
        self._config = config = services[Config]
        self._route = services[Route]
        self._keyspace = services[Keyspace]
        self._clients = services[Clients]
        self._accesses = services[Accesses]
        self.usage: Usage = services[Usage]
        self.eviction: Eviction = services[Eviction]
        self.scripts: Callable[[], int] = lambda: 0  # bytes that scripts take; set by these
        self.on_change: Callable[[], None] = lambda: None  # set by the dispatcher
        self.startup: int = resident()
        self.exceeded: bool = False
        self._others = 0  # bytes of what is no key
        self._sizes: dict[Session, int] = {}  # bytes of each client in them
        self._clients.on_remove = self._removed
        self._peak = 0
        for name in ("maxmemory", "maxmemory-policy", "maxmemory-samples", "maxmemory-eviction-tenacity"):
            config.on_change(name, self.configure)
        for name in ("lfu-log-factor", "lfu-decay-time"):
            config.on_change(name, self.configure)
        config.on_change("maxmemory-clients", self._limit_clients)

    def configure(self) -> None:
        """Follow the directives."""
        config, eviction, accesses = self._config, self.eviction, self._accesses
        eviction.samples, eviction.tenacity = config.maxmemory_samples, config.maxmemory_eviction_tenacity
        accesses.set_log_factor(config.lfu_log_factor)
        accesses.decay_time = config.lfu_decay_time
        if eviction.policy != config.maxmemory_policy:
            eviction.change(config.maxmemory_policy)
        kind = kind_of(eviction.policy)
        if kind == LFU or (kind == LRU and config.maxmemory):
            accesses.record_as(kind)
        elif accesses.kind == LFU:
            accesses.record_as("")
        if bool(config.maxmemory) != self.usage.counting:
            (self.usage.begin if config.maxmemory else self.usage.end)()
            self.on_change()
        self._limit_clients()
        self.update()

    def update(self) -> None:
        """Look how much is used, and make room if it is too much; to be called now and then."""
        usage, limit = self.usage, self._config.maxmemory
        self._clients.evict()
        if not limit:
            usage.limit = math.inf
            self._sizes.clear()
            self._exceeds(False)
            return
        self._others = self._count_others()
        usage.limit = limit - self._others
        self._peak = max(self._peak, self.used)
        self.make_room()

    def _limit_clients(self) -> None:
        given = self._config.maxmemory_clients
        share = int(given[:-1]) / 100 if given.endswith("%") else 0
        self._clients.memory_limit = int(share * self._config.maxmemory) if share else int(given.rstrip("%"))

    def _removed(self, session: Session) -> None:
        """A client is gone, and what it took can be taken by keys."""
        size = self._sizes.pop(session, 0)
        self._others -= size
        self.usage.limit += size

    def recount(self) -> None:
        """Count all keys anew, which were loaded just now."""
        if self.usage.counting:
            self.usage.begin()
        self.update()

    def make_room(self) -> bool:
        """Evict keys if the limit is exceeded; returns whether commands that need memory may run."""
        if self._keyspace.keeps_expired:  # a replica has what its master has, and during CLIENT PAUSE nothing changes
            self._exceeds(False)
            return True
        usage, eviction = self.usage, self.eviction
        kept = (usage.bytes <= usage.limit and not eviction.going_on) or eviction.make_room()
        self._exceeds(not kept)
        return kept

    def _exceeds(self, exceeded: bool) -> None:
        if exceeded != self.exceeded:
            self.exceeded = exceeded
            if exceeded:
                self._route.hold("maxmemory")
            else:
                self._route.release("maxmemory")

    def _count_others(self) -> int:
        """Bytes of clients and scripts, and of what is written down of keys. Replicas do not count: each eviction would
        be sent to them, and have others follow."""
        clients = self._clients.sessions.values()
        self._sizes = {each: memory_of(each) for each in clients if client_type(each) != "replica"}
        size = self.scripts() + sum(self._sizes.values())
        for database in self._keyspace.databases:
            if database.data:
                size += VOLATILE * len(database.expires) + sys.getsizeof(database.candidates)
                size += SLOT * len(database.uses)
        return size

    @property
    def used(self) -> int:
        """Bytes that ``maxmemory`` limits; without a limit, by which the process has grown."""
        return self.usage.bytes + self._others if self.usage.counting else max(0, resident() - self.startup)

    @property
    def peak(self) -> int:
        """The most it has been."""
        return max(self._peak, self.used) if self.usage.counting else max(0, peak() - self.startup)


VOLATILE = 80
"""Bytes of a key's expiry time."""


def resident() -> int:
    """Bytes of physical memory that the process has now; where that is unknown, the most it has had."""
    if sys.platform == "win32":
        return 0
    try:
        with open("/proc/self/statm", "rb") as statm:
            pages = int(statm.read().split()[1])
    except OSError:
        return peak()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """The most it has had."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def total() -> int:
    """Bytes of the machine's memory; 0 where that is unknown."""
    if sys.platform == "win32":
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def human(size: float) -> str:
    """A size as INFO shows it to people: ``1.58M``."""
    if size < 1024:
        return f"{int(size)}B"
    for unit in "KMGTP":
        size /= 1024
        if size < 1024 or unit == "P":
            break
    return f"{size:.2f}{unit}"
