"""Commands as the append-only file has them, and a keyspace as the commands that make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from ...keyspace.database import Database
from ...keyspace.types.hashes import Hash
from ...keyspace.types.lists import List
from ...keyspace.types.sets import Set
from ...keyspace.types.stream_ids import show_id
from ...keyspace.types.streams import Stream, parse_body
from ...keyspace.types.zsets import SortedSet
from ...protocol.numbers import format_double

__all__ = ["LARGE", "commands_of", "encode", "encode_all", "encoded_size", "pieces"]

ITEMS = 64
"""Members of a collection that one command adds (Redis's AOF_REWRITE_ITEMS_PER_CMD)."""

LARGE = 64 * 1024
"""Bytes from which an argument is not copied."""


KNOWN = 1024
"""Heads of arguments that are kept, and beginnings of commands."""


class _Heads(dict[int, bytes]):
    """The head of an argument by its size, with the end of what is in front of it."""

    large = 0
    """Heads that were asked for of ``LARGE`` arguments."""

    def __missing__(self, size: int) -> bytes:
        if size >= LARGE:
            self.large += 1
        return b"\r\n$%d\r\n" % size


class _Beginnings(dict[bytes, bytes]):
    """The beginning of a command of so many arguments by its name."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __missing__(self, name: bytes) -> bytes:
        if len(self) >= KNOWN:
            self.clear()
        self[name] = beginning = b"*%d\r\n$%d\r\n%b" % (self._count, len(name), name)
        return beginning


_heads = _Heads((size, b"\r\n$%d\r\n" % size) for size in range(KNOWN))
_two, _three, _four = map(_Beginnings, (2, 3, 4))


def encode(args: Sequence[bytes]) -> bytes:
    """A command as a client would send it."""
    return b"".join(pieces(args))


def encoded_size(args: Sequence[bytes]) -> int:
    """Return the number of bytes of that."""
    size = len(b"*%d\r\n" % len(args))
    for each in args:
        size += len(b"$%d\r\n" % len(each)) + len(each) + 2
    return size


def pieces(args: Sequence[bytes]) -> list[bytes]:
    """The same in pieces, among which the arguments are, so that large ones are not copied."""
    return encode_all([list(args)])[0]


def encode_all(buffer: Iterable[Any]) -> tuple[list[Any], bool]:
    """The pieces of what is in a buffer, lists of which are commands, and whether a ``LARGE`` argument is among them.

    This is most of what logging costs. The heads of most arguments and the beginnings of short commands are there
    already: that takes half of what hiredis does, which makes one string of each command."""
    found: list[Any] = []
    heads, two, three, four = _heads, _two, _three, _four
    large = heads.large
    for each in buffer:
        if type(each) is not list:
            found.append(each)
            continue
        count = len(each)
        if count == 3:
            name, one, other = each
            found += (three[name], heads[len(one)], one, heads[len(other)], other, b"\r\n")
        elif count == 2:
            name, one = each
            found += (two[name], heads[len(one)], one, b"\r\n")
        elif count == 4:
            name, one, other, last = each
            found += (four[name], heads[len(one)], one, heads[len(other)], other, heads[len(last)], last, b"\r\n")
        else:
            found.append(b"*%d" % count)
            for word in each:
                found += heads[len(word)], word
            found.append(b"\r\n")
    return found, heads.large != large


def commands_of(databases: Iterable[Database]) -> Iterator[list[bytes]]:
    """Commands that make these databases from nothing."""
    for database in databases:
        if database.data:
            yield [b"SELECT", b"%d" % database.index]
        for key, value in database.data.items():
            yield from _commands_for(key, value)
            when = database.expires.get(key)
            if when is not None:
                yield [b"PEXPIREAT", key, b"%d" % when]


def _commands_for(key: bytes, value: Any) -> Iterator[list[bytes]]:
    if isinstance(value, bytes):
        yield [b"SET", key, value]
        return
    if isinstance(value, Stream):
        yield from _stream_commands(key, value)
        return
    name, words = _words(value)
    words = iter(words)
    while batch := list(islice(words, ITEMS)):
        yield [name, key, *(part for word in batch for part in word)]


def _words(value: Any) -> tuple[bytes, Iterable[tuple[bytes, ...]]]:
    kind = type(value)
    if kind is List:
        return b"RPUSH", ((item,) for item in value)
    if kind is Set:
        return b"SADD", ((member,) for member in value)
    if kind is Hash:
        return b"HMSET", value.items()
    assert kind is SortedSet, f"no command makes a {kind.__name__}"
    return b"ZADD", ((format_double(score), member) for score, member in value.items())


def _stream_commands(key: bytes, value: Stream) -> Iterator[list[bytes]]:
    if not value.length:  # there are no empty ones but those that were trimmed
        yield [b"XADD", key, b"MAXLEN", b"0", show_id(value.last_id or 1), b"x", b"y"]
    for entry_id, body in value.items():
        yield [b"XADD", key, show_id(entry_id), *parse_body(body)]
    highest = show_id(max(value.last_id, value.max_deleted))
    counters = b"ENTRIESADDED", b"%d" % value.added, b"MAXDELETEDID", show_id(value.max_deleted)
    yield [b"XSETID", key, highest, *counters]
    if value.max_deleted > value.last_id:  # which was made lower by XSETID, and has to be again
        yield [b"XSETID", key, show_id(value.last_id)]
    for name, group in value.groups.items():
        yield [b"XGROUP", b"CREATE", key, name, show_id(group.last_id), b"ENTRIESREAD", b"%d" % group.read]
        for consumer_name, consumer in group.consumers.items():
            yield [b"XGROUP", b"CREATECONSUMER", key, name, consumer_name]
            for entry_id in consumer.pending.ids():
                delivery = consumer.pending.deliveries[entry_id]
                time, count = b"%d" % delivery.time, b"%d" % delivery.count
                claimed = b"XCLAIM", key, name, consumer_name, b"0", show_id(entry_id)
                yield [*claimed, b"TIME", time, b"RETRYCOUNT", count, b"JUSTID", b"FORCE"]
