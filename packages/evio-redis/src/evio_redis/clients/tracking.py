"""Client tracking: clients that keep what they have read are told when it has changed.

The server remembers which client has read which key, and forgets it with the first message about that key; clients in
broadcasting mode are told of every change to keys with their prefixes instead. Keys count by their name alone, whatever
database they are in.

https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from ..config.config import Config
from ..keyspace.keyspace import Keyspace
from ..model.route import Route
from ..protocol.resp import array, bulk, bulks, integer
from .tracker import Tracker

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Tracking"]

CHANNEL = b"__redis__:invalidate"
"""The channel in which a client that speaks RESP2 finds the messages that are redirected to it."""

DROPPED = 20_000
"""Keys that one tick may drop to bring the table under ``tracking-table-max-keys``; a quarter of the excess if that is
more, so that it is reached whatever is read meanwhile."""


class Tracking:
    """The clients of a server that are tracked, and what they have read."""

    sessions: dict[int, Session]  # all clients, by id; set by the one who keeps them

    def __init__(self, config: Config, route: Route, keyspace: Keyspace) -> None:
        self._config = config
        self._route = route
        self._keyspace = keyspace
        self.later: Callable[[Callable[[], object]], None] = lambda function: None
        """Have a function called after this turn of the loop, when all replies are on their way; set by the server."""

        self.current: Session | None = None  # the client whose command runs, if that may change something
        self._pending: list[bytes | None] = []  # messages for that client, which are to follow the reply
        self._tracked: dict[int, Session] = {}  # by id
        self._table: dict[bytes, int | set[int]] = {}  # key: who has read it
        self.items: int = 0
        self._prefixes: dict[bytes, dict[Session, None]] = {}
        self._lengths: list[int] = []  # of the prefixes, each once
        self._changed: dict[bytes, dict[bytes, Session | None]] = {}  # by prefix, keys and by whom, until broadcast

    @property
    def active(self) -> bool:
        """True while anybody is tracked."""
        return bool(self._tracked)

    def counts(self) -> tuple[int, int, int, int]:
        """Return the numbers of clients that are tracked, of keys remembered, of pairs of both, and of prefixes."""
        return len(self._tracked), len(self._table), self.items, len(self._prefixes)

    # -- who is tracked

    def enable(self, session: Session, wanted: Tracker) -> None:
        """Begin to track a client, or track it as ``wanted`` from now on."""
        tracker = session.tracking
        if tracker is None:
            tracker = session.tracking = wanted
            self._tracked[session.id] = session
        else:
            for name in ("redirect", "bcast", "optin", "optout", "noloop"):
                setattr(tracker, name, getattr(wanted, name))
            tracker.broken = False
        if tracker.bcast:
            for prefix in wanted.prefixes or [b""]:
                tracker.prefixes.add(prefix)
                self._prefixes.setdefault(prefix, {})[session] = None
        self._follow()
        session.update_plain()

    def disable(self, session: Session) -> None:
        """Track a client no more; nothing happens if it is not."""
        tracker = session.tracking
        if tracker is None:
            return
        session.tracking = None
        del self._tracked[session.id]
        for prefix in tracker.prefixes:
            sessions = self._prefixes[prefix]
            del sessions[session]
            if not sessions:
                del self._prefixes[prefix]
                self._changed.pop(prefix, None)
        self._follow()
        session.update_plain()

    def _follow(self) -> None:
        self._lengths = sorted({*map(len, self._prefixes)})
        if self._tracked:
            self._keyspace.tracking = self
            self._route.hold("tracking", writes_only=True)
        else:
            self._table.clear()  # as nobody notices any more what becomes of these keys
            self.items = 0
            self._keyspace.tracking = None
            self._route.release("tracking")
        self._keyspace.update_listeners()

    # -- what they read

    def remember(self, tracker: Tracker, keys: Iterable[bytes]) -> None:
        """Remember that a client has read these keys."""
        table, identity = self._table, tracker.id
        for key in keys:
            known = table.get(key)
            if known is None:
                table[key] = identity  # no set: most keys are read by one client
            elif known == identity:
                continue
            elif not isinstance(known, set):
                table[key] = {known, identity}
            elif identity in known:
                continue
            else:
                known.add(identity)
            self.items += 1

    def limit(self) -> None:
        """Forget keys, of which the clients are told, while there are more than ``tracking-table-max-keys``."""
        most = self._config.tracking_table_max_keys
        excess = len(self._table) - most
        if most and excess > 0:
            for key in list(islice(self._table, min(excess, max(DROPPED, excess // 4)))):  # the oldest ones
                self._invalidate(key)

    # -- what changes; called by the keyspace

    def modified(self, key: bytes, by_client: bool = True) -> None:
        """Tell whom it concerns that a key was modified. ``by_client`` is false if nobody did so: it has expired."""
        for length in self._lengths:
            prefix = key[:length]
            if prefix in self._prefixes and len(prefix) == length:
                if not self._changed:
                    self.later(self.broadcast)
                self._changed.setdefault(prefix, {})[key] = self.current if by_client else None
        self._invalidate(key)

    def _invalidate(self, key: bytes) -> None:
        known = self._table.pop(key, None)
        if known is None:
            return
        identities = known if isinstance(known, set) else (known,)
        self.items -= len(identities)
        for identity in identities:
            session = self._tracked.get(identity)
            if session is None or session.tracking is None or session.tracking.bcast:
                continue
            if session is not self.current:
                self._send(session, bulks([key]))
            elif not session.tracking.noloop:
                self._pending.append(key)

    def flushed(self) -> None:
        """Tell all that every key of a database is gone."""
        self._table.clear()
        self.items = 0
        for session in self._tracked.values():
            if session is self.current:
                self._pending.append(None)
            else:
                self._send(session, None)

    def broadcast(self) -> None:
        """Tell the clients in broadcasting mode what has changed since the last time."""
        changed, self._changed = self._changed, {}
        for prefix, keys in sorted(changed.items()):
            names = sorted(keys)
            everything = bulks(names)
            for session in list(self._prefixes.get(prefix, ())):
                if session.tracking is None or not session.tracking.noloop:
                    self._send(session, everything)
                elif others := [name for name in names if keys[name] is not session]:
                    self._send(session, bulks(others))

    # -- messages

    def end(self, session: Session, reply: bytes, waited: bool = False) -> bytes:
        """A client's command has ended, perhaps one that has waited until now; returns its reply, followed by what the
        client itself has to be told."""
        self.current = None
        if not self._pending:
            return reply
        pending, self._pending = self._pending, []
        parts = [reply]
        replied = (waited or session.blocked is None) and session.reply_mode == "on"
        for key in pending:
            target, message = self._message(session, None if key is None else bulks([key]))
            if target is session and replied:
                parts.append(message)
            else:
                target.push(message)
        return b"".join(parts)

    def failed(self, session: Session) -> None:
        """A client's command has ended with an error, behind which the messages are sent."""
        self.current = None
        pending, self._pending = self._pending, []
        if pending:
            self.later(lambda: self._send_all(session, pending))

    def _send_all(self, session: Session, keys: list[bytes | None]) -> None:
        for key in keys:
            self._send(session, None if key is None else bulks([key]))

    def _send(self, session: Session, keys: bytes | None) -> None:
        """Send a message about ``keys``, an encoded array; None is all of them."""
        target, message = self._message(session, keys)
        if message:
            target.push(message)

    def _message(self, session: Session, keys: bytes | None) -> tuple[Session, bytes]:
        """Return a message about keys and for whom it is; it is empty if that client cannot be told."""
        target, tracker = session, session.tracking
        if tracker is None:  # it was the command that ended this
            return target, b""
        if tracker.redirect:
            redirected = self.sessions.get(tracker.redirect)
            if redirected is None:
                tracker.broken = True
                parts = [bulk(b"tracking-redir-broken"), integer(tracker.redirect)]
                return target, target.resp.push(parts) if target.resp.version == 3 else b""
            target = redirected
        body = target.resp.null if keys is None else keys
        if target.resp.version == 3:
            return target, target.resp.push([bulk(b"invalidate"), body])
        if tracker.redirect and target.subscribed:
            return target, array([bulk(b"message"), bulk(CHANNEL), body])
        return target, b""
