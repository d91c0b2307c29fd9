"""The clients that are connected, and what becomes of what they held when they go.

https://redis.io/docs/latest/commands/client-list/
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from operator import itemgetter

from .blocking import Blocking
from .describe import client_type, describe, memory_of
from .limits import OutputGuard
from .monitor import Monitors
from .pause import Pause
from .pubsub import PubSub
from .session import Session
from .tracking import Tracking

__all__ = ["Clients"]

log: logging.Logger = logging.getLogger("evio_redis")


class Clients:
    """The sessions of one server, by their id."""

    def __init__(
        self,
        pubsub: PubSub,
        pause: Pause,
        blocking: Blocking,
        monitors: Monitors,
        outputs: OutputGuard,
        tracking: Tracking,
    ) -> None:
        self._pubsub = pubsub
        self._pause = pause
        self._blocking = blocking
        self._monitors = monitors
        self._outputs = outputs
        self._tracking = tracking
        self.sessions: dict[int, Session] = {}
        tracking.sessions = self.sessions
        self.now: float = time.time()  # Unix time of the latest tick
        self.evicted: int = 0
        self.memory_limit: int = 0  # bytes of all together (``maxmemory-clients``); 0 is no limit
        self.on_remove: Callable[[Session], None] = lambda session: None  # set by the limit of all memory

    def add(self, session: Session) -> None:
        """Add a client that has connected."""
        self.sessions[session.id] = session
        self._outputs.limit(session)

    def remove(self, session: Session) -> None:
        """Remove a client that is gone, and everything that it holds."""
        self.sessions.pop(session.id, None)
        self.on_remove(session)
        self.forget(session)

    def forget(self, session: Session) -> None:
        """Undo everything that a session holds: transaction, subscriptions, waiting, monitoring, tracking."""
        session.leave_multi()
        self._pubsub.forget(session)
        self._pause.forget(session)
        self._blocking.forget(session)
        self._monitors.remove(session)
        self._tracking.disable(session)
        session.closing = True
        session.update_plain()

    def kill(self, session: Session, by: Session) -> None:
        """Close a client's connection; one that kills itself gets its replies first."""
        session.closing = True
        session.update_plain()
        if session is not by and session.conn is not None:
            self.remove(session)
            session.conn.close()

    def evict(self) -> None:
        """Drop the largest clients until all together keep the limit, but for replicas and those with CLIENT
        NO-EVICT."""
        limit = self.memory_limit
        if not limit:
            return
        sizes = [(memory_of(session), session) for session in self._evictable()]
        total = sum(size for size, _ in sizes)
        if total <= limit:
            return
        for size, session in sorted(sizes, key=itemgetter(0), reverse=True):
            if total <= limit:
                break
            total -= size
            self.drop(session)

    def _evictable(self) -> list[Session]:
        return [each for each in self.sessions.values() if not each.no_evict and client_type(each) != "replica"]

    def memory(self, of_replicas: bool) -> int:
        """Return the bytes that replicas take, or all other clients."""
        return sum(
            memory_of(each) for each in self.sessions.values() if (client_type(each) == "replica") == of_replicas
        )

    def drop(self, session: Session) -> None:
        """Evict a client."""
        log.warning("Evicting client: %s", describe(session))
        self.evicted += 1
        conn = session.conn
        self.remove(session)
        if conn is not None:
            conn.abort()

    def reset(self, session: Session) -> None:
        """Have a client be as it connected (RESET), but for what that leaves alone: its name is gone, its id stays."""
        self._pubsub.forget(session)
        self._monitors.remove(session)
        self._tracking.disable(session)
        session.reset()
        self._outputs.limit(session)
