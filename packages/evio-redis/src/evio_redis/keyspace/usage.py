"""About how many bytes the keys take, kept up to date with every command while there is a limit (``maxmemory``).

A string counts as what it takes. A collection counts as its members times what one takes on average. That is looked at
again when it has grown to twice its length or shrunk to a quarter: a command costs the same however large it is.
What is counted for a collection is written down (``Database.counted``), that of a string follows from the string.
Whoever changes a key has the change settled; removing it counts as what it took, so that nothing adds up to an error.
"""

from __future__ import annotations

from collections.abc import Sized
from sys import getsizeof
from typing import TYPE_CHECKING, Any

from .sizes import SLOT, value_size
from .types.zsets import SortedSet

if TYPE_CHECKING:
    from .database import Database
    from .keyspace import Keyspace

__all__ = ["STRING", "Counted", "Usage"]

STRING = SLOT + 2 * getsizeof(b"")
"""Bytes that a key and a string as its value take besides what is in them."""

LARGE, TIMES = 256, 4
"""A collection is looked at again if it has got a member unlike the others perhaps: by an argument of more bytes than
this, and than so many times what a member takes on average."""

FEW = 64
"""Members up to which all are looked at."""


class Counted:
    """A collection as it was counted: its bytes, and its length; ``each`` are the bytes of a member on average, and
    from ``least`` to ``most`` members that is not looked at again. From ``low`` to ``high`` members, an eighth of them
    more or less, it is not even counted again. A member of more than ``unlike`` bytes is unlike the others."""

    __slots__ = ("bytes", "each", "high", "least", "length", "low", "members", "most", "unlike")

    def __init__(self) -> None:
        self.bytes: int = 0
        self.length: int = 0
        self.each: int = 0
        self.least: int = 0
        self.most: int = 0
        self.low: int = 0
        self.high: int = 0
        self.unlike: int = LARGE
        self.members: Sized = ()  # the collection, or a part of it that is as long

    def measure(self, value: Any) -> None:
        """Look at the members."""
        self.members = value.scores if type(value) is SortedSet else value  # whose length is known without a call
        length = len(value)
        self.bytes = value_size(value, 0 if length <= FEW else 16)
        self.each = self.bytes // max(1, length)
        self.unlike = max(LARGE, TIMES * self.each)
        self.least, self.most = length // 4, 2 * length
        self.note(length)

    def note(self, length: int) -> None:
        """Take note of the length."""
        self.length = length
        self.low, self.high = length - length // 8, length + length // 8


class Usage:
    """The bytes of all databases (``bytes``) and how many there may be (``limit``); of each database in
    ``Database.bytes``. Nothing is counted while ``counting`` is false."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self.counting: bool = False
        self.bytes: int = 0
        self.limit: float = float("inf")

    # -- all keys

    def begin(self) -> None:
        """Count all keys, and go on doing so."""
        self.counting = True
        self._keyspace.usage = self
        self.bytes = 0
        for database in self._keyspace.databases:
            database.bytes = 0
            database.counted.clear()
            database.candidates = list(database.data)
            for key, value in database.data.items():
                self.add(database, key, value)

    def end(self) -> None:
        """Count no more."""
        self.counting = False
        self._keyspace.usage = None
        self.bytes = 0
        for database in self._keyspace.databases:
            database.counted.clear()
            database.candidates = []

    def flushed(self, database: Database) -> None:
        """A database is empty now."""
        self.bytes -= database.bytes
        database.bytes = 0
        database.counted.clear()
        database.candidates = []

    # -- one key

    def add(self, database: Database, key: bytes, value: Any) -> None:
        """Count a key that is new."""
        if isinstance(value, bytes):
            self._change(database, STRING + len(key) + len(value))
            return
        counted = database.counted[key] = Counted()
        counted.measure(value)
        self._change(database, SLOT + getsizeof(key) + counted.bytes)

    def remove(self, database: Database, key: bytes, value: Any) -> None:
        """Count no more a key, which was there."""
        if isinstance(value, bytes):
            self._change(database, -STRING - len(key) - len(value))
            return
        counted = database.counted.pop(key, None)
        if counted is not None:
            self._change(database, -SLOT - getsizeof(key) - counted.bytes)

    def settle(self, database: Database, key: bytes, before: Any, after: Any) -> None:
        """Count a key that had a value, None for none, and now has another one, None for none."""
        if before is not None:
            self.remove(database, key, before)
        if after is not None:
            self.add(database, key, after)
            if before is None:
                database.candidates.append(key)

    def resize(self, database: Database, counted: Counted, value: Any, anew: bool = False) -> None:
        """Count a collection that was changed in place; ``anew``: look at its members."""
        before, length = counted.bytes, len(value)
        if anew or not counted.least <= length <= counted.most:
            counted.measure(value)
        else:
            counted.bytes += (length - counted.length) * counted.each
            counted.note(length)
        self._change(database, counted.bytes - before)

    def _change(self, database: Database, change: int) -> None:
        database.bytes += change
        self.bytes += change
