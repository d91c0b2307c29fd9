"""FAILOVER: a master hands over to one of its replicas, without losing a write.

Writes wait (as with CLIENT PAUSE WRITE) until a replica has everything; then this server follows it, and asks it by
``PSYNC ... FAILOVER`` to lead. Writes that have waited are refused then, as by any replica.

https://redis.io/docs/latest/commands/failover/
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum

from ..clients.pause import Pause
from ..clients.replica import Replica
from ..errors import CommandError
from ..model.services import Services
from .replicas import Replicas

__all__ = ["Failover", "FailoverState"]

log: logging.Logger = logging.getLogger("evio_redis")

REASON = "failover"


class FailoverState(Enum):
    """The progress of a failover; the values are those of ``INFO replication``."""

    NONE = "no-failover"
    WAITING = "waiting-for-sync"
    IN_PROGRESS = "failover-in-progress"


class Failover:
    """The failover of one server that is under way, if any."""

    def __init__(self, services: Services) -> None:
        self._replicas = services[Replicas]
        self._pause = services[Pause]
        self.follow: Callable[[str, int], None]  # become a replica; set by the role
        self.lead: Callable[[], None]  # become a master again; likewise
        self.state: FailoverState = FailoverState.NONE
        self._target: tuple[str, int] | None = None
        self._until = 0.0  # as of time.monotonic; 0: for ever
        self._forced = False

    def begin(self, target: tuple[str, int] | None, timeout: float, force: bool) -> None:
        """Begin to hand over to ``target``, or to the first replica that has everything. After ``timeout`` seconds (0:
        for ever), it is given up or, with ``force``, done though something may be missing. Raises
        :class:`CommandError`."""
        if self.state is not FailoverState.NONE:
            raise CommandError("ERR FAILOVER already in progress.")
        if self._replicas.follows:
            raise CommandError("ERR FAILOVER is not valid when server is a replica.")
        if not len(self._replicas):
            raise CommandError("ERR FAILOVER requires connected replicas.")
        if force and (not timeout or target is None):
            raise CommandError("ERR FAILOVER with force option requires both a timeout and target HOST and IP.")
        if target is not None:
            found = self._find(target)
            if found is None:
                raise CommandError("ERR FAILOVER target HOST and PORT is not a replica.")
            if not found.online:
                raise CommandError("ERR FAILOVER target replica is not online.")
        log.info("FAILOVER requested to %s.", _shown(target) or "any replica")
        self._target, self._forced = target, force
        self._until = time.monotonic() + timeout if timeout else 0.0
        self._set(FailoverState.WAITING)
        self._pause.begin_for(REASON)

    def abort(self) -> None:
        """Go on as the master (FAILOVER ABORT). Raises :class:`CommandError` if no failover is under way."""
        if self.state is FailoverState.NONE:
            raise CommandError("ERR No failover in progress.")
        self._give_up("Failover manually aborted")

    def tick(self) -> None:
        """Hand over if a replica has everything, or the time is over."""
        if self.state is not FailoverState.WAITING:
            return
        if self._until and time.monotonic() >= self._until:
            if self._forced and self._target is not None:
                log.info("Failover to %s:%d time out exceeded, failing over.", *self._target)
                self._hand_over(self._target)
            else:
                self._give_up("Replica never caught up before timeout")
            return
        offset = self._replicas.reached()
        for each in self._replicas:
            if each.online and each.acknowledged == offset and self._target in (None, each.address):
                log.info("Failover target: %s:%d is synced, failing over.", *each.address)
                self._hand_over(each.address)
                return

    def answered(self, accepted: bool) -> None:
        """Take note of the new master's answer to ``PSYNC ... FAILOVER``."""
        if self.state is not FailoverState.IN_PROGRESS:
            return
        if accepted:
            self._end()
        else:
            self._give_up("Failover target rejected psync request")

    def _find(self, address: tuple[str, int]) -> Replica | None:
        return next((each for each in self._replicas if each.address == address), None)

    def _hand_over(self, target: tuple[str, int]) -> None:
        self._target = target
        self._set(FailoverState.IN_PROGRESS)
        self.follow(*target)

    def _give_up(self, why: str) -> None:
        log.info("Aborting failover%s. %s", f" to {_shown(self._target)}" if self._target else "", why)
        if self.state is FailoverState.IN_PROGRESS:
            self.lead()
        self._end()

    def _end(self) -> None:
        self._target, self._until, self._forced = None, 0.0, False
        self._set(FailoverState.NONE)
        self._pause.end_for(REASON)

    def _set(self, state: FailoverState) -> None:
        self.state = state
        self._replicas.handing_over = state is not FailoverState.NONE


def _shown(target: tuple[str, int] | None) -> str:
    return f"{target[0]}:{target[1]}" if target else ""
