"""The last use (LRU) or the frequency of use (LFU) of keys: for OBJECT IDLETIME and FREQ, and for eviction.

To write down every access costs a third of an access itself, so nothing is until somebody needs it: a policy of
``maxmemory`` that goes by it, or the first OBJECT IDLETIME. What is known of the time before is when keys were created:
a ``dict`` keeps its keys in that order, so it is enough to note now and then which key is the last one.

Of a key, the time of its last use is kept in milliseconds (``time.monotonic``), as of the latest tick; or, as in Redis,
a logarithmic counter of 8 bits and the minute in which that was last lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress, count
from random import random
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .database import Database
    from .keyspace import Keyspace

__all__ = ["LFU", "LRU", "NO_USE", "Accesses"]

LRU, LFU = "lru", "lfu"
"""Kinds of records."""

NO_USE = frozenset(
    (
        *("exists", "type", "ttl", "pttl", "expiretime", "pexpiretime", "memory|usage", "restore"),
        *("object|encoding", "object|freq", "object|idletime", "object|refcount"),
    )
)
"""Commands that do not count as using their keys; RESTORE tells itself when its key was used."""

MOST_MARKS = 1024
"""Notes of which key was the last one; when there are more, every second one is dropped."""

SLACK = 1000
"""Records of keys that are gone are thrown away when there are so many more records than keys."""

NEW, MOST = 5, 255
"""The counter of a new key, and its end."""

FEW, STEP = 8, 4
"""Keys from which only every fourth is looked at, four times."""

SHARED = 1 << 16
"""Counters with their minutes that are kept to be used again: many keys have the same one."""


class Accesses:
    """The records, which each database has of its own keys (``Database.uses``)."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self.on_begin: Callable[[], None] = lambda: None  # set by the dispatcher
        self.kind: str = ""  # LRU, LFU, or nothing
        self.now: int = int(monotonic() * 1000)
        self.minute: int = self.now // 60_000
        self.decay_time = 1  # lfu-decay-time
        self.chances: list[float] = []  # of each counter to grow with a use
        self.set_log_factor(10)
        self._shared: dict[int, int] = {}
        self._phase = 0

    def set_log_factor(self, factor: int) -> None:
        """Follow ``lfu-log-factor``: the higher a counter, the rarer it grows."""
        self.chances = [1 / (max(0, counter - NEW) * factor + 1) for counter in range(MOST)] + [0.0]

    @property
    def recording(self) -> bool:
        """True while accesses are written down."""
        return bool(self.kind)

    def tick(self) -> None:
        """Follow the time; to be called several times a second."""
        self.now = now = int(monotonic() * 1000)
        self.minute = now // 60_000
        for database in self._keyspace.databases:
            if not self.kind:
                if database.data:
                    _mark(database, now)
            elif len(database.uses) > 2 * len(database.data) + SLACK:
                database.uses = {key: use for key, use in database.uses.items() if key in database.data}

    # -- what is recorded

    def record_as(self, kind: str) -> None:
        """Begin or go on to record so; what was recorded otherwise is forgotten."""
        if kind == self.kind:
            return
        self.now = int(monotonic() * 1000)
        self.minute = self.now // 60_000
        for database in self._keyspace.databases:
            database.uses = {}
            if kind == LRU:
                database.uses = _creations(database, self.now)
            elif kind == LFU:
                database.uses = dict.fromkeys(database.data, self.minute << 8 | NEW)
            database.marks.clear()
        self.kind = kind
        self.on_begin()

    def record(self, database: Database, keys: Sequence[bytes], sure: bool = False) -> None:
        """These keys, as far as they exist, are used now; with ``sure``, counters are known to grow. Of many, every
        :data:`STEP`-th is looked at in place of all for LFU."""
        uses, data = database.uses, database.data
        if self.kind == LRU:
            uses.update(dict.fromkeys(filter(data.__contains__, keys), self.now))
        elif len(keys) < FEW or not uses:
            for key in keys:
                if key in data:
                    uses[key] = self._counted(uses.get(key), sure)
        else:
            for key in keys[self._phase :: STEP]:
                use = uses.get(key)
                for _ in range(STEP):
                    if use is None or use >> 8 != self.minute or random() < self.chances[use & MOST]:
                        use = self._counted(use, sure=True)
                if use is not None and key in data:
                    uses[key] = use
            self._phase = (self._phase + 1) % STEP

    # -- LRU

    def idle(self, database: Database, key: bytes) -> int:
        """Whole seconds since a key was last used, or, before anything was recorded, created."""
        if not self.kind:
            self.record_as(LRU)
        return self.idle_ms(database, key) // 1000

    def idle_ms(self, database: Database, key: bytes) -> int:
        """The same in milliseconds; LRU is recorded."""
        return max(0, int(monotonic() * 1000) - database.uses.get(key, self.now))

    def set_idle(self, database: Database, key: bytes, seconds: int) -> None:
        """A key that was made now was last used so long ago (RESTORE)."""
        if not self.kind and seconds:
            self.record_as(LRU)
        if self.kind == LRU:
            database.uses[key] = int(monotonic() * 1000) - seconds * 1000

    # -- LFU

    def frequency(self, database: Database, key: bytes) -> int:
        """The counter of a key, 0 to 255; LFU is recorded."""
        use = database.uses.get(key)
        return NEW if use is None else self._decayed(use)

    def set_frequency(self, database: Database, key: bytes, counter: int) -> None:
        """Set the counter of a key (RESTORE)."""
        if self.kind == LFU:
            database.uses[key] = self.minute << 8 | counter

    def _decayed(self, use: int) -> int:
        """The counter, lower by one for each ``lfu-decay-time`` minutes that the key was not used."""
        if not self.decay_time:
            return use & MOST
        return max(0, (use & MOST) - (self.minute - (use >> 8)) // self.decay_time)

    def _counted(self, use: int | None, sure: bool) -> int:
        """Return the record of a key after one more use."""
        if use is None:
            return self._share(self.minute << 8 | NEW)
        counter = self._decayed(use)
        if counter < MOST and ((sure and use >> 8 == self.minute) or random() < self.chances[counter]):
            counter += 1
        return self._share(self.minute << 8 | counter)

    def _share(self, use: int) -> int:
        if len(self._shared) > SHARED:
            self._shared.clear()
        return self._shared.setdefault(use, use)


def _mark(database: Database, now: int) -> None:
    """Note that the last key of a database, if it has another one now, was created by ``now``."""
    marks, last = database.marks, next(reversed(database.data))
    if marks and marks[-1][0] is last:
        return
    marks.append((last, now))
    if len(marks) > MOST_MARKS:
        del marks[1:-1:2]


def _creations(database: Database, now: int) -> dict[bytes, int]:
    """The keys, and when each was created, as far as is known."""
    keys, times = list(database.data), dict(database.marks)
    found: dict[bytes, int] = {}
    begin = latest = 0
    for at in compress(count(), map(times.__contains__, keys)):
        when = times[keys[at]]
        if when >= latest:  # else it was created once more, which happened later than that
            latest = when
            found |= dict.fromkeys(keys[begin : at + 1], when)
            begin = at + 1
    return found | dict.fromkeys(keys[begin:], now)
