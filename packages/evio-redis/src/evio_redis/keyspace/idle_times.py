"""The moments when keys were last used, for OBJECT IDLETIME.

To write down the time of every access would cost more than the access itself, so nothing is until somebody asks for the
first time; from then on what the dispatcher calls does. A key not used since then was last used, as far as is known,
when the recording began.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .database import Database

__all__ = ["NO_USE", "Accesses"]

SLACK = 1000
"""Records of keys that are gone are thrown away when there are so many more records than keys."""


NO_USE = frozenset(
    (
        *("exists", "type", "ttl", "pttl", "expiretime", "pexpiretime", "memory|usage", "restore"),
        *("object|encoding", "object|freq", "object|idletime", "object|refcount"),
    )
)
"""Commands that do not count as using their keys; RESTORE tells itself when its key was used."""


class Accesses:
    """The times of last use, by database and key."""

    def __init__(self) -> None:
        self.on_begin: Callable[[], None] = lambda: None  # set by the dispatcher
        self._begun = 0.0
        self._times: dict[Database, dict[bytes, float]] = {}

    @property
    def recording(self) -> bool:
        """True once anybody has asked."""
        return self._begun > 0

    def idle(self, database: Database, key: bytes) -> int:
        """Whole seconds since a key was last used."""
        self._begin()
        return int(monotonic() - self._times.get(database, {}).get(key, self._begun))

    def _begin(self) -> None:
        if not self._begun:
            self._begun = monotonic()
            self.on_begin()

    def set_idle(self, database: Database, key: bytes, seconds: int) -> None:
        """A key that was made now was last used so long ago."""
        self._begin()
        self._times.setdefault(database, {})[key] = monotonic() - seconds

    def record(self, database: Database, keys: list[bytes]) -> None:
        """These keys are used now."""
        times = self._times.setdefault(database, {})
        now = monotonic()
        for key in keys:
            times[key] = now
        if len(times) > 2 * len(database.data) + SLACK:
            self._times[database] = {key: when for key, when in times.items() if key in database.data}
