"""A client that is a replica, or is about to become one."""

from __future__ import annotations

from enum import Enum, auto

from evio_core import Conn

__all__ = ["Replica", "State"]


class State(Enum):
    """The progress of a replica's synchronization."""

    NEW = auto()
    """It has said something about itself (REPLCONF), no more."""
    WAITING = auto()
    """It is to get a snapshot, which is not begun."""
    SNAPSHOT = auto()
    """The snapshot is being written."""
    STREAMING = auto()
    """The snapshot is on its way while it is being written."""
    LOADING = auto()
    """The snapshot is on its way, and the stream behind it."""
    ONLINE = auto()


SHOWN = {State.LOADING: "send_bulk", State.ONLINE: "online"}
"""As ``INFO replication`` has the states; before them, it is ``wait_bgsave``."""


class Replica:
    """A replica as its master knows it."""

    __slots__ = (
        "acknowledged",
        "acknowledged_at",
        "allowance",
        "asked_at",
        "conn",
        "eof",
        "functions_only",
        "held",
        "held_size",
        "host",
        "newline_at",
        "old",
        "port",
        "psync2",
        "rdb_only",
        "state",
    )

    def __init__(self, conn: Conn | None) -> None:
        self.conn: Conn | None = conn
        self.state: State = State.NEW
        self.host: str = ""  # that it wants to be known by; empty for the one it connects from
        self.port: int = 0  # that it listens on
        self.psync2: bool = False  # it understands that a stream's id may change
        self.old: bool = False  # it has asked with SYNC: nothing is said before the snapshot, nor acknowledged
        self.eof: bool = False  # it understands a snapshot whose length is not known beforehand
        self.asked_at: float = 0.0  # as of time.monotonic
        self.held: list[bytes] | None = None  # of the stream, until it has loaded such a snapshot
        self.held_size: int = 0  # bytes
        self.rdb_only: bool = False
        self.functions_only: bool = False  # it wants a snapshot and no stream (redis-cli --rdb)
        self.acknowledged: int = 0  # bytes of the stream
        self.acknowledged_at: float = 0.0
        self.newline_at: float = 0.0  # both as of time.monotonic
        self.allowance: int = 0  # bytes of output beyond its class's limit: the snapshot

    @property
    def following(self) -> bool:
        """True once it has asked for the stream."""
        return self.state is not State.NEW

    @property
    def online(self) -> bool:
        """True once it has loaded the snapshot and follows the stream."""
        return self.state is State.ONLINE

    @property
    def address(self) -> tuple[str, int]:
        """Host and port at which others reach it, as far as it has said so."""
        remote = self.conn.remote_addr if self.conn is not None else None
        return self.host or (remote[0] if isinstance(remote, tuple) else ""), self.port

    @property
    def shown_state(self) -> str:
        """Its state, as ``INFO replication`` has it."""
        return SHOWN.get(self.state, "wait_bgsave")

    def __str__(self) -> str:
        host, port = self.address
        return f"{host}:{port or '<unknown-replica-port>'}"
