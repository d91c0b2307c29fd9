"""The description of clients in CLIENT LIST, and finding clients by it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import CommandError
from ..protocol.resp import bulks

if TYPE_CHECKING:
    from evio_core import Conn

    from .session import Session

__all__ = [
    "client_type",
    "describe",
    "is_allowed",
    "local_peer",
    "memory_of",
    "parse_type",
    "peer",
    "show_address",
]

CLIENT_TYPES = ("normal", "master", "replica", "slave", "pubsub")


def show_address(address: Any) -> str:
    """A peer as ``host:port``; of a unix socket ``path:0``."""
    if not isinstance(address, tuple):
        path = address.decode("utf-8", "surrogateescape") if isinstance(address, bytes) else address or ""
        return f"{path}:0"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer(conn: Conn) -> str:
    """Return the address of a client; of a unix socket, whose clients have no name, the socket itself."""
    remote = conn.remote_addr
    return show_address(remote if isinstance(remote, tuple) else conn.local_addr)


def local_peer(conn: Conn) -> bool:
    """Tell whether the peer is on this machine."""
    remote = conn.remote_addr
    return not isinstance(remote, tuple) or remote[0].startswith("127.") or remote[0] in ("::1", "::ffff:127.0.0.1")


def is_allowed(session: Session, whom: str) -> bool:
    """Tell whether a client may do what is allowed to ``whom``: ``yes``, ``no``, or ``local`` for those on this
    machine."""
    return whom == "yes" or (whom == "local" and (session.conn is None or local_peer(session.conn)))


def client_type(session: Session) -> str:
    """Its class, as TYPE of CLIENT LIST and the output buffer limits have it."""
    if session.replica is not None and session.replica.following:
        return "replica"
    return "pubsub" if session.subscribed else "normal"


def parse_type(text: bytes) -> str:
    """A class of clients. Raises :class:`CommandError`."""
    kind = text.decode("utf-8", "surrogateescape")
    if kind.lower() not in CLIENT_TYPES:
        raise CommandError(f"ERR Unknown client type '{kind}'")
    return "replica" if kind.lower() == "slave" else kind.lower()


def _flags(session: Session) -> str:
    flags = ""
    for letter, state in (
        ("S", session.replica is not None and session.replica.following),
        ("O", session.monitor),
        ("P", session.subscribed),
        ("x", session.queue is not None or session.executing is not None),
        ("b", session.blocked is not None),
        ("t", session.tracking is not None),
        ("R", session.tracking is not None and session.tracking.broken),
        ("B", session.tracking is not None and session.tracking.bcast),
        ("d", session.dirty_cas),
        ("c", session.closing),
        ("U", session.conn is not None and not isinstance(session.conn.remote_addr, tuple)),
        ("e", session.no_evict),
        ("T", session.no_touch),
    ):
        flags += letter if state else ""
    return flags or "N"


SESSION = 3000
"""Bytes of a client that holds nothing."""

WATCHED, SUBSCRIBED = 500, 400
"""Bytes of a watched key, and of a subscription or a prefix of tracking."""


def memory_of(session: Session) -> int:
    """Bytes that a client takes, with its input, queued commands and output, and what it watches and listens to."""
    output = session.conn.pending if session.conn is not None else 0
    queue = session.queue or session.executing or ()
    queued = sum(len(word) for each in queue for word in each) if queue else 0
    listening = len(session.channels) + len(session.patterns) + len(session.shard_channels)
    if session.tracking is not None:
        listening += len(session.tracking.prefixes)
    others = WATCHED * len(session.watching) + SUBSCRIBED * listening
    return SESSION + output + session.parser.buffered + session.backlog_bytes + queued + others


def describe(session: Session, args: Sequence[bytes] = ()) -> str:
    """A line of CLIENT LIST (https://redis.io/docs/latest/commands/client-list/); ``args`` is the command that the
    client is running."""
    conn = session.conn
    last = session.last_command
    now = time.time()
    output = conn.pending if conn is not None else 0
    queue = session.queue or session.executing or ()
    multi = -1 if session.queue is None and session.executing is None else len(queue)
    running = len(bulks(args)) if args else 0
    arguments = sum(map(len, args))
    queued = sum(len(word) for each in queue for word in each)
    fields = {
        "id": session.id,
        "addr": peer(conn) if conn is not None else "",
        "laddr": show_address(conn.local_addr) if conn is not None else "",
        "fd": session.id,
        "name": session.name.decode(),
        "age": int(now - session.created),
        "idle": int(max(0.0, now - session.seen)),
        "flags": _flags(session),
        "db": session.db.index,
        "sub": len(session.channels),
        "psub": len(session.patterns),
        "ssub": len(session.shard_channels),
        "multi": multi,
        "qbuf": session.parser.buffered + session.backlog_bytes + running,
        "qbuf-free": 0,
        "argv-mem": arguments,
        "multi-mem": queued,
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": 0,
        "omem": output,
        "tot-mem": memory_of(session) + running + arguments,
        "events": "r",
        "cmd": (last.decode("latin-1").lower() if isinstance(last, bytes) else last) or "NULL",
        "user": session.user.name,
        "redir": session.tracking.redirect if session.tracking is not None else -1,
        "resp": session.resp.version,
        "lib-name": session.lib_name.decode(),
        "lib-ver": session.lib_ver.decode(),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())
