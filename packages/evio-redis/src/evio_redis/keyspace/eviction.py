"""Keys that go because memory is short: which, by ``maxmemory-policy``.

As in Redis, a few keys are picked at random and the best of these go (approximated LRU and LFU): that needs no order of
all keys. The best that were seen and have not gone are kept for the next time. A ``dict`` has no index to pick from, so
each database has a list of its keys for that (``Database.candidates``), to which new ones are appended and from which
those that are gone are dropped when they are picked.

https://redis.io/docs/latest/develop/reference/eviction/
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from time import perf_counter

from .database import Database
from .idle_times import LFU, LRU, Accesses
from .keyspace import Keyspace
from .usage import Usage

__all__ = ["NOEVICTION", "POLICIES", "Eviction", "kind_of"]

NOEVICTION = "noeviction"
POLICIES = (
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
    *("allkeys-lru", "allkeys-lfu", "allkeys-random", NOEVICTION),
)
"""The values of ``maxmemory-policy``."""

MOST_BEST = 16
"""Keys that were seen and are kept for the next time."""

TRIES = 20
"""Picks in a row of keys that are gone, after which the list is made anew."""

SLACK = 1000
"""A list is made anew as well when it has so many more entries than twice the number of keys."""

CLOCK = 16
"""Keys after which it is looked how much time has passed."""


def kind_of(policy: str) -> str:
    """Return what has to be recorded of keys for a policy: :data:`LRU`, :data:`LFU` or nothing."""
    return policy.rpartition("-")[2] if policy.endswith((LRU, LFU)) else ""


def _time_limit(tenacity: int) -> float:
    """Seconds that may be spent at once (``maxmemory-eviction-tenacity``): half a millisecond by default, two minutes
    at 99."""
    if tenacity <= 10:
        return 50e-6 * tenacity
    return 500e-6 * 1.15 ** (tenacity - 10) if tenacity < 100 else float("inf")


class Eviction:
    """Evicts keys of one server."""

    def __init__(self, keyspace: Keyspace, usage: Usage, accesses: Accesses) -> None:
        self._keyspace = keyspace
        self._usage = usage
        self._accesses = accesses
        self.policy: str = NOEVICTION
        self.samples = 5
        self.tenacity = 10
        self._best: list[tuple[float, Database, bytes]] = []  # in rising order of how fit they are to go
        self._next = 0  # database, of those policies that go by no order
        self.going_on: bool = False  # the time was over before enough keys were gone
        self.exceeded_since: float = 0.0  # since when keys had to go, while they still have to
        self.exceeded_time: float = 0.0  # seconds before that

    def change(self, policy: str) -> None:
        """Follow another policy."""
        self.policy = policy
        self._best.clear()

    def make_room(self) -> bool:
        """Evict until the limit is kept. Returns False if that cannot be; True, too, if the time was over and more
        will go later."""
        usage, begin, count = self._usage, perf_counter(), 0
        self.going_on = False
        while usage.bytes > usage.limit:
            found = self._victim()
            if found is None:
                return False
            self._evict(*found)
            count += 1
            if count % CLOCK == 0 and perf_counter() - begin > _time_limit(self.tenacity):
                self.going_on = True
                break
        self._keep_time(begin)
        return True

    @property
    def exceeding(self) -> float:
        """Seconds since keys have to go, 0 if none has to."""
        return perf_counter() - self.exceeded_since if self.exceeded_since else 0.0

    def _keep_time(self, now: float) -> None:
        if self.going_on:
            self.exceeded_since = self.exceeded_since or now
        elif self.exceeded_since:
            self.exceeded_time += now - self.exceeded_since
            self.exceeded_since = 0.0

    def _evict(self, database: Database, key: bytes) -> None:
        self._usage.remove(database, key, database.data[key])
        database.remove(key)
        database.uses.pop(key, None)
        self._keyspace.evicted(database, key)

    # -- which

    def _victim(self) -> tuple[Database, bytes] | None:
        if self.policy == NOEVICTION:
            return None
        if self.policy.endswith("random"):
            return self._any()
        return self._fittest()

    def _any(self) -> tuple[Database, bytes] | None:
        """A key at random, of each database in turn."""
        databases = self._keyspace.databases
        for step in range(len(databases)):
            at = (self._next + step) % len(databases)
            key = self._pick(databases[at])
            if key is not None:
                self._next = at + 1
                return databases[at], key
        return None

    def _fittest(self) -> tuple[Database, bytes] | None:
        best, fitness = self._best, self._fitness()
        seen = {(database, key) for _, database, key in best}
        for database in self._keyspace.databases:
            for _ in range(min(self.samples, len(self._keys(database)))):
                key = self._pick(database)
                if key is not None and (database, key) not in seen:
                    seen.add((database, key))
                    best.append((fitness(database, key), database, key))
        best.sort(key=_by_fitness)
        del best[:-MOST_BEST]
        while best:
            was, database, key = best.pop()
            if key in self._keys(database) and fitness(database, key) >= was:  # else it was used meanwhile
                return database, key
        return self._any()

    def _fitness(self) -> Callable[[Database, bytes], float]:
        """Return what tells how fit a key is to go: the greater the sooner."""
        accesses = self._accesses
        if self.policy.endswith(LRU):
            return accesses.idle_ms
        if self.policy.endswith(LFU):
            return lambda database, key: 255 - accesses.frequency(database, key)
        return lambda database, key: -database.expires.get(key, 0)

    def _keys(self, database: Database) -> dict[bytes, object] | dict[bytes, int]:
        """The keys that may go."""
        return database.expires if self.policy.startswith("volatile") else database.data

    def _pick(self, database: Database) -> bytes | None:
        """A key that may go, at random; None if there is none."""
        keys = self._keys(database)
        if not keys:
            return None
        if len(database.candidates) > 2 * len(keys) + SLACK:
            database.candidates = list(keys)
        while True:
            candidates = database.candidates
            for _ in range(TRIES):
                if not candidates:
                    break
                at = int(random() * len(candidates))
                key = candidates[at]
                if key in keys:
                    return key
                candidates[at] = candidates[-1]
                candidates.pop()
            database.candidates = list(keys)


def _by_fitness(candidate: tuple[float, Database, bytes]) -> float:
    return candidate[0]
