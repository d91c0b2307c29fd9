"""MIGRATE: keys go to another server, and are removed here when that has acknowledged them.

Only the client that asks for it waits. A key that another client changes meanwhile is sent again, so that what is
removed here is what is there.

https://redis.io/docs/latest/commands/migrate/
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from evio_core import Action, Handler, Server, TimerHandle

from ..clients.blocking import Blocking
from ..config.config import Config
from ..errors import CommandError
from ..keyspace.database import Database
from ..keyspace.keyspace import Keyspace
from ..model.services import Services
from ..persistence import AppendOnlyFile
from ..persistence.aof.encode import encode
from ..persistence.rdb import payload
from ..protocol.resp import OK

if TYPE_CHECKING:
    from ..clients.blocking import Waiter
    from ..clients.session import Session

__all__ = ["NOT_CONNECTED", "NOT_WRITTEN", "Migration"]

NOT_CONNECTED = "IOERR error or timeout connecting to the client"
NOT_WRITTEN = "IOERR error or timeout writing to target instance"
NOT_READ = "IOERR error or timeout reading to target instance"

WINDOW = 1 << 18
"""Bytes that are on their way at once, unless one key is larger."""

LONGEST_LINE = 1 << 16
"""Bytes of a reply."""


class _Kind(Enum):
    """Commands that the target is sent."""

    SETUP = auto()
    RESTORE = auto()
    DELETE = auto()


class _Watch:
    """Notices that a key is changed while it is on its way (:class:`evio_redis.keyspace.database.Watcher`)."""

    def __init__(self, database: Database, key: bytes) -> None:
        self.watching: dict[tuple[Database, bytes], bool] = {(database, key): False}
        self.dirty_cas = False


class Migration(Handler):
    """One call of MIGRATE, and the connection to the target that it takes place on."""

    def __init__(
        self,
        services: Services,
        session: Session,
        keys: Sequence[bytes],
        database: int,
        login: Sequence[bytes],
        copy: bool,
        replace: bool,
    ) -> None:
        """``database`` is the target's, ``login`` the arguments of AUTH there, if it asks for it."""
        self._config = services[Config]
        self._blocking = services[Blocking]
        self._aof = services[AppendOnlyFile]
        self._keyspace = services[Keyspace]
        self._session = session
        self._database = session.db
        self._target = database
        self._login = login
        self._copy, self._replace = copy, replace
        self._left = deque(keys)
        self._sent: deque[tuple[_Kind, bytes, int]] = deque()  # what, for which key, how many bytes
        self._on_the_way = 0  # bytes
        self._watches: dict[bytes, _Watch] = {}
        self._input = b""
        self._error = ""  # the first one that the target has replied with
        self._opened = False
        self._done = False
        self._waiter: Waiter | None = None
        self._timer: TimerHandle | None = None

    def begin(self, core: Server, timeout: float) -> bytes:
        """Have the client wait, for ``timeout`` seconds at most; returns the reply for now."""
        if self._done:
            return CommandError(NOT_CONNECTED).reply
        session = self._session
        reply = self._blocking.wait(session, [], 0.0, lambda key: None, CommandError(NOT_READ).reply)
        self._waiter = session.blocked
        self._timer = core.call_later(timeout, self._expire)
        return reply

    # -- events

    def opened(self) -> None:
        """Log in, choose the database, and begin to send."""
        self._opened = True
        if self._done:
            self.conn.close()
            return
        if self._login:
            self._send(_Kind.SETUP, b"", [b"AUTH", *self._login])
        self._send(_Kind.SETUP, b"", [b"SELECT", b"%d" % self._target])
        self._go_on()

    def data(self, chunk: bytes) -> Action | None:
        """Take replies: each is a line."""
        *lines, self._input = (self._input + chunk).split(b"\r\n")
        moved: list[bytes] = []
        for line in lines:
            if not self._sent or self._done:
                return Action.CLOSE
            self._take(line, moved)
        if moved:
            self._removed(moved)
        if len(self._input) > LONGEST_LINE:
            self._finish(CommandError(NOT_READ).reply)
        if self._done:
            return Action.CLOSE
        self._go_on()
        return None

    def eof(self) -> Action:
        """End with the target."""
        return Action.CLOSE

    def closed(self, error: BaseException | None) -> None:
        """Report that what is not acknowledged may be there or not; it is here."""
        # Redis notices a refusal when it writes.
        not_opened = NOT_WRITTEN if isinstance(error, ConnectionError) else NOT_CONNECTED
        self._finish(CommandError(NOT_READ if self._opened else not_opened).reply)

    # -- sending

    def _send(self, kind: _Kind, key: bytes, args: list[bytes]) -> None:
        data = encode(args)
        self._sent.append((kind, key, len(data)))
        self._on_the_way += len(data)
        self.conn.write(data)

    def _go_on(self) -> None:
        """Send as much as may be on its way, and end when all is there."""
        while self._left and self._on_the_way < WINDOW:
            self._send_key(self._left.popleft(), self._replace)
        if not self._sent and not self._left:
            text = f"ERR Target instance replied with error: {self._error}"
            self._finish(CommandError(text).reply if self._error else OK)
            self.conn.close()

    def _send_key(self, key: bytes, replace: bool, again: bool = False) -> None:
        """Send a key as it is now; ``again`` if the target has it as it was."""
        database = self._database
        value = database.lookup(key)
        if value is None:
            if again:
                self._send(_Kind.DELETE, key, [b"DEL", key])
            return
        expiry = database.expires.get(key)
        left = max(expiry - database.keyspace.clock.ms(), 1) if expiry is not None else 0
        args = [b"RESTORE", key, b"%d" % left, payload.pack(value, self._config)]
        if not self._copy:
            self._watch(key)
        self._send(_Kind.RESTORE, key, [*args, b"REPLACE"] if replace else args)

    def _watch(self, key: bytes) -> None:
        watch = self._watches[key] = _Watch(self._database, key)
        self._database.watched.setdefault(key, set()).add(watch)
        self._database.keyspace.update_listeners()

    def _unwatch(self, key: bytes) -> bool:
        """Watch a key no more; returns True if it has changed."""
        watch = self._watches.pop(key, None)
        if watch is None:
            return False
        watchers = self._database.watched[key]
        watchers.discard(watch)
        if not watchers:
            del self._database.watched[key]
        self._database.keyspace.update_listeners()
        return watch.dirty_cas

    # -- replies

    def _take(self, line: bytes, moved: list[bytes]) -> None:
        kind, key, size = self._sent.popleft()
        self._on_the_way -= size
        failed = line.startswith(b"-")
        if failed and not self._error:
            self._error = line[1:].decode("utf-8", "surrogateescape")
        if kind is _Kind.SETUP:
            if failed:  # to log in, or to choose the database: no key is to go anywhere else
                self._left.clear()
                self._finish(CommandError(f"ERR Target instance replied with error: {self._error}").reply)
            return
        changed = self._unwatch(key)
        if failed or self._copy or kind is _Kind.DELETE:
            return
        if self._keyspace.follows:  # a replica meanwhile: what is here is its master's
            self._finish(CommandError(NOT_READ).reply)
        elif changed:
            self._send_key(key, replace=True, again=True)
        elif self._database.lookup(key) is not None:
            moved.append(key)
            self._database.discount(key)
            self._database.remove(key)
            self._database.changed(key, "g", "del")

    def _removed(self, keys: list[bytes]) -> None:
        """Have the log and replicas know that keys are gone, before the client does."""
        session = self._session
        if self._aof.logging:
            session.rewritten[:] = [[b"DEL", *keys]]
            self._aof.record(session, [])
            self._aof.flush()

    # -- the end

    def _expire(self) -> None:
        if not self._done:
            self._finish(CommandError(NOT_READ if self._opened else NOT_CONNECTED).reply)
            if self._opened:
                self.conn.abort()

    def _finish(self, reply: bytes) -> None:
        if self._done:
            return
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        for key in list(self._watches):
            self._unwatch(key)
        waiter = self._waiter
        if waiter is not None and self._session.blocked is waiter:
            self._blocking.finish(waiter, reply)
