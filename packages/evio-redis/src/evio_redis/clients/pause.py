"""CLIENT PAUSE: commands wait until it is over.

https://redis.io/docs/latest/commands/client-pause/
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from ..keyspace.keyspace import Keyspace
from ..model.command import Args, Command, Registry
from ..model.route import Route

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Pause"]

BY_CLIENT = "client"
"""The reason of CLIENT PAUSE."""


class Pause:
    """The pauses under way, if any, and the sessions whose commands wait for its end."""

    def __init__(self, route: Route, keyspace: Keyspace, registry: Registry) -> None:
        self._route = route
        self._keyspace = keyspace
        self._registry = registry
        self.script_may_write: Callable[[str, bytes], bool] = lambda command, script: True  # set by the scripts
        self.resume: Callable[[Session], None] = lambda session: None  # set by the dispatcher
        self._pauses: dict[str, tuple[float, bool]] = {}  # by reason: until when, and whether only writes wait
        self._waiting: list[Session] = []

    @property
    def active(self) -> bool:
        """True while any pause is in force."""
        return bool(self._pauses)

    @property
    def waiting(self) -> int:
        """The number of clients that it keeps waiting."""
        return len(self._waiting)

    def begin(self, seconds: float, writes_only: bool) -> None:
        """Pause for so long; of two pauses the longer and the stricter counts."""
        until, before = self._pauses.get(BY_CLIENT, (0.0, True))
        self._begin(BY_CLIENT, max(until, monotonic() + seconds), writes_only and before)

    def begin_for(self, reason: str) -> None:
        """Pause writes until :meth:`end_for` is called for the reason, whatever clients say meanwhile."""
        self._begin(reason, math.inf, True)

    def _begin(self, reason: str, until: float, writes_only: bool) -> None:
        self._pauses[reason] = until, writes_only
        self._keyspace.paused = True
        self._route.hold("pause")

    def holds(self, session: Session, command: Command, args: Args) -> bool:
        """Tell whether this command has to wait. EXEC does if its transaction writes."""
        if session.monitor:
            return False
        if not all(writes_only for _, writes_only in self._pauses.values()):
            return True
        if command.name != "exec":
            return self._writes(command, args)
        find = self._registry.find
        return any(self._writes(queued, each) for each in session.queue or () if (queued := find(each)) is not None)

    def _writes(self, command: Command, args: Args) -> bool:
        """Tell whether a call may change something, also what others than this server see. A script may deny it."""
        if command.name in ("eval", "evalsha", "fcall"):
            return self.script_may_write(command.name, args[1])
        return not command.flags.isdisjoint(("write", "may_replicate"))

    def postpone(self, session: Session, args: Args) -> None:
        """Keep a command for the end of the pause."""
        session.blocked = self
        session.backlog.appendleft(args)
        self._waiting.append(session)
        session.update_plain()

    def forget(self, session: Session) -> None:
        """A session is gone."""
        if session.blocked is self:
            session.blocked = None
            session.backlog.clear()
            self._waiting.remove(session)

    def tick(self) -> None:
        """End pauses when their time has come."""
        now = monotonic()
        for reason in [each for each, (until, _) in self._pauses.items() if now >= until]:
            self.end_for(reason)

    def end(self) -> None:
        """End the pause that clients have asked for (CLIENT UNPAUSE)."""
        self.end_for(BY_CLIENT)

    def end_for(self, reason: str) -> None:
        """Go on now, as far as this reason goes."""
        if self._pauses.pop(reason, None) is None:
            return
        if not self._pauses:
            self._keyspace.paused = False
            self._route.release("pause")
        waiting, self._waiting = self._waiting, []
        for session in waiting:
            session.blocked = None
            self.resume(session)
