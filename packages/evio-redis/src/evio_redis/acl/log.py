"""The denials of one server, the latest first (ACL LOG).

https://redis.io/docs/latest/commands/acl-log/
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import islice

from ..config.config import Config

__all__ = ["AclLog", "Denied"]

GROUPED_FOR = 60.0
"""Seconds for which equal entries are counted as one."""

LOOKED_AT = 10
"""Entries among which an equal one is looked for."""


@dataclass(slots=True)
class Denied:
    """One entry, or several equal ones."""

    reason: str
    """``command``, ``key``, ``channel`` or ``auth``."""

    context: str
    """``toplevel``, ``multi`` or ``lua``."""

    object: bytes
    username: bytes
    client: str
    """A line of CLIENT LIST."""

    when: float = 0.0
    """The Unix time of the latest one, in seconds."""

    count: int = 1


class AclLog:
    """The entries of one server."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.entries: deque[Denied] = deque()

    def add(self, new: Denied) -> None:
        """Add an entry, or count it with an equal one."""
        new.when = time.time()
        for each in islice(self.entries, LOOKED_AT):
            same = (each.reason, each.context, each.object, each.username)
            if same == (new.reason, new.context, new.object, new.username) and new.when - each.when <= GROUPED_FOR:
                new.count = each.count + 1
                self.entries.remove(each)
                break
        self.entries.appendleft(new)
        while len(self.entries) > self._config.acllog_max_len:
            self.entries.pop()
