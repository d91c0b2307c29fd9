"""Streams: entries with rising IDs.

Operations: append an entry, read a range in either direction, look one up, delete, trim at the beginning.
Goals: appending and reading ten entries cost a few microseconds; an entry of two small fields takes about 60 bytes.
Complexity: appending O(1); reading, looking up and deleting O(log n) to find the place, in C.

Entries are collected in nodes of up to ``stream-node-max-entries``. A node has one buffer with the fields and values of
its entries as RESP sends them, so that reading copies slices, and an array each for where these begin and for the two
halves of the IDs. Nodes end where those of Redis end, and deleted entries stay in their node until that is empty, since
both can be seen: ``XTRIM ... ~`` removes whole nodes, and DUMP has them as they are. Nodes therefore know the size that
they have as a listpack: what it is at most from entry to entry, and exactly once that might be too much.

https://redis.io/docs/latest/develop/data-types/streams/
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter
from sys import getsizeof

import hiredis

from ...protocol.numbers import LLONG_MAX, to_int
from ...protocol.resp import HEADS, bulk, bulks
from .stream_groups import UNKNOWN, Group
from .stream_ids import LAST, SEQUENCE

__all__ = ["Node", "Stream", "element_size", "parse_body", "signed"]

LISTPACK_OVERHEAD = 7
"""Bytes of a listpack's header and its end."""

LARGEST_LISTPACK = 1 << 30
"""Bytes, of a node whose size is not limited."""

LONGEST_INTEGER = 20
"""Bytes of the longest text of an integer."""

COUNTS = 12
"""Bytes that two numbers of entries or fields take at most in a listpack: there are fewer than 2 ** 31."""

PARTS = 4
"""Of the reply that an entry is: the head of an array, the length of the ID, the ID, the fields and values."""

SMALL = 64
"""Bytes from which the size of a string takes two bytes in a listpack."""

LARGE = 4096
"""Bytes from which it takes five."""

LESS, MORE = 4, 6
"""Bytes that an element takes less in a listpack than in RESP, at least, and those that a large one may take more than
that."""

NEAR, NOT_FAR, FAR = 7, 11, 22
"""Bytes of an entry's flags and ID, at most: if both halves differ from the first one's by less than 128, if the
milliseconds do by less than 2 ** 31, and in general."""

_first = attrgetter("first")


def integer_size(number: int) -> int:
    """Bytes of an integer in a listpack, the byte for going backwards included."""
    if 0 <= number < 1 << 7:
        return 2
    magnitude = number if number >= 0 else ~number
    if magnitude < 1 << 12:
        return 3
    if magnitude < 1 << 23:
        return 4 if magnitude < 1 << 15 else 5
    return 6 if magnitude < 1 << 31 else 10


def element_size(value: bytes) -> int:
    """Bytes of a value in a listpack (:mod:`evio_redis.persistence.rdb.listpack`)."""
    size = len(value)
    if size < SMALL:
        if size > LONGEST_INTEGER or value[:1] > b"9":  # the usual, which is no integer
            return size + 2
        number = to_int(value)
        return size + 2 if number is None else integer_size(number)
    size += 2 if size < LARGE else 5
    back = 1 if size < 128 else 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    return size + back


