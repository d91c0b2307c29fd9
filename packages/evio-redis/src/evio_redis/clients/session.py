"""One client: what the server knows of it and what state it is in."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..acl.users import Users
from ..config.config import Config
from ..errors import CommandError
from ..keyspace.database import Database
from ..keyspace.keyspace import Keyspace
from ..model.command import Args
from ..model.services import Services
from ..protocol.parser import Parser
from ..protocol.resp import RESP2, Resp2

if TYPE_CHECKING:
    from evio_core import Conn

    from ..acl.user import User
    from .replica import Replica
    from .tracker import Tracker


__all__ = ["DIRECT", "QUEUE", "TRACKED", "Session"]

DIRECT, TRACKED, QUEUE = "direct", "tracked", "queue"
"""Ways of a session's commands."""


class Session:
    """A client. Its ``way`` is ``DIRECT`` while it is in the state that nearly all are in nearly always: authenticated,
    not blocked, in no transaction, without subscriptions; it is ``QUEUE`` if there is no more to it than a transaction
    (MULTI), ``TRACKED`` if the keys that it reads are remembered but for that, and its user if that may not do
    everything. Any other state has no way of its own (None): its commands take the long one, which considers them all.
    It is ``plain`` if it has a way and is at the beginning of a command, so that its input need not be remembered."""

    __slots__ = (
        "atomic",
        "authenticated",
        "backlog",
        "backlog_bytes",
        "batch_tries",
        "blocked",
        "channels",
        "closing",
        "conn",
        "context",
        "created",
        "db",
        "dirty_cas",
        "dirty_exec",
        "executing",
        "hard_limit",
        "id",
        "last_command",
        "lib_name",
        "lib_ver",
        "monitor",
        "name",
        "no_evict",
        "no_touch",
        "outbox",
        "parser",
        "patterns",
        "plain",
        "queue",
        "read_only",
        "redacted",
        "replica",
        "replies",
        "reply_mode",
        "resp",
        "seen",
        "rewritten",
        "scripted",
        "services",
        "shard_channels",
        "tracking",
        "user",
        "watching",
        "way",
        "written",
    )

    def __init__(self, services: Services, conn: Conn | None, identity: int) -> None:
        config = services[Config]
        self.services: Services = services
        self.conn: Conn | None = conn
        self.id: int = identity
        self.db: Database = services[Keyspace].databases[0]
        self.resp: Resp2 = RESP2
        self.context: Any = None  # for own commands
        self.tracking: Tracker | None = None  # how it is tracked (CLIENT TRACKING)
        self.user: User = services[Users].default
        self.authenticated: bool = services[Users].open
        self.way: str | User | None = self.reading_way if self.authenticated else None
        self.plain: bool = self.authenticated
        self.name: bytes = b""
        self.lib_name: bytes = b""
        self.lib_ver: bytes = b""
        self.created: float = time.time()
        self.seen: float = self.created
        self.last_command: bytes | str = ""  # its name, as it came or as it is
        self.closing: bool = False
        self.hard_limit: int = 0  # bytes of output that the core lets wait; 0 is no limit
        self.parser: Parser = Parser()
        self.parser.authenticated = self.authenticated
        self.replies: list[bytes] | None = None  # of the commands that run now, if they run the slow way
        self.outbox: list[bytes] | None = None if config.loops == 1 else []
        self.reply_mode: str = "on"
        self.monitor: bool = False
        self.no_evict: bool = False
        self.no_touch: bool = False
        self.read_only: bool = False  # it may read what a master in the cluster has from a replica (READONLY)
        self.queue: list[Args] | None = None  # of MULTI
        self.atomic: bool = False  # within EXEC, where nothing may block
        self.scripted: bool = False  # it is that of what scripts call
        self.executing: list[Args] | None = None  # what EXEC found queued, while it runs
        self.dirty_exec: bool = False  # a command could not be queued
        self.dirty_cas: bool = False  # a watched key was modified
        self.watching: dict[tuple[Database, bytes], bool] = {}  # and whether the key was expired then
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.replica: Replica | None = None  # what it has said about itself as a replica (REPLCONF)
        self.blocked: Any = None  # what it waits for
        self.redacted: tuple[Args, Args] | None = None  # a command, and how MONITOR and the slow log show it
        self.written: int = 0  # up to where the replication stream has its commands
        self.rewritten: list[Args] = []  # what the log gets instead of the command that runs
        self.backlog: deque[Args] = deque()  # commands that arrived meanwhile
        self.backlog_bytes: int = 0  # in which so much input went
        self.batch_tries: int = 1  # pipelines that may be batches of one command; none of the next -N if it is negative

    @property
    def _usual_reader(self) -> bool:
        """True if it is tracked, or a user who may not do everything, and no more than that."""
        if self.queue is not None:
            return False
        return self.tracking is None or (self.user.unrestricted and not self.tracking.caching)

    @property
    def reading_way(self) -> str | User:
        """The way of its commands that are run at once: whether what they read may have to be remembered, whether they
        may be run at all."""
        if not self.user.unrestricted:
            return self.user
        return DIRECT if self.tracking is None or self.tracking.bcast else TRACKED

    @property
    def subscribed(self) -> bool:
        """True if it has any subscription."""
        return bool(self.channels or self.patterns or self.shard_channels)

    def update_plain(self) -> None:
        """Decide anew which way its commands take, and if it is plain; to be called when its state has changed."""
        usual = (
            self.authenticated
            and self.blocked is None
            and not self.backlog
            and not self.closing
            and not self.monitor
            and not self.channels
            and not self.patterns
            and not self.shard_channels
            and self.reply_mode == "on"
            and ((self.tracking is None and self.user.unrestricted) or self._usual_reader)
        )
        self.way = (self.reading_way if self.queue is None else QUEUE) if usual else None
        self.plain = usual and self.parser.empty and not self.hard_limit

    # -- transactions

    def watch(self, keys: list[bytes]) -> None:
        """Have EXEC fail if one of these keys is modified until then. One that is expired already may go away."""
        if self.dirty_cas:
            return  # EXEC will fail anyway
        now = self.db.keyspace.clock.ms()
        for key in keys:
            if (self.db, key) not in self.watching:
                expired = self.db.expires.get(key, now + 1) <= now
                self.watching[self.db, key] = expired
                self.db.watched.setdefault(key, set()).add(self)
        self.db.keyspace.update_listeners()

    def unwatch(self) -> None:
        """Stop watching keys."""
        for database, key in self.watching:
            sessions = database.watched[key]
            sessions.discard(self)
            if not sessions:
                del database.watched[key]
        if self.watching:
            self.watching.clear()
            self.db.keyspace.update_listeners()
        self.dirty_cas = False

    def watched_expired(self) -> bool:
        """True if a watched key has expired since it is watched, though nobody has noticed yet."""
        if not self.watching:
            return False
        now = self.db.keyspace.clock.ms()
        return any(
            not expired and database.expires.get(key, now + 1) <= now
            for (database, key), expired in self.watching.items()
        )

    def begin_multi(self) -> None:
        """Queue commands from now on."""
        self.queue = []
        self.dirty_exec = False
        if self.way is DIRECT:  # of its state, nothing else has changed
            self.way = QUEUE
        else:
            self.update_plain()

    def leave_multi(self) -> None:
        """Forget the transaction and what it watches."""
        self.queue = None
        self.dirty_exec = self.dirty_cas = False
        if self.watching:
            self.unwatch()
        if self.way is QUEUE:
            self.way = DIRECT

    def reset(self) -> None:
        """Back to how it connected, but for what RESET leaves alone: its name is gone, its id stays."""
        self.leave_multi()
        self.db = self.services[Keyspace].databases[0]
        self.resp = RESP2
        self.name = b""
        self.reply_mode = "on"
        self.no_evict = self.no_touch = self.read_only = False
        self.user = self.services[Users].default
        self.authenticated = self.services[Users].open
        self.parser.authenticated = self.authenticated
        self.update_plain()

    # -- the log

    def rewrite(self, *args: bytes) -> None:
        """Have the append-only file get this command rather than the one that runs, whose effect its arguments do not
        determine; several times, several commands, all or none of which it will have. Without arguments: nothing."""
        if self.db.keyspace.propagate is not None:
            self.rewritten.append(list(args))

    def redact(self, args: list[bytes], *positions: int) -> None:
        """Have MONITOR and the slow log not show these arguments of the command that runs: they are secrets."""
        shown = list(self.shown(args))
        for position in positions:
            shown[position] = b"(redacted)"
        self.redacted = args, shown

    def shown(self, args: Args) -> Args:
        """Return how MONITOR and the slow log show a command that has just run. What another one has redacted, and may
        have left behind, says nothing of this one."""
        return self.redacted[1] if self.redacted is not None and self.redacted[0] == args else args

    # -- output

    def late_reply(self, reply: bytes) -> None:
        """Send the reply of a command that had to wait, if the client wants replies (CLIENT REPLY)."""
        if self.reply_mode == "on":
            self.push(reply)
        else:
            self.silenced()

    def silenced(self) -> None:
        """A reply was not sent because of CLIENT REPLY; SKIP means the next one only."""
        self.reply_mode = {"skip next": "skip", "skip": "on"}.get(self.reply_mode, self.reply_mode)

    def protocol_error(self) -> bytes:
        """Return the error for input that is no command, once all that came before it has been run; it is the end."""
        error = self.parser.error
        if error is None or self.closing or self.blocked is not None:
            return b""
        self.closing = True
        return CommandError(f"ERR Protocol error: {error}").reply

    def push(self, message: bytes) -> None:
        """Send what is no reply: in order with the replies if its commands run now."""
        if self.replies is not None:
            self.replies.append(message)
        elif self.conn is not None:
            if self.outbox is None:
                self.conn.write(message)
            else:
                self.outbox.append(message)
                self.conn.wake()

    def take_outbox(self) -> bytes:
        """Return the output of other loops for this client, which is to leave before anything else does: what they
        wrote to the connection would be overtaken by the next reply of its own loop."""
        taken = b"".join(self.outbox or ())
        self.outbox = [] if self.outbox is not None else None
        return taken
