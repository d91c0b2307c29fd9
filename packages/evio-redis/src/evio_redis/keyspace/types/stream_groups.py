"""Consumer groups: how far each has read, and which entries its consumers have been given but have not acknowledged.

Operations: give an entry to a consumer, acknowledge it, give it to another one, list pending entries from an ID on.
Goals: giving and acknowledging cost a few dictionary accesses, however many entries are pending.
Complexity: O(1). The order of pending IDs is a list of sorted blocks, made when it is first wanted (O(n log n)); from
then on changes cost O(log n) comparisons and a shift within a block.

https://redis.io/docs/latest/develop/data-types/streams/#consumer-groups
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from operator import itemgetter

from ...protocol.numbers import LLONG_MAX

__all__ = ["UNKNOWN", "Consumer", "Delivery", "Group", "Pending"]

UNKNOWN = -1
"""Entries that a group has read, if that cannot be told any more."""

BLOCK = 1000
"""IDs of a block; it is split at twice as many."""

_last = itemgetter(-1)


class Delivery:
    """An entry that was given to a consumer: when (Unix milliseconds), and how often."""

    __slots__ = ("consumer", "count", "time")

    def __init__(self, consumer: Consumer, time: int, count: int) -> None:
        self.consumer: Consumer = consumer
        self.time: int = time
        self.count: int = count


class Pending:
    """Deliveries by ID; ``blocks`` is the order of the IDs, once it was wanted."""

    __slots__ = ("blocks", "deliveries")

    def __init__(self) -> None:
        self.deliveries: dict[int, Delivery] = {}
        self.blocks: list[list[int]] | None = None

    def __len__(self) -> int:
        return len(self.deliveries)

    def get(self, entry_id: int) -> Delivery | None:
        """The delivery of an entry."""
        return self.deliveries.get(entry_id)

    def add(self, entry_id: int, delivery: Delivery) -> None:
        """Note the delivery of an entry that is not pending here."""
        self.deliveries[entry_id] = delivery
        if self.blocks is None:
            return
        blocks = self.blocks
        if not blocks:
            blocks.append([entry_id])
        elif entry_id > blocks[-1][-1]:
            blocks[-1].append(entry_id)
            if len(blocks[-1]) >= 2 * BLOCK:
                blocks[-1:] = [blocks[-1][:BLOCK], blocks[-1][BLOCK:]]
        else:
            at = bisect_left(blocks, entry_id, key=_last)
            insort(blocks[at], entry_id)
            if len(blocks[at]) >= 2 * BLOCK:
                blocks[at : at + 1] = [blocks[at][:BLOCK], blocks[at][BLOCK:]]

    def remove(self, entry_id: int) -> Delivery | None:
        """Forget an entry; returns what is known of it."""
        delivery = self.deliveries.pop(entry_id, None)
        if delivery is not None and self.blocks is not None:
            at = bisect_left(self.blocks, entry_id, key=_last)
            block = self.blocks[at]
            del block[bisect_left(block, entry_id)]
            if not block:
                del self.blocks[at]
        return delivery

    def ids(self, start: int = 0) -> Iterator[int]:
        """The IDs from ``start`` on, in order. Nothing may be added or removed meanwhile."""
        blocks = self._order()
        at = bisect_left(blocks, start, key=_last)
        if at < len(blocks):
            yield from blocks[at][bisect_left(blocks[at], start) :]
            for block in blocks[at + 1 :]:
                yield from block

    def first(self, start: int = 0) -> int | None:
        """The lowest ID from ``start`` on."""
        return next(self.ids(start), None)

    def last(self) -> int:
        """The highest ID; there has to be one."""
        return self._order()[-1][-1]

    def _order(self) -> list[list[int]]:
        if self.blocks is None:
            ids = sorted(self.deliveries)
            self.blocks = [ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK)]
        return self.blocks


class Consumer:
    """One consumer of a group, when it was last seen (Unix milliseconds), and what is pending for it."""

    __slots__ = ("name", "pending", "seen")

    def __init__(self, name: bytes, seen: int) -> None:
        self.name: bytes = name
        self.seen: int = seen
        self.pending: Pending = Pending()


class Group:
    """A group. ``last_id`` is the last one that it was given, ``read`` the number of entries up to that one, or
    ``UNKNOWN``."""

    __slots__ = ("consumers", "last_id", "pending", "read")

    def __init__(self, last_id: int, read: int) -> None:
        self.last_id: int = last_id
        self.read: int = read
        self.pending: Pending = Pending()
        self.consumers: dict[bytes, Consumer] = {}

    def give(self, entry_id: int, consumer: Consumer, time: int, count: int) -> None:
        """Have an entry be pending for a consumer, whoever it was pending for before."""
        count = min(count, LLONG_MAX)  # it can be set to that
        delivery = self.pending.get(entry_id)
        if delivery is None:
            delivery = Delivery(consumer, time, count)
            self.pending.add(entry_id, delivery)
            consumer.pending.add(entry_id, delivery)
            return
        delivery.time, delivery.count = time, count
        if delivery.consumer is not consumer:
            delivery.consumer.pending.remove(entry_id)
            delivery.consumer = consumer
            consumer.pending.add(entry_id, delivery)

    def acknowledge(self, entry_id: int) -> bool:
        """Have an entry not be pending any more, whether it was."""
        delivery = self.pending.remove(entry_id)
        if delivery is None:
            return False
        delivery.consumer.pending.remove(entry_id)
        return True

    def remove_consumer(self, name: bytes) -> int | None:
        """Remove a consumer and forget what is pending for it; returns how much that was, None if there is none of this
        name."""
        consumer = self.consumers.pop(name, None)
        if consumer is None:
            return None
        for entry_id in consumer.pending.deliveries:
            self.pending.remove(entry_id)
        return len(consumer.pending)

    def copy(self) -> Group:
        """Another group in the same state."""
        other = Group(self.last_id, self.read)
        for name, consumer in self.consumers.items():
            other.consumers[name] = Consumer(name, consumer.seen)
        for entry_id, delivery in self.pending.deliveries.items():
            other.give(entry_id, other.consumers[delivery.consumer.name], delivery.time, delivery.count)
        return other
