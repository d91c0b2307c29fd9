"""The slow log: commands that took long.

https://redis.io/docs/latest/commands/slowlog/
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..clients.describe import peer
from ..config.config import Config
from ..model.command import Args

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["Entry", "SlowLog"]

MOST_ARGUMENTS, LONGEST_ARGUMENT = 32, 128
"""Arguments of a command, and bytes of each, that are kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A slow command: when it began (Unix seconds), how long it took (microseconds), what and whose it was."""

    id: int
    when: int
    taken: int
    args: list[bytes]
    address: bytes
    name: bytes


class SlowLog:
    """The latest slow commands, the newest first."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._next = 0
        self.entries: deque[Entry] = deque()

    @property
    def threshold(self) -> int:
        """The microseconds from which a command is slow; negative for none."""
        return self._config.slowlog_log_slower_than

    def add(self, session: Session, args: Args, nanoseconds: int) -> None:
        """Log a command if it took long enough."""
        if not 0 <= self.threshold * 1000 <= nanoseconds:
            return
        address = peer(session.conn).encode("utf-8", "surrogateescape") if session.conn is not None else b""
        entry = Entry(self._next, int(time.time()), nanoseconds // 1000, _shortened(args), address, session.name)
        self._next += 1
        self.entries.appendleft(entry)
        while len(self.entries) > self._config.slowlog_max_len:
            self.entries.pop()


def _shortened(args: Args) -> list[bytes]:
    kept = args if len(args) <= MOST_ARGUMENTS else args[: MOST_ARGUMENTS - 1]
    short = [_shortened_one(arg) for arg in kept]
    if len(kept) < len(args):
        short.append(b"... (%d more arguments)" % (len(args) - len(kept)))
    return short


def _shortened_one(arg: bytes) -> bytes:
    more = len(arg) - LONGEST_ARGUMENT
    return arg if more <= 0 else b"%b... (%d more bytes)" % (arg[:LONGEST_ARGUMENT], more)
