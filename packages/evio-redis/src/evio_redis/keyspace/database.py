"""One numbered database: keys, their values and expiry times, and who wants to know of changes.

Values are ``bytes`` (strings) and the classes of :mod:`evio_redis.keyspace.types`. Times are Unix milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol, TypeVar

from ..errors import WRONGTYPE, CommandError
from .clock import Clock
from .types.streams import Stream

__all__ = ["Counting", "Database", "Hooks", "Watcher"]

T = TypeVar("T")

TTL_SAMPLE = 20
"""Keys looked at to estimate how long keys have left."""


class Watcher(Protocol):
    """A client that watches keys (WATCH)."""

    watching: dict[tuple[Database, bytes], bool]
    """The keys, and whether each was expired when it was watched."""

    dirty_cas: bool
    """True once one of them has been modified."""


class Counting(Protocol):
    """Counts the bytes that keys take (:mod:`evio_redis.keyspace.usage`)."""

    def remove(self, database: Database, key: bytes, value: Any) -> None:
        """Count no more a key, which was there."""

    def flushed(self, database: Database) -> None:
        """Follow a database's having become empty."""


class Hooks(Protocol):
    """The keyspace, as its databases see it: the time, and who has to hear of changes."""

    clock: Clock
    heard: bool
    """True while anybody is subscribed to what may be a keyspace event."""

    @property
    def keeps_expired(self) -> bool:
        """True while nothing may change here (CLIENT PAUSE, a replica), so that expired keys stay, unseen."""

    propagate: Callable[[Database, list[bytes]], None] | None
    """Append a command to the append-only file, when that is on."""

    def update_listeners(self) -> None:
        """Set ``has_listeners`` of each database anew."""

    def notify_watchers(self, database: Database, key: bytes) -> None:
        """Fail the transactions that watch a key which was modified."""

    def notify(self, database: Database, kind: str, event: str, key: bytes) -> None:
        """Publish a keyspace event of a class, a letter of ``notify-keyspace-events``."""

    def created(self, database: Database, key: bytes) -> None:
        """Report that a key is new."""

    def expired(self, database: Database, key: bytes) -> None:
        """Report that a key was removed because its time had come."""

    databases: list[Database]
    """All of them, by index."""

    usage: Counting | None
    """The count of the bytes of keys, while there is a limit."""

    def ready(self, database: Database, key: bytes) -> None:
        """Serve the clients that wait for a key, after the command."""


