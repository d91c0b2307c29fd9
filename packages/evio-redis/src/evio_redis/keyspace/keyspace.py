"""All databases of a server, and what happens to the world when a key changes.

Watches, notifications, the append-only file and clients that wait for a key all hear of changes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ..model.route import Route
from .clock import Clock
from .database import Counting, Database
from .functions import Texts

__all__ = ["Keyspace"]

OF_COMMANDS = frozenset("g$lshzdtn")
"""The classes of events that commands cause by changing a key."""

FREED_AT_ONCE = 1000
"""Keys that are freed in one step."""

CREATIONS = "n"
"""The class of events of keys that are new, which only the long way can tell."""


class Tracking(Protocol):
    """The tracking of clients, as far as it is needed here."""

    def modified(self, key: bytes, by_client: bool = True) -> None:
        """A key was modified, perhaps by nobody: it has expired."""

    def flushed(self) -> None:
        """All keys of a database are gone."""


class Keyspace:
    """The databases, and the hooks that they call."""

    def __init__(self, count: int, route: Route, clock: Clock | None = None) -> None:
        self._route = route
        self.clock: Clock = clock or Clock()
        self.databases: list[Database] = [Database(index, self) for index in range(count)]
        self.events: str = ""  # notify-keyspace-events
        self.heard: bool = False  # anybody has subscribed to anything
        self._told = False  # anybody has subscribed to what may be a command's event
        self.publish: Callable[[bytes, bytes], object] = lambda channel, message: None
        self.propagate: Callable[[Database, list[bytes]], None] | None = None  # the append-only file, when on
        self.tracking: Tracking | None = None  # while any client is tracked
        self.ready_keys: dict[tuple[Database, bytes], None] = {}  # in the order in which they became ready
        self.functions: Texts = Texts()  # the libraries, once there is something that loads them
        self.expired_keys: int = 0
        self.last_load: tuple[int, int] = (0, 0)  # keys that the last RDB file gave; those of it that had expired
        self.evicted_keys: int = 0
        self.usage: Counting | None = None  # counts what keys take, while there is a limit
        self.absent: set[bytes] = set()  # keys that the command under way may create, if anyone wants to know
        self.paused = False  # by CLIENT PAUSE
        self.follows = False  # this server is a replica: it is its master who says what has expired
        # While it follows and clients may write all the same: keys that they have made volatile, of which no master
        # knows.
        self.own_volatile: dict[tuple[Database, bytes], None] | None = None

    @property
    def keeps_expired(self) -> bool:
        """True while nothing may change here, though expired keys are not seen."""
        return self.paused or self.follows

    @property
    def hits(self) -> int:
        """Keys that commands have read and found."""
        return sum(database.hits for database in self.databases)

    @property
    def misses(self) -> int:
        """Keys that commands have read and not found."""
        return sum(database.misses for database in self.databases)

    def reset_statistics(self) -> None:
        """Set to zero what CONFIG RESETSTAT does."""
        self.expired_keys = self.evicted_keys = 0
        for database in self.databases:
            database.hits = database.misses = 0

    @property
    def dirty(self) -> int:
        """Modifications since the start."""
        return sum(database.changes for database in self.databases)

    def set_events(self, events: str) -> None:
        """Set ``notify-keyspace-events``."""
        self.events = events
        self.update_listeners()
        if CREATIONS in events:
            self._route.hold("events of new keys")
        else:
            self._route.release("events of new keys")

    def set_heard(self, heard: bool, told: bool) -> None:
        """Follow the subscriptions of all clients: whether an event may be heard, and whether a command's."""
        self.heard, self._told = heard, told
        self.update_listeners()

    def update_listeners(self) -> None:
        """Have databases tell of changes only if anyone listens."""
        told = self._told and not OF_COMMANDS.isdisjoint(self.events)
        for database in self.databases:
            database.has_listeners = told or bool(database.watched) or self.tracking is not None

    # -- all keys at once

    def swap(self, one: Database, other: Database) -> None:
        """Exchange what two databases hold; clients stay with the number they selected."""
        one.changes += 1
        if one is other:
            return
        for database in (one, other):
            self.notify_all_watchers(database, (other if database is one else one))
        one.data, other.data = other.data, one.data
        one.expires, other.expires = other.expires, one.expires
        for name in ("uses", "marks", "bytes", "counted", "candidates"):
            mine, others = getattr(one, name), getattr(other, name)
            setattr(one, name, others)
            setattr(other, name, mine)
        for database in (one, other):
            for key in database.blocked:
                if key in one.data or key in other.data:
                    self.ready(database, key)

    def flush(self, databases: Iterable[Database]) -> None:
        """Remove all keys."""
        for database in databases:
            self._flush(database)
        if self.tracking is not None:
            self.tracking.flushed()

    def emptying(self) -> Iterator[None]:
        """Remove all keys of all databases at the first step, and free them by the following ones: many take long."""
        old = [each for database in self.databases for each in self._flush(database)]
        if self.tracking is not None:
            self.tracking.flushed()
        for each in old:
            while each:
                yield
                for _ in range(min(len(each), FREED_AT_ONCE)):
                    each.popitem()

    def _flush(self, database: Database) -> list[dict[bytes, Any]]:
        """Remove all keys of a database; returns what held them."""
        self.notify_all_watchers(database, None)
        for key in database.blocked:
            if key in database.data:
                self.ready(database, key)
        database.changes += max(1, len(database.data))
        return database.take_all()

    def notify_all_watchers(self, database: Database, other: Database | None) -> None:
        """All of a database is about to be replaced by what another one holds, or by nothing. That modifies every
        watched key that exists here or there, unless it is expired on both sides: then it is gone before and after."""
        now = self.clock.ms()
        for key, sessions in database.watched.items():
            exists = other is not None and key in other.data
            if not exists and key not in database.data:
                continue
            expired = other is not None and exists and other.expires.get(key, now + 1) <= now
            for session in sessions:
                was_expired = session.watching[database, key]
                if was_expired and not exists:
                    session.watching[database, key] = False
                elif not was_expired and key not in database.data and expired:
                    session.watching[database, key] = True
                elif not (was_expired and expired):
                    session.dirty_cas = True

    # -- hooks

    def notify_watchers(self, database: Database, key: bytes) -> None:
        """A key was modified: transactions that watch it will fail, and clients that have read it are told."""
        if self.tracking is not None:
            self.tracking.modified(key)
        self._fail_watchers(database, key)

    def _fail_watchers(self, database: Database, key: bytes) -> None:
        for session in database.watched.get(key, ()):
            if not session.watching[database, key]:
                session.dirty_cas = True
            elif key not in database.data:  # it had expired before it was watched, and has now been removed
                session.watching[database, key] = False

    def notify(self, database: Database, kind: str, event: str, key: bytes) -> None:
        """Publish a keyspace event, if its class is wanted."""
        if self.absent and key in self.absent and key in database.data:
            self.created(database, key)
        if kind not in self.events:
            return
        if "K" in self.events:
            self.publish(b"__keyspace@%d__:%b" % (database.index, key), event.encode())
        if "E" in self.events:
            self.publish(b"__keyevent@%d__:%b" % (database.index, event.encode()), key)

    def created(self, database: Database, key: bytes) -> None:
        """A key is new. Commands with a key in another database than the session's tell of it themselves."""
        self.absent.discard(key)
        self.notify(database, "n", "new", key)

    def expired(self, database: Database, key: bytes) -> None:
        """A key was removed because its time had come. It is no change of a client's, but one that the log needs."""
        self.expired_keys += 1
        self._gone(database, key, "x", "expired")

    def evicted(self, database: Database, key: bytes) -> None:
        """A key was removed because memory was short."""
        self.evicted_keys += 1
        self._gone(database, key, "e", "evicted")

    def _gone(self, database: Database, key: bytes, kind: str, event: str) -> None:
        """Tell whom it concerns of a key that no client has removed."""
        if self.propagate is not None:
            self.propagate(database, [b"DEL", key])
        if self.tracking is not None:
            self.tracking.modified(key, by_client=False)
        if database.watched:
            self._fail_watchers(database, key)
        if self.heard:
            self.notify(database, kind, event, key)

    def ready(self, database: Database, key: bytes) -> None:
        """A key that clients wait for exists now; they are served after the command."""
        self.ready_keys[database, key] = None
