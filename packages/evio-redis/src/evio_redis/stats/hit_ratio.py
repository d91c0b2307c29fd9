"""Keys that reading commands found and did not find: ``keyspace_hits`` and ``keyspace_misses`` of INFO, and the events
``keymiss``.

Calls that take the short way are not looked at: they found as large a share of their keys as the latest calls of the
same command that took the long way, of which there are some at each tick.

https://redis.io/docs/latest/commands/info/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..keyspace.database import Database
    from ..model.command import Args, Command

__all__ = ["Lookups", "counted"]

READ_THEIR_FIRST = frozenset({"copy", "georadius", "georadiusbymember", "getdel", "getex", "getset", "sort"})
"""Commands that change keys and count the first one as read."""

READ_ALL_BUT_THEIR_FIRST = frozenset(
    (
        *("bitop", "geosearchstore", "sdiffstore", "sinterstore", "sunionstore"),
        *("zdiffstore", "zinterstore", "zrangestore", "zunionstore"),
    )
)
"""Commands that keep in the first key what they read from the others."""


@dataclass(slots=True)
class _Seen:
    """What was seen of one command since its short calls were settled."""

    calls: int = 0
    hits: int = 0
    misses: int = 0
    fresh: bool = False


def counted(command: Command, args: Args) -> list[bytes]:
    """The keys that a call reads, as the statistics have it."""
    name = command.name
    if ("readonly" in command.flags and name != "memory|usage") or name == "pfmerge":
        keys = command.key_positions(args)
    elif name in READ_THEIR_FIRST or (name in ("set", "bitfield") and _only_gets(name, args)):
        keys = command.key_positions(args)[:1]
    elif name in READ_ALL_BUT_THEIR_FIRST:
        keys = command.key_positions(args)[1:]
    else:
        return []
    return [args[at] for at in keys if at < len(args)]


def _only_gets(name: str, args: Args) -> bool:
    if name == "set":
        return any(word.upper() == b"GET" for word in args[3:])  # not the value, which may be large
    return not {word.upper() for word in args[2:]} & {b"SET", b"INCRBY"}


class Lookups:
    """The counters of one server."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.hits = 0.0
        self.misses = 0.0
        self._seen: dict[Command, _Seen] = {}

    def look(self, command: Command, database: Database, args: Args) -> list[bytes]:
        """A call is about to be made; returns those of its keys that do not exist."""
        keys = counted(command, args)
        if not keys:
            return keys
        missing = [key for key in keys if not database.has(key)]
        seen = self._seen.setdefault(command, _Seen())
        if not seen.fresh:
            seen.calls = seen.hits = seen.misses = 0
            seen.fresh = True
        seen.calls += 1
        seen.hits += len(keys) - len(missing)
        seen.misses += len(missing)
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        return missing

    def settle(self, command: Command, calls: int) -> None:
        """So many calls were made the short way."""
        seen = self._seen.get(command)
        if seen is not None:
            self.hits += calls * seen.hits / seen.calls
            self.misses += calls * seen.misses / seen.calls
            seen.fresh = False
