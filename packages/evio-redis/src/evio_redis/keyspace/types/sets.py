"""Sets.

Operations: add, remove, test, iterate, pick at random.
Goals: all of them O(1), random picks evenly distributed.
A ``set`` has no index to pick from, so a list of the members is made when a member is first wanted at random, and kept
up to date as far as that is cheap: new members are appended, removed ones are left in it and skipped. When they are too
many, it is made anew.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from ...protocol.numbers import to_int

__all__ = ["Set"]


class Set(set[bytes]):
    """The members. ``plain`` says for good that it has been too large, or has had other members than integers.
    ``order`` is the list of them to pick from, if there is one."""

    __slots__ = ("order", "plain")

    def __init__(self, members: Iterable[bytes] = (), limit: int = 512) -> None:
        super().__init__()
        self.plain: bool = False
        self.order: list[bytes] | None = None
        for member in members:
            self.insert(member, limit)

    def insert(self, member: bytes, limit: int) -> bool:
        """Add a member, whether it is new; an intset has at most ``limit`` integers."""
        if member in self:
            return False
        self.add(member)
        if not self.plain and (len(self) > limit or to_int(member) is None):
            self.plain = True
        if self.order is not None:
            self.order.append(member)
        return True

    def encoding(self) -> str:
        """As Redis names it."""
        return "hashtable" if self.plain else "intset"

    def listed(self) -> list[bytes]:
        """The members, in the order in which Redis would show an intset."""
        return list(self) if self.plain else sorted(self, key=int)

    def copy(self) -> Set:
        """Another set of the same members."""
        other = Set()
        other.update(self)
        other.plain = self.plain
        return other

    def pick(self) -> bytes:
        """A random member."""
        while True:
            order = self._members()
            member = order[random.randrange(len(order))]
            if member in self:
                return member

    def pop_random(self) -> bytes:
        """Remove and return a random member."""
        while True:
            order = self._members()
            at = random.randrange(len(order))
            member = order[at]
            order[at] = order[-1]
            order.pop()
            if member in self:
                self.discard(member)
                return member

    def sample(self, count: int) -> list[bytes]:
        """``count`` different members at random, or all if there are fewer."""
        if count >= len(self):
            return self.listed()
        return random.sample(self._members(exact=True), count)

    def _members(self, exact: bool = False) -> list[bytes]:
        order = self.order
        if order is None or len(order) > 2 * len(self) + 16 or (exact and len(order) != len(self)):
            order = self.order = list(self)
        return order