class Database:
    """One of the databases between which SELECT chooses."""

    __slots__ = (
        "blocked",
        "bytes",
        "candidates",
        "changes",
        "counted",
        "data",
        "expires",
        "has_listeners",
        "hits",
        "index",
        "keyspace",
        "marks",
        "misses",
        "ms",
        "uses",
        "watched",
    )

    def __init__(self, index: int, keyspace: Hooks) -> None:
        self.index: int = index
        self.keyspace: Hooks = keyspace
        self.ms: Callable[[], int] = keyspace.clock.ms
        self.data: dict[bytes, Any] = {}
        self.expires: dict[bytes, int] = {}  # key: when, for the volatile ones
        self.changes: int = 0  # modifications since the start
        self.hits: int = 0  # keys that commands have read, there or not
        self.misses: int = 0
        self.has_listeners: bool = False  # whether ``notify_watchers`` or ``notify`` has anything to do
        self.watched: dict[bytes, set[Watcher]] = {}  # key: the sessions that WATCH it
        self.blocked: dict[bytes, deque[Any]] = {}  # key: the clients waiting for it, in order of arrival
        self.uses: dict[bytes, int] = {}  # key: when or how often it was used (idle_times), while that is recorded
        self.marks: list[tuple[bytes, int]] = []  # which key was the last one, and when, while it is not
        self.bytes: int = 0  # of all keys (usage), while that is counted
        self.counted: dict[bytes, Any] = {}  # the collections of these
        self.candidates: list[bytes] = []  # keys to pick from for eviction, some of which may be gone

    # -- reading

    def lookup(self, key: bytes) -> Any:
        """The value, or None; an expired key is removed now, unless expired ones are kept."""
        value = self.data.get(key)
        if value is None or not self.expires:
            return value
        when = self.expires.get(key)
        if when is None or when > self.ms():
            return value
        if not self.keyspace.keeps_expired:
            self.expire(key)
        return None

    def has(self, key: bytes) -> bool:
        """Return True if there is such a key; an expired one is left where it is."""
        return key in self.data and self.lives(key)

    def lives(self, key: bytes) -> bool:
        """Return True unless its expiry time has come."""
        when = self.expires.get(key)
        return when is None or when > self.ms()

    def typed(self, key: bytes, kind: type[T]) -> T | None:
        """Return the value if it is of this class, or None. Raises :class:`CommandError` (WRONGTYPE) if it is of
        another."""
        value = self.data.get(key)
        if type(value) is kind and (key not in self.expires or self.lives(key)):
            return value
        value = self.lookup(key)
        if value is None or isinstance(value, kind):
            return value
        raise CommandError(WRONGTYPE)

    # -- reading for a client, which counts in ``keyspace_hits`` and ``keyspace_misses``

    def read(self, key: bytes) -> Any:
        """Look a key up and count whether it was found."""
        value = self.lookup(key)
        if value is None:
            self.missed(key)
        else:
            self.hits += 1
        return value

    def read_typed(self, key: bytes, kind: type[T]) -> T | None:
        """Return the value if it is of this class, or None, and count whether the key was found. Raises
        :class:`CommandError` (WRONGTYPE) if it is of another."""
        value = self.data.get(key)
        if type(value) is kind and (key not in self.expires or self.lives(key)):
            self.hits += 1
            return value
        value = self.read(key)
        if value is None or isinstance(value, kind):
            return value
        raise CommandError(WRONGTYPE)

    def missed(self, key: bytes) -> None:
        """Count a key that was read and is not there, and notify of it."""
        self.misses += 1
        if self.keyspace.heard:
            self.keyspace.notify(self, "m", "keymiss", key)

    # -- writing. The caller tells ``changed`` once it is done.

    def put(self, key: bytes, value: Any) -> None:
        """Set a key to a new value; an expiry time it had is forgotten."""
        self.data[key] = value
        if self.expires:
            self.expires.pop(key, None)
        if self.blocked and key in self.blocked:
            self.keyspace.ready(self, key)

    def add(self, key: bytes, value: Any) -> None:
        """Create a key that does not exist."""
        self.data[key] = value
        if self.blocked and key in self.blocked:
            self.keyspace.ready(self, key)

    def remove(self, key: bytes) -> bool:
        """Remove a key, whether it was there."""
        value = self.data.pop(key, None)
        if value is None:
            return False
        if self.expires:
            self.expires.pop(key, None)
        if self.blocked and key in self.blocked and type(value) is Stream:
            self.keyspace.ready(self, key)  # XREADGROUP does not wait for a stream that is gone
        return True

    def remove_empty(self, key: bytes) -> None:
        """Remove a collection that has just lost its last member."""
        self.remove(key)
        if self.has_listeners:
            self.keyspace.notify(self, "g", "del", key)

    def changed(self, key: bytes, kind: str, event: str, count: int = 1) -> None:
        """A key was modified, which counts as ``count`` modifications: tell WATCH, and notify of ``event``; ``kind`` is
        its class's letter in ``notify-keyspace-events``."""
        self.changes += count
        if self.has_listeners:
            self.keyspace.notify_watchers(self, key)
            self.keyspace.notify(self, kind, event, key)

    def expire(self, key: bytes) -> None:
        """Remove a key whose time has come."""
        self.discount(key)
        if self.uses:
            self.uses.pop(key, None)
        self.remove(key)
        self.keyspace.expired(self, key)

    def discount(self, key: bytes) -> None:
        """Count no more a key that is about to be removed by somebody else than a command that is counted."""
        if self.keyspace.usage is not None:
            self.keyspace.usage.remove(self, key, self.data[key])

    # -- expiry times

    def set_expiry(self, key: bytes, when: int) -> None:
        """Have an existing key expire at ``when``."""
        self.expires[key] = when

    def persist(self, key: bytes) -> bool:
        """Take an expiry time back, whether there was one."""
        return self.expires.pop(key, None) is not None

    def average_ttl(self) -> int:
        """Milliseconds that volatile keys have left on average, estimated from a few."""
        now = self.ms()
        sample = [max(0, when - now) for when in islice(self.expires.values(), TTL_SAMPLE)]
        return sum(sample) // len(sample) if sample else 0

    def take_all(self) -> list[dict[bytes, Any]]:
        """Remove all keys; returns what held them, which takes long to free if they are many."""
        held: list[dict[bytes, Any]] = [self.data, self.expires, self.uses]
        self.data, self.expires, self.uses = {}, {}, {}
        self.marks.clear()
        if self.keyspace.usage is not None:
            self.keyspace.usage.flushed(self)
        return held
