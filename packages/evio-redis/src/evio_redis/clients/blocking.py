"""Clients that wait for a key to be there.

A blocking command tries first; if there is nothing, :meth:`Blocking.wait` parks the session with a function that tries
again for one key. When a key that somebody waits for has come to be (``Database.add`` and ``put`` tell the keyspace),
:meth:`Blocking.serve`, which the dispatcher calls after each command, lets the waiting try in the order in which they
came, until the key is gone again. A session that waits for several keys stands in the queue of each, and is served by
the first that is ready.

Within MULTI nothing waits: there a command that finds nothing replies as if its time were over.

https://redis.io/docs/latest/commands/blpop/
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ..errors import TIMEOUT_NEGATIVE, TIMEOUT_NOT_A_FLOAT, CommandError
from ..keyspace.database import Database
from ..keyspace.keyspace import Keyspace
from ..model.command import Args
from ..protocol.numbers import parse_double

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Blocking", "Runner", "Waiter", "parse_timeout"]

Attempt = Callable[[bytes], "bytes | None"]
"""Tries a key; returns the reply, or None if there is nothing to be had there."""

LONGEST = 2**63 // 1000 - 1
"""Seconds; more would overflow Redis's milliseconds."""


MOVED_ON = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"


def parse_timeout(text: bytes) -> float:
    """Seconds; 0 is for ever. Raises :class:`CommandError`."""
    seconds = parse_double(text, TIMEOUT_NOT_A_FLOAT)
    if seconds > LONGEST:
        raise CommandError("ERR timeout is out of range")
    if seconds < 0:
        raise CommandError(TIMEOUT_NEGATIVE)
    return seconds


class Waiter:
    """A session that waits: for what, how to try, and what to say when the time is over."""

    __slots__ = ("args", "attempt", "database", "expired", "keys", "needs_key", "session", "taken")

    def __init__(
        self,
        session: Session,
        database: Database,
        keys: Sequence[bytes],
        attempt: Attempt,
        expired: bytes,
        needs_key: bool,
    ) -> None:
        self.session: Session = session
        self.database: Database = database
        self.keys: list[bytes] = list(dict.fromkeys(keys))
        self.attempt: Attempt = attempt
        self.expired: bytes = expired
        self.needs_key: bool = needs_key  # to exist; else it tries a key that is gone, too
        self.args: Args = []  # what the dispatcher has called, for the slow log
        self.taken: int = 0  # nanoseconds, without the waiting


class Runner(Protocol):
    """The dispatcher, as far as it is needed here."""

    def attempt(self, waiter: Waiter, key: bytes) -> bytes | None:
        """Have a waiter try a key: as a command that is counted, timed and logged. Returns its reply, or None."""

    def resume(self, session: Session) -> None:
        """Go on with what a client has sent while it was blocked."""

    def unblocked(self, session: Session, error: CommandError) -> None:
        """Count the error with which a client's waiting ends."""


class Blocking:
    """All who wait on a server."""

    runner: Runner  # set by the dispatcher

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self._deadlines: list[tuple[float, int, Waiter]] = []
        self._numbers = itertools.count()
        self.waiting: int = 0
        self._without_key = 0  # who try a key that is gone

    # -- waiting

    def wait(
        self,
        session: Session,
        keys: Sequence[bytes],
        timeout: float,
        attempt: Attempt,
        expired: bytes,
        needs_key: bool = True,
    ) -> bytes:
        """Have a session wait for one of the keys, for ``timeout`` seconds (0: for ever), then reply ``expired``. With
        ``needs_key`` false it also tries a key that is gone. Returns the reply for now."""
        if session.atomic:
            return expired
        waiter = Waiter(session, session.db, keys, attempt, expired, needs_key)
        self._without_key += not needs_key
        session.blocked = waiter
        for key in waiter.keys:
            session.db.blocked.setdefault(key, deque()).append(waiter)
        if timeout:
            heapq.heappush(self._deadlines, (monotonic() + timeout, next(self._numbers), waiter))
        self.waiting += 1
        session.update_plain()
        return b""

    def _leave(self, waiter: Waiter) -> None:
        for key in waiter.keys:
            queue = waiter.database.blocked.get(key)
            if queue is not None and waiter in queue:
                queue.remove(waiter)
                if not queue:
                    del waiter.database.blocked[key]
        waiter.session.blocked = None
        self.waiting -= 1
        self._without_key -= not waiter.needs_key

    # -- being served

    def serve(self) -> None:
        """Serve those who wait for keys that are there now; what they do may make others ready."""
        ready = self._keyspace.ready_keys
        while ready:
            database, key = next(iter(ready))
            del ready[database, key]
            self._serve(database, key)

    def _serve(self, database: Database, key: bytes) -> None:
        for waiter in list(database.blocked.get(key, ())):
            gone = database.lookup(key) is None
            if gone and not self._without_key:
                return
            if waiter.session.blocked is waiter and not (gone and waiter.needs_key):
                reply = self.runner.attempt(waiter, key)
                if reply is not None:  # else it is of another type than this one waits for
                    self.finish(waiter, reply)

    def finish(self, waiter: Waiter, reply: bytes) -> None:
        """End the waiting of a client with this reply."""
        self._leave(waiter)
        waiter.session.late_reply(reply)
        self.runner.resume(waiter.session)

    # -- not being served

    def tick(self) -> float | None:
        """End the waiting of those whose time is over; returns the seconds until the next one's is."""
        now = monotonic()
        while self._deadlines and (
            self._deadlines[0][0] <= now or self._deadlines[0][2].session.blocked is not self._deadlines[0][2]
        ):
            waiter = heapq.heappop(self._deadlines)[2]
            if waiter.session.blocked is waiter:
                self.finish(waiter, waiter.expired)
        return self._deadlines[0][0] - now if self._deadlines else None

    def unblock(self, session: Session, error: bool) -> bool:
        """Free a session as CLIENT UNBLOCK does; False if it does not wait."""
        waiter = session.blocked
        if not isinstance(waiter, Waiter):
            return False
        if not error:
            self.finish(waiter, waiter.expired)
            return True
        unblocked = CommandError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
        self.runner.unblocked(session, unblocked)
        self.finish(waiter, unblocked.reply)
        return True

    def disconnect(self, session: Session) -> None:
        """End the connection of a client that waits here for what will not happen on this server."""
        waiter = session.blocked
        if isinstance(waiter, Waiter):
            session.backlog.clear()
            error = CommandError(MOVED_ON)
            self.runner.unblocked(session, error)
            self.finish(waiter, error.reply)
            if session.conn is not None:
                session.conn.close()

    def forget(self, session: Session) -> None:
        """A session is gone."""
        if isinstance(session.blocked, Waiter):
            session.backlog.clear()
            self._leave(session.blocked)