class Node:
    """Consecutive entries. ``first`` is the ID that it was begun with, ``fields`` are the names of that entry's fields;
    ``dead`` has a 1 for each entry that is deleted, once one is. ``size`` is the size of the first ``sized`` entries as
    a listpack, but for the two numbers of entries, and ``most`` that of all entries at most."""

    __slots__ = (
        "base",
        "body",
        "dead",
        "ends",
        "fields",
        "first",
        "fixed",
        "most",
        "ms",
        "sequence",
        "sequences",
        "size",
        "sized",
        "tail",
    )

    def __init__(self, first: int, fields: list[bytes]) -> None:
        self.first: int = first
        self.base: int = first >> 64
        self.sequence: int = first & SEQUENCE
        self.fields: list[bytes] = fields
        self.body: bytearray = bytearray()
        self.ends: array[int] = array("H")  # of entries in ``body``; the first one begins at 0
        self.ms: array[int] = array("H")  # after that of ``first``
        self.sequences: array[int] = array("H")
        self.dead: bytearray | None = None
        self.tail: int = integer_size(len(fields) + 3)  # bytes, of the number behind an entry with these fields
        sizes = sum(map(element_size, fields))
        self.size: int = LISTPACK_OVERHEAD + integer_size(len(fields)) + sizes + 2
        self.sized: int = 0
        self.most: int = self.size
        # What an entry with these fields has at most besides its words in RESP.
        self.fixed: int = self.tail - LESS * (len(fields) + 1) - len(b"".join(map(bulk, fields)))

    @property
    def count(self) -> int:
        """Entries that are not deleted."""
        return len(self.ms) - (self.dead.count(1) if self.dead is not None else 0)

    @property
    def deleted(self) -> int:
        """Entries that are deleted."""
        return self.dead.count(1) if self.dead is not None else 0

    def id_at(self, index: int) -> int:
        """The ID of an entry."""
        return self.base + self.ms[index] << 64 | self.sequences[index]

    def body_at(self, index: int) -> bytes:
        """The fields and values of an entry, as an array of RESP."""
        return bytes(self.body[self.ends[index - 1] if index else 0 : self.ends[index]])

    def parts(self, low: int, high: int) -> list[bytes | bytearray]:
        """The entries from ``low`` to ``high``, exclusive, as RESP sends them, each in so many ``PARTS``."""
        base, body, begin = self.base, self.body, self.ends[low - 1] if low else 0
        found: list[bytes | bytearray] = []
        for after, sequence, end in zip(self.ms[low:high], self.sequences[low:high], self.ends[low:high], strict=True):
            shown = b"%d-%d\r\n" % (base + after, sequence)
            found += (b"*2\r\n", HEADS[len(shown) - 2], shown, body[begin:end])
            begin = end
        return found

    def position(self, entry_id: int) -> int:
        """The index of the first entry of this ID or a higher one."""
        if entry_id <= self.first:
            return 0
        after, ms = (entry_id >> 64) - self.base, self.ms
        low = bisect_left(ms, after)
        if low == len(ms) or ms[low] != after:
            return low
        return bisect_left(self.sequences, entry_id & SEQUENCE, low, bisect_right(ms, after, low))

    def find(self, entry_id: int) -> int:
        """The index of the entry of this ID; -1 if there is none, or it is deleted."""
        index = self.position(entry_id)
        if index == len(self.ms) or self.id_at(index) != entry_id or (self.dead is not None and self.dead[index]):
            return -1
        return index

    def alive(self, low: int, high: int) -> Sequence[int]:
        """The indices of the entries from ``low`` to ``high``, exclusive, that are not deleted."""
        dead = self.dead
        return range(low, high) if dead is None else [index for index in range(low, high) if not dead[index]]

    def has_room(self, size: int) -> bool:
        """Tell whether it has less than so many bytes with the two numbers of entries."""
        counts = integer_size(self.count) + integer_size(self.deleted)
        if size - self.most <= counts:
            self._measure()
        return size - self.most > counts

    def _measure(self) -> None:
        """Measure the entries that have not been."""
        size, fields, begin = self.size, self.fields, self.ends[self.sized - 1] if self.sized else 0
        reader = hiredis.Reader()
        reader.feed(bytes(self.body[begin:]))
        for index in range(self.sized, len(self.ms)):
            words: list[bytes] = reader.gets()
            # Its flags, the difference of its ID to ``first``, the number of fields and their names unless they are
            # ``fields``, the values, and the number of all these.
            size += 2 + integer_size(signed(self.ms[index]))
            size += integer_size(signed(self.sequences[index] - self.sequence))
            if words[::2] == fields:
                size += self.tail + sum(map(element_size, words[1::2]))
            else:
                pairs = len(words) >> 1
                size += integer_size(pairs) + integer_size(2 * pairs + 4) + sum(map(element_size, words))
        self.size = self.most = size
        self.sized = len(self.ms)

    def append(self, entry_id: int, words: list[bytes], encoded: bytes, dead: bool = False) -> None:
        """Add an entry of fields and values in turn, and as an array of RESP."""
        sequence, after, size = entry_id & SEQUENCE, (entry_id >> 64) - self.base, len(encoded)
        if -128 < sequence - self.sequence < 128 and after < 1 << 31:
            size += NEAR if after < 128 else NOT_FAR
        else:
            size += FAR
        size += self.fixed if words[::2] == self.fields else COUNTS - LESS * (len(words) + 1)
        if size >= LARGE:
            size += MORE * len(words)
        self.most += size
        body = self.body
        body += encoded
        try:
            self.ends.append(len(body))
            self.ms.append(after)
            self.sequences.append(sequence)
        except OverflowError:
            self._widen(entry_id)
        if self.dead is not None or dead:
            if self.dead is None:
                self.dead = bytearray(len(self.ms) - 1)
            self.dead.append(dead)

    def _widen(self, entry_id: int) -> None:
        """Complete the arrays, of which one cannot hold what is to be appended."""
        new = len(self.body), (entry_id >> 64) - self.base, entry_id & SEQUENCE
        count = min(len(self.ends), len(self.ms), len(self.sequences))
        wide = []
        for values, value in zip((self.ends, self.ms, self.sequences), new, strict=True):
            kept = values[:count]
            while value >> 8 * kept.itemsize:
                kept = array("HIQ"["HI".index(kept.typecode) + 1], kept)
            kept.append(value)
            wide.append(kept)
        self.ends, self.ms, self.sequences = wide

    def close(self) -> None:
        """Give back the room that is kept for more entries."""
        self.body = self.body[:]
        self.ends, self.ms, self.sequences = self.ends[:], self.ms[:], self.sequences[:]

    def delete(self, index: int) -> None:
        """Mark an entry as deleted."""
        if self.dead is None:
            self.dead = bytearray(len(self.ms))
        self.dead[index] = 1

    def copy(self) -> Node:
        """Another node of the same entries."""
        other = Node(self.first, self.fields)
        other.body, other.size, other.sized, other.most = self.body[:], self.size, self.sized, self.most
        other.ends, other.ms, other.sequences = self.ends[:], self.ms[:], self.sequences[:]
        other.dead = self.dead[:] if self.dead is not None else None
        return other


