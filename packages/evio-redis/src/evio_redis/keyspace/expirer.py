"""Active expiry: removing keys whose time has come though nobody asks for them.

As Redis documents it (https://redis.io/docs/latest/commands/expire/): a few volatile keys are tested ten times a
second, again and again while more than a tenth of them turn out to be expired, within a bound of time.
"""

from __future__ import annotations

from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .database import Database
    from .keyspace import Keyspace

__all__ = ["Expirer"]

SAMPLE = 20
"""Keys tested at once, at the lowest effort."""

OWN_SAMPLE = 400
"""Keys of a replica's own that are looked at in a cycle."""

ACCEPTABLE_STALE = 0.10
"""With a smaller share of expired ones among them, it is enough."""

BUDGET = 0.025
"""Seconds a cycle may take: a quarter of the time between two."""


class Expirer:
    """Goes round the databases."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self._next = 0
        self._waiting: dict[Database, list[bytes]] = {}
        self.enabled = True
        self.effort = 1
        self.stale: float = 0.0
        self.time_cap_reached: int = 0
        self.seconds: float = 0.0  # that all cycles took

    def cycle(self) -> None:
        """Remove expired keys, for a bounded time."""
        if not self.enabled:
            return
        begin = perf_counter()
        if not self._keyspace.keeps_expired:
            self._go_round(begin + BUDGET)
        elif self._keyspace.own_volatile and not self._keyspace.paused:
            self._expire_own(self._keyspace.own_volatile)
        self.seconds += perf_counter() - begin

    def _expire_own(self, own: dict[tuple[Database, bytes], None]) -> None:
        """Look at some of the keys that a replica's own clients have made volatile; the others' turn comes."""
        now = self._keyspace.clock.ms()
        for each in list(islice(own, OWN_SAMPLE)):
            del own[each]
            database, key = each
            when = database.expires.get(key)
            if when is not None and when <= now:
                database.expire(key)
            elif when is not None:
                own[each] = None

    def _go_round(self, end: float) -> None:
        databases = self._keyspace.databases
        for _ in databases:
            database = databases[self._next % len(databases)]
            self._next += 1
            if database.expires and not self._cycle_one(database, end):
                self.time_cap_reached += 1
                return

    def _cycle_one(self, database: Database, end: float) -> bool:
        """False if the time is over."""
        sample = SAMPLE + (self.effort - 1) * SAMPLE // 4
        while database.expires:
            now = self._keyspace.clock.ms()
            candidates = self._candidates(database, sample)
            expired = [key for key in candidates if database.expires.get(key, now + 1) <= now]
            for key in expired:
                database.expire(key)
            self.stale = 0.95 * self.stale + 0.05 * len(expired) / len(candidates)
            if len(expired) <= ACCEPTABLE_STALE * len(candidates):
                return True
            if perf_counter() > end:
                return False
        return True

    def _candidates(self, database: Database, count: int) -> list[bytes]:
        """Some volatile keys. A dict has no index to pick from at random, so a list of them is worked off and made
        anew when it is empty: every key's turn comes. (Making it takes 16 ms for a million volatile keys, once a round;
        to look through the dict piece by piece is no way out, as iterators end with the first change of its size.)"""
        waiting = self._waiting.get(database)
        if not waiting:
            waiting = self._waiting[database] = list(database.expires)
        picked = waiting[-count:]
        del waiting[-count:]
        return picked
