"""Sorted sets.

Operations: set a member's score, remove, look a score up, the rank of a member, members by rank, score or name.
Goals: adding to a set that is never read in order costs a dictionary access; ordered reading is fast at a million
members; little memory for small sets.
Complexity: scores O(1). The order is a list of sorted blocks, made when it is first wanted (O(n log n)); from then on
changes cost O(log n) comparisons and a shift within a block, and ranks a walk over the blocks, n / 1000 of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

__all__ = ["SortedSet"]

BLOCK = 1000
"""Members of a block; it is split at twice as many."""

FEW = 8
"""Members up to which it is faster to remove them one by one than to look at all blocks."""

Pair = tuple[float, bytes]


class SortedSet:
    """The scores by member; ``blocks``, their order, once it was wanted. ``large`` says for good that it has been no
    listpack."""

    __slots__ = ("blocks", "large", "scores")

    def __init__(self, pairs: Iterable[tuple[bytes, float]] = ()) -> None:
        self.scores: dict[bytes, float] = dict(pairs)
        self.large: bool = False
        self.blocks: list[list[Pair]] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __contains__(self, member: object) -> bool:
        return member in self.scores

    def __iter__(self) -> Iterator[bytes]:
        """The members in order."""
        return (member for block in self._order() for _, member in block)

    def items(self) -> Iterator[Pair]:
        """Scores and members in order."""
        return (pair for block in self._order() for pair in block)

    def encoding(self) -> str:
        """As Redis names it."""
        return "skiplist" if self.large else "listpack"

    def grow(self, member: bytes, most: int, longest: int) -> None:
        """Note that a member is about to be added, for ``encoding``."""
        if not self.large and (len(self.scores) >= most or len(member) > longest):
            self.large = True

    def settle(self, longest: int, most_members: int, most_bytes: int) -> None:
        """Decide what a new set is, whose longest member has ``longest`` bytes: a listpack, which keeps -0 as the
        integer 0, has so many members of so many bytes at most."""
        self.large = len(self.scores) > most_members or longest > most_bytes
        if not self.large:
            self.scores = {member: score + 0.0 for member, score in self.scores.items()}

    def copy(self) -> SortedSet:
        """Another sorted set of the same members."""
        other = SortedSet()
        other.scores = self.scores.copy()
        other.large = self.large
        return other

    # -- changing

    def set(self, member: bytes, score: float) -> None:
        """Add a member, or change its score."""
        if self.blocks is not None:
            before = self.scores.get(member)
            if before == score:
                return
            if before is not None:
                self._take_out(before, member)
            self._put_in(score, member)
        self.scores[member] = score

    def discard(self, member: bytes) -> bool:
        """Remove a member, whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        if self.blocks is not None:
            self._take_out(score, member)
        return True

    def remove_ranks(self, start: int, stop: int) -> list[Pair]:
        """Remove and return those of rank ``start`` to ``stop``, exclusive, in order."""
        found = self.between(start, stop)
        if not found:
            return found
        blocks = self.blocks or self._order()
        if stop <= len(blocks[0]) and (stop - start < len(blocks[0]) or len(blocks) == 1):
            for _, member in found:
                del self.scores[member]
            del blocks[0][start:stop]
            return found
        if len(found) <= FEW:
            for score, member in found:
                del self.scores[member]
                self._take_out(score, member)
            return found
        for _, member in found:
            del self.scores[member]
        kept = []
        for block in self._order():
            size = len(block)
            if start < size and stop > 0:
                del block[max(start, 0) : stop]
            start -= size
            stop -= size
            if block:
                kept.append(block)
        self.blocks = kept or [[]]
        return found

    # -- reading in order

    def position(self, pair: Pair) -> int:
        """Return the number of members before ``(score, member)``, which need not be there."""
        blocks = self.blocks or self._order()
        if len(blocks) == 1:
            return bisect_left(blocks[0], pair)
        at = self._block_of(blocks, pair)
        return sum(map(len, blocks[:at])) + bisect_left(blocks[at], pair)

    def between(self, start: int, stop: int) -> list[Pair]:
        """Those of rank ``start`` to ``stop``, exclusive; ``start`` is not negative."""
        if stop <= start:
            return []
        blocks = self.blocks or self._order()
        if stop <= len(blocks[0]) or len(blocks) == 1:
            return blocks[0][start:stop]
        found: list[Pair] = []
        for block in blocks:
            size = len(block)
            if start < size:
                found += block[max(start, 0) : stop]
            start -= size
            stop -= size
            if stop <= 0:
                break
        return found

    def scored(self, ranges: Iterable[tuple[float, float]]) -> list[Pair]:
        """Those of one range of scores after the other; the second score of each is exclusive."""
        blocks, found = self.blocks or self._order(), []
        if len(blocks) > 1:
            for low, high in ranges:
                found += self.between(self.position((low, b"")), self.position((high, b"")))
            return found
        (block,) = blocks
        for low, high in ranges:
            start = bisect_left(block, (low, b""))
            found += block[start : bisect_left(block, (high, b""), start)]
        return found

    # -- the order

    def _order(self) -> list[list[Pair]]:
        if self.blocks is None:
            pairs = sorted(zip(self.scores.values(), self.scores, strict=True))
            self.blocks = [pairs[at : at + BLOCK] for at in range(0, len(pairs), BLOCK)] or [[]]
        return self.blocks

    @staticmethod
    def _block_of(blocks: list[list[Pair]], pair: Pair) -> int:
        """The index of the block that the pair is in, or belongs in."""
        low, high = 0, len(blocks) - 1
        while low < high:
            middle = (low + high) // 2
            if blocks[middle][-1] < pair:
                low = middle + 1
            else:
                high = middle
        return low

    def _put_in(self, score: float, member: bytes) -> None:
        blocks = self._order()
        pair = score, member
        at = self._block_of(blocks, pair)
        insort(blocks[at], pair)
        if len(blocks[at]) > 2 * BLOCK:
            blocks[at : at + 1] = [blocks[at][:BLOCK], blocks[at][BLOCK:]]

    def _take_out(self, score: float, member: bytes) -> None:
        blocks = self._order()
        pair = score, member
        at = self._block_of(blocks, pair)
        block = blocks[at]
        del block[bisect_left(block, pair)]
        if not block and len(blocks) > 1:
            del blocks[at]
