"""Streams as RDB has them: nodes, each an ID and a listpack, then counters, then groups.

The listpack of a node begins with a master entry: the number of entries that are there, the number of deleted ones, the
fields of the first entry, a 0. An entry is flags, the difference of both halves of its ID to the node's, its fields
unless they are those of the master entry, the values, and how many elements all that is.

Redis 5 wrote ``STREAM``, 7.0 writes ``STREAM_2`` (counters added) and 7.2 ``STREAM_3`` (when consumers were active).

https://github.com/redis/redis/blob/7.0/src/stream.h and t_stream.c document it in comments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...keyspace.types.stream_groups import UNKNOWN, Consumer, Group
from ...keyspace.types.stream_ids import SEQUENCE
from ...keyspace.types.streams import Node, Stream, parse_body, signed
from ...protocol.numbers import LLONG_MAX, to_int
from ...protocol.resp import bulks
from . import listpack
from .primitives import length, string

if TYPE_CHECKING:
    from .primitives import Reader

__all__ = ["STREAM", "STREAM_2", "STREAM_3", "stream_pieces", "read_stream"]

STREAM, STREAM_2, STREAM_3 = 15, 19, 21

DELETED, SAME_FIELDS = 1, 2
"""Flags of an entry."""

ID_SIZE = 16
"""Bytes of an ID, the highest first."""


# -- reading


def read_stream(reader: Reader, code: int) -> Stream:
    """A stream. Raises ``ValueError`` and ``IndexError`` for what is none."""
    stream = Stream()
    for _ in range(reader.length()):
        key = reader.string()
        if len(key) != ID_SIZE:
            raise ValueError("a node of a stream whose ID has another size")
        node = _node(int.from_bytes(key, "big"), listpack.unpack(reader.string()))
        if stream.nodes and node.first <= stream.nodes[-1].id_at(-1):
            raise ValueError("nodes of a stream that are not in order")
        stream.nodes.append(node)
    stream.length = reader.length()
    if stream.length != sum(node.count for node in stream.nodes):
        raise ValueError("a stream of another length than it says")
    stream.last_id = _id(reader)
    if stream.nodes and stream.last_id < stream.last_entry_id:
        raise ValueError("a stream whose last ID is lower than that of an entry")
    if code == STREAM:
        stream.added = stream.length
    else:
        _id(reader)  # the first one, which is known
        stream.max_deleted = _id(reader)
        stream.added = _count(reader)
    if stream.added < stream.length:
        raise ValueError("a stream of more entries than were ever added to it")
    for _ in range(reader.length()):
        name = reader.string()
        if name in stream.groups:
            raise ValueError("a stream that has a group twice")
        stream.groups[name] = _group(reader, code, stream)
    return stream


def _id(reader: Reader) -> int:
    milliseconds = reader.length()
    return milliseconds << 64 | reader.length()


def _count(reader: Reader) -> int:
    """A number of what has happened; replies and commands have no higher one."""
    return min(reader.length(), LLONG_MAX)


def _node(first: int, elements: Sequence[bytes]) -> Node:
    """A node from the elements of its listpack."""
    at = 0

    def number() -> int:
        nonlocal at
        found = to_int(elements[at])
        if found is None:
            raise ValueError("a node of a stream with a text for a number")
        at += 1
        return found

    def texts(count: int) -> Sequence[bytes]:
        nonlocal at
        found = elements[at : at + count]
        if count < 0 or len(found) < count:
            raise ValueError("a node of a stream that ends too early")
        at += count
        return found

    live, dead = number(), number()
    width = number()
    if width < 1:
        raise ValueError("a node of a stream without fields")
    node = Node(first, list(texts(width)))
    if number() or live < 0 or dead < 0 or live + dead == 0:
        raise ValueError("a node of a stream without entries")
    for _ in range(live + dead):
        begin = at
        flags = number()
        entry_id = ((first >> 64) + number() & SEQUENCE) << 64 | (first + number()) & SEQUENCE
        if flags & SAME_FIELDS:
            fields: Sequence[bytes] = node.fields
            values = texts(len(fields))
        else:
            both = texts(2 * number())
            if not both:
                raise ValueError("an entry of a stream without fields")
            fields, values = both[::2], both[1::2]
        if number() != at - begin - 1:
            raise ValueError("an entry of a stream of another size than it says")
        if entry_id < (first or 1) or (node.ms and entry_id <= node.id_at(-1)):
            raise ValueError("entries of a stream that are not in order")
        words = [part for pair in zip(fields, values, strict=True) for part in pair]
        node.append(entry_id, words, bulks(words), bool(flags & DELETED))
    if at != len(elements) or node.count != live:
        raise ValueError("a node of a stream of another number of entries than it says")
    if not live:
        raise ValueError("a node of a stream without entries")
    node.close()
    return node


def _group(reader: Reader, code: int, stream: Stream) -> Group:
    group = Group(_id(reader), UNKNOWN)
    if code == STREAM:
        group.read = stream.count_up_to(group.last_id)
    else:
        read = reader.length()
        group.read = UNKNOWN if read == SEQUENCE else min(read, LLONG_MAX)
    pending: dict[int, tuple[int, int]] = {}
    for _ in range(reader.length()):
        entry_id = int.from_bytes(reader.take(ID_SIZE), "big")
        if entry_id in pending:
            raise ValueError("a group that has an entry pending twice")
        pending[entry_id] = _time(reader), _count(reader)
    for _ in range(reader.length()):
        name = reader.string()
        if name in group.consumers:
            raise ValueError("a group that has a consumer twice")
        consumer = group.consumers[name] = Consumer(name, _time(reader))
        if code == STREAM_3:
            _time(reader)  # when it was active last, which is not kept
        for _ in range(reader.length()):
            entry_id = int.from_bytes(reader.take(ID_SIZE), "big")
            if entry_id not in pending:
                raise ValueError("a consumer that has an entry pending which its group has not")
            group.give(entry_id, consumer, *pending.pop(entry_id))
    if pending:
        raise ValueError("a group that has an entry pending for no consumer")
    return group


def _time(reader: Reader) -> int:
    """A Unix time in milliseconds; what is before 1970 is none, as Redis 7.2 has it for never."""
    return max(0, int.from_bytes(reader.take(8), "little", signed=True))


# -- writing


def stream_pieces(stream: Stream) -> Iterator[bytes]:
    """The bytes of a stream, as ``STREAM_2``."""
    yield length(len(stream.nodes))
    for node in stream.nodes:
        yield string(node.first.to_bytes(ID_SIZE, "big"))
        yield string(_packed(node))
    yield length(stream.length)
    for entry_id in (stream.last_id, stream.first_id, stream.max_deleted):
        yield _id_pieces(entry_id)
    yield length(stream.added)
    yield length(len(stream.groups))
    for name, group in sorted(stream.groups.items()):
        yield string(name) + _id_pieces(group.last_id) + length(group.read & SEQUENCE)
        yield length(len(group.pending))
        for entry_id in group.pending.ids():
            delivery = group.pending.deliveries[entry_id]
            yield entry_id.to_bytes(ID_SIZE, "big") + _time_piece(delivery.time) + length(delivery.count)
        yield length(len(group.consumers))
        for consumer_name, consumer in sorted(group.consumers.items()):
            yield string(consumer_name) + _time_piece(consumer.seen)
            yield length(len(consumer.pending))
            for entry_id in consumer.pending.ids():
                yield entry_id.to_bytes(ID_SIZE, "big")


def _id_pieces(entry_id: int) -> bytes:
    return length(entry_id >> 64) + length(entry_id & SEQUENCE)


def _time_piece(time: int) -> bytes:
    return time.to_bytes(8, "little", signed=True)


def _packed(node: Node) -> bytes:
    """The listpack of a node."""
    integer, element = listpack.integer, listpack.element
    parts = [integer(node.count), integer(node.deleted), integer(len(node.fields)), *map(element, node.fields)]
    parts.append(integer(0))
    for index in range(len(node.ms)):
        words = parse_body(node.body_at(index))
        fields, values = words[::2], words[1::2]
        flags = DELETED if node.dead is not None and node.dead[index] else 0
        same = fields == node.fields
        parts += [
            integer(flags | SAME_FIELDS if same else flags),
            integer(signed(node.ms[index])),
            integer(signed(node.sequences[index] - (node.first & SEQUENCE))),
        ]
        if same:
            parts += [*map(element, values), integer(len(values) + 3)]
        else:
            parts += [integer(len(fields)), *map(element, words), integer(len(words) + 4)]
    return listpack.join(parts)