class Stream:
    """The entries, what is remembered of former ones, and the consumer groups by name."""

    __slots__ = ("added", "groups", "last_id", "length", "max_deleted", "nodes")

    def __init__(self) -> None:
        self.nodes: list[Node] = []  # none without live entries
        self.length: int = 0
        self.last_id: int = 0  # of all entries that there ever were
        self.max_deleted: int = 0  # the highest ID that was deleted with XDEL
        self.added: int = 0  # entries that there ever were
        self.groups: dict[bytes, Group] = {}

    def __len__(self) -> int:
        return self.length

    def __bool__(self) -> bool:
        return True  # unlike other collections it may be empty

    def __iter__(self) -> Iterator[bytes]:
        """The fields and values of each entry, as RESP sends them."""
        return (node.body_at(index) for node, indices in self.spans() for index in indices)

    def encoding(self) -> str:
        """As Redis names it."""
        return "stream"

    def size(self, samples: int) -> int:
        """About how many bytes the entries take, from so many nodes; 0 for all."""
        nodes = self.nodes[:samples] if samples else self.nodes
        parts = (part for node in nodes for part in (node, node.body, node.ends, node.ms, node.sequences))
        return sum(map(getsizeof, parts)) * len(self.nodes) // len(nodes) if nodes else 0

    def copy(self) -> Stream:
        """Another stream of the same entries and groups."""
        other = Stream()
        other.nodes = [node.copy() for node in self.nodes]
        other.length, other.last_id, other.max_deleted, other.added = (
            self.length,
            self.last_id,
            self.max_deleted,
            self.added,
        )
        other.groups = {name: group.copy() for name, group in self.groups.items()}
        return other

    # -- reading

    @property
    def first_id(self) -> int:
        """The ID of the first entry; 0 if there is none."""
        if not self.nodes:
            return 0
        node = self.nodes[0]
        return node.id_at(0 if node.dead is None else node.dead.find(0))

    @property
    def last_entry_id(self) -> int:
        """The ID of the last entry; 0 if there is none."""
        if not self.nodes:
            return 0
        node = self.nodes[-1]
        return node.id_at(-1 if node.dead is None else node.dead.rfind(0))

    def spans(
        self, start: int = 0, stop: int = LAST, count: int | None = None, backwards: bool = False
    ) -> Iterator[tuple[Node, Sequence[int]]]:
        """The nodes that hold the entries from ``start`` to ``stop``, inclusive, and the indices of these in each;
        ``count`` of them at most."""
        nodes = self.nodes
        at = max(0, bisect_right(nodes, stop if backwards else start, key=_first) - 1)
        step = -1 if backwards else 1
        while 0 <= at < len(nodes) and (count is None or count > 0):
            node = nodes[at]
            at += step
            low = node.position(start) if start > node.first else 0
            high = len(node.ms) if stop == LAST else node.position(stop + 1)
            indices: Sequence[int] = node.alive(low, high)
            if backwards:
                indices = indices[::-1]
            if count is not None:
                indices = indices[:count]
                count -= len(indices)
            if indices:
                yield node, indices
            elif (node.first < start) if backwards else (node.first > stop):
                return

    def items(
        self, start: int = 0, stop: int = LAST, count: int | None = None, backwards: bool = False
    ) -> Iterator[tuple[int, bytes]]:
        """The IDs and bodies (see :meth:`Node.body_at`) of these entries."""
        for node, indices in self.spans(start, stop, count, backwards):
            for index in indices:
                yield node.id_at(index), node.body_at(index)

    def reply(self, start: int = 0, stop: int = LAST, count: int | None = None, backwards: bool = False) -> bytes:
        """These entries as an array of RESP: IDs, and fields and values."""
        total = 0
        parts: list[bytes | bytearray] = [b""]
        for node, indices in self.spans(start, stop, count, backwards):
            total += len(indices)
            if node.dead is not None:
                for index in indices:
                    parts += node.parts(index, index + 1)
            elif not backwards:
                parts += node.parts(indices[0], indices[-1] + 1)
            else:
                found = node.parts(indices[-1], indices[0] + 1)
                for at in range(len(found) - PARTS, -1, -PARTS):
                    parts += found[at : at + PARTS]
        parts[0] = b"*%d\r\n" % total
        return b"".join(parts)

    def body_of(self, entry_id: int) -> bytes | None:
        """The body of one entry, or None if there is no such entry."""
        node, index = self._find(entry_id)
        return node.body_at(index) if node is not None else None

    def _find(self, entry_id: int) -> tuple[Node | None, int]:
        at = bisect_right(self.nodes, entry_id, key=_first) - 1
        if at < 0:
            return None, -1
        node = self.nodes[at]
        index = node.find(entry_id)
        return (node, index) if index >= 0 else (None, -1)

    def __contains__(self, entry_id: int) -> bool:
        """Tell whether there is an entry of this ID."""
        return self._find(entry_id)[0] is not None

    # -- how far groups have read

    def deleted_from(self, start: int) -> bool:
        """Tell whether an entry may be missing from ``start`` on because of XDEL."""
        return bool(self.length) and start <= self.max_deleted and self.first_id <= self.max_deleted

    def count_up_to(self, entry_id: int) -> int:
        """The number of entries that there ever were up to this ID, or ``UNKNOWN``."""
        if not self.added:
            return 0
        if not self.length and entry_id <= self.last_id:
            return self.added
        if entry_id >= self.last_id:
            return self.added if entry_id == self.last_id else UNKNOWN
        first = self.first_id
        if self.max_deleted < first and entry_id <= first:  # nothing is missing behind it
            return self.added - self.length + (entry_id == first)
        return UNKNOWN

    def lag(self, group: Group) -> int | None:
        """The number of entries that a group has still to be given; None if that cannot be told."""
        if not self.added:
            return 0
        read = group.read
        if read == UNKNOWN or self.deleted_from(group.last_id):
            read = self.count_up_to(group.last_id)
        return self.added - read if read != UNKNOWN else None

    def advance(self, group: Group, entry_id: int) -> None:
        """Note that a group is given the entry of this ID."""
        if entry_id <= group.last_id:
            return
        if group.read != UNKNOWN and not self.deleted_from(entry_id):
            group.read = min(group.read + 1, LLONG_MAX)
        elif self.added:
            group.read = self.count_up_to(entry_id)
        group.last_id = entry_id

    # -- changing

    def append(self, entry_id: int, words: list[bytes], most_bytes: int, most_entries: int) -> None:
        """Add an entry of fields and values in turn, under an ID higher than ``last_id``. A node of so many bytes (as a
        listpack) or entries takes no more; 0 is no limit. Raises ``ValueError`` for more than a gigabyte."""
        encoded = bulks(words)
        size = len(encoded)  # more than the words have: these are counted when it matters
        if size > LARGEST_LISTPACK and len(b"".join(words)) > LARGEST_LISTPACK:
            raise ValueError("an entry that is too large")
        nodes = self.nodes
        node = nodes[-1] if nodes else None
        most_bytes = most_bytes or LARGEST_LISTPACK
        if (
            node is None
            or 0 < most_entries <= len(node.ms)
            or (most_bytes <= node.most + size + COUNTS and not node.has_room(most_bytes - len(b"".join(words))))
        ):
            fields = words[::2]
            if node is not None:
                node.close()
                if node.fields == fields:
                    fields = node.fields  # one list for all nodes
            node = Node(entry_id, fields)
            nodes.append(node)
        node.append(entry_id, words, encoded)
        self.length += 1
        if self.added < LLONG_MAX:
            self.added += 1
        self.last_id = entry_id

    def delete(self, entry_id: int) -> bool:
        """Delete an entry, whether it was there."""
        at = bisect_right(self.nodes, entry_id, key=_first) - 1
        if at < 0:
            return False
        node = self.nodes[at]
        index = node.find(entry_id)
        if index < 0:
            return False
        node.delete(index)
        if not node.count:
            del self.nodes[at]
        self.length -= 1
        self.max_deleted = max(self.max_deleted, entry_id)
        return True

    def trim_to(self, length: int, approximately: bool, limit: int) -> int:
        """Remove entries from the beginning until there are no more than ``length``: ``approximately`` whole nodes
        only, and of these no more than have ``limit`` entries (0: no limit). Returns how many were removed."""
        before = self.length
        while self.length > length:
            node = self.nodes[0]
            count = node.count
            if limit and before - self.length + count > limit:
                break
            if self.length - count >= length:
                del self.nodes[0]
                self.length -= count
                continue
            if not approximately:
                for index in node.alive(0, len(node.ms))[: self.length - length]:
                    node.delete(index)
                self.length = length
            break
        return before - self.length

    def trim_below(self, entry_id: int, approximately: bool, limit: int) -> int:
        """Remove the entries with a lower ID; see :meth:`trim_to`."""
        before = self.length
        while self.length:
            node = self.nodes[0]
            count = node.count
            if limit and before - self.length + count > limit:
                break
            if node.id_at(-1) < entry_id:
                del self.nodes[0]
                self.length -= count
                continue
            if not approximately:
                for index in node.alive(0, node.position(entry_id)):
                    node.delete(index)
                self.length -= count - node.count
                if not node.count:
                    del self.nodes[0]
            break
        return before - self.length


def signed(number: int) -> int:
    """A difference of two unsigned integers of 64 bits, as a signed one of 64 bits."""
    number &= SEQUENCE
    return number - (1 << 64) if number >> 63 else number


def parse_body(body: bytes) -> list[bytes]:
    """The fields and values of an entry's body, in turn."""
    reader = hiredis.Reader()
    reader.feed(body)
    words: list[bytes] = reader.gets()
    return words
