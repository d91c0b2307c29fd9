"""Commands as the append-only file has them, and a keyspace as the commands that make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from ..database import Database
from ..numbers import format_double
from ..types.hashes import Hash
from ..types.lists import List
from ..types.sets import Set
from ..types.zsets import SortedSet

__all__ = ["LARGE", "commands_of", "encode", "pieces"]

ITEMS = 64
"""Members of a collection that one command adds (Redis's AOF_REWRITE_ITEMS_PER_CMD)."""

LARGE = 64 * 1024
"""Bytes from which an argument is not copied."""


def encode(args: Iterable[bytes]) -> bytes:
    """A command as a client would send it."""
    parts = [b"$%d\r\n%b\r\n" % (len(each), each) for each in args]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def pieces(args: Sequence[bytes]) -> list[bytes]:
    """The same in pieces, of which large arguments are some."""
    if max(map(len, args)) < LARGE:
        return [encode(args)]
    found = [b"*%d\r\n" % len(args)]
    for each in args:
        found += [b"$%d\r\n" % len(each), each, b"\r\n"]
    return found


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
    if type(value) is bytes:
        yield [b"SET", key, value]
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
