"""One client: what the server knows of it and what state it is in."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .parser import Parser
from .resp import RESP2, Resp2

if TYPE_CHECKING:
    from evio_core import Conn

    from .command import Args
    from .database import Database
    from .server import Server

__all__ = ["Session"]


class Session:
    """A client. It is ``plain`` while it is in the state that nearly all are in nearly always: authenticated, not
    blocked, in no transaction, without subscriptions, at the beginning of a command. The server then runs its
    commands the fast way; every other state takes the one way that considers them all."""

    __slots__ = (
        "authenticated",
        "backlog",
        "blocked",
        "channels",
        "closing",
        "conn",
        "context",
        "created",
        "db",
        "dirty_cas",
        "dirty_exec",
        "id",
        "last_command",
        "lib_name",
        "lib_ver",
        "monitor",
        "name",
        "no_evict",
        "no_touch",
        "parser",
        "patterns",
        "plain",
        "queue",
        "replies",
        "reply_mode",
        "resp",
        "seen",
        "server",
        "shard_channels",
        "skip_reply",
        "user",
        "watching",
    )

    def __init__(self, server: Server, conn: Conn | None, identity: int) -> None:
        self.server = server
        self.conn = conn
        self.id = identity
        self.db: Database = server.keyspace.databases[0]
        self.resp: Resp2 = RESP2
        self.context: Any = None  # for own commands
        self.plain = True
        self.authenticated = True
        self.user = "default"
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.created = self.seen = server.now
        self.last_command = ""
        self.closing = False
        self.parser = Parser()
        self.replies: list[bytes] | None = None  # of the commands that run now, if they run the slow way
        self.reply_mode = "on"
        self.skip_reply = False
        self.monitor = False
        self.no_evict = False
        self.no_touch = False
        self.queue: list[Args] | None = None  # of MULTI
        self.dirty_exec = False  # a command could not be queued
        self.dirty_cas = False  # a watched key was modified
        self.watching: list[tuple[Database, bytes]] = []
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.blocked: Any = None  # what it waits for
        self.backlog: deque[Args] = deque()  # commands that arrived meanwhile

    @property
    def subscribed(self) -> bool:
        """Whether it has any subscription."""
        return bool(self.channels or self.patterns or self.shard_channels)

    def settle(self) -> None:
        """Decide anew whether it is plain; to be called when its state has changed."""
        self.plain = (
            self.authenticated
            and self.queue is None
            and self.blocked is None
            and not self.backlog
            and not self.closing
            and not self.monitor
            and not self.subscribed
            and self.reply_mode == "on"
            and self.parser.empty
        )

    def push(self, message: bytes) -> None:
        """Send what is no reply: in order with the replies if its commands run now."""
        if self.replies is not None:
            self.replies.append(message)
        elif self.conn is not None:
            self.conn.write(message)

    def close(self) -> None:
        """Close after the replies so far."""
        self.closing = True
        self.plain = False
        if self.replies is None and self.conn is not None:
            self.conn.close()
