"""Runs: a pipeline of one command, the commonest there is, is served at once, column by column.

A function for a run does what its command would do for each of the rows in turn, and returns all their replies. It gets
the arguments' columns, without the name. It returns None, and has changed nothing, if it is not sure: then the commands
are run one by one. Like the commands' own short ways these are for the usual case, and rely on nobody having to be told
of each change: the dispatcher sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from ..commands.hashes import hset
from ..commands.lists import lpop, lpush, rpop, rpush
from ..commands.sets import sadd
from ..commands.strings import COUNTING, count_up, get, incr, set_
from ..keyspace.types.hashes import Hash
from ..keyspace.types.lists import List
from ..keyspace.types.sets import Set
from ..model.command import Function
from ..protocol.resp import OK, ONE, ZERO, bulk

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__ = ["RUNS", "SHORTEST", "Column", "Run"]

Column: TypeAlias = "Sequence[bytes]"
Run: TypeAlias = "Callable[..., bytes | None]"

SHORTEST = 4
"""Commands from which it pays to look."""


def _strings(values: Sequence[bytes]) -> bytes:
    """Bulk strings, one behind the other. Raises ``TypeError`` if one is no string."""
    sizes = set(map(len, values))
    if len(sizes) > 1:
        return b"".join(map(bulk, values))
    (size,) = sizes
    head = b"$%d\r\n" % size
    return head + (b"\r\n" + head).join(values) + b"\r\n"


def _integers(numbers: range) -> bytes:
    """Integers, likewise."""
    return b":%d\r\n" * len(numbers) % tuple(numbers)


def _volatile(database: Database, keys: Iterable[bytes]) -> bool:
    """Whether any of these may expire."""
    return bool(database.expires) and not database.expires.keys().isdisjoint(keys)


def _common(session: Session, keys: Column, kind: type) -> bytes | None:
    """The key that all rows are about, if it holds this type, does not expire, and changes of it are nobody's
    business."""
    database, key = session.db, keys[0]
    if type(database.data.get(key)) is not kind or database.alert or key in database.expires:
        return None
    return key if keys.count(key) == len(keys) else None


# -- strings


def _gets(session: Session, keys: Column) -> bytes | None:
    database = session.db
    if _volatile(database, keys):
        return None
    try:
        return _strings(itemgetter(*keys)(database.data))
    except (KeyError, TypeError):  # not all are there, or of another type
        pass
    values: list[Any] = list(map(database.data.get, keys))
    null = session.resp.null
    try:
        return b"".join([null if value is None else bulk(value) for value in values])
    except TypeError:
        return None


def _sets(session: Session, keys: Column, values: Column) -> bytes | None:
    database = session.db
    if database.blocked or database.alert or _volatile(database, keys):
        return None
    database.data.update(zip(keys, values, strict=True))
    database.changes += len(keys)
    return OK * len(keys)


def _incrs(session: Session, keys: Column) -> bytes | None:
    database = session.db
    if database.blocked or database.alert or _volatile(database, keys) or len(set(keys)) < len(keys):
        return None
    values = list(map(database.data.get, keys, repeat(b"0")))
    try:
        texts, replies = zip(*[COUNTING[value] for value in values], strict=True)
    except (KeyError, TypeError):  # no small number, or of another type
        if set(map(type, values)) != {bytes}:
            return None
        counted = [COUNTING.get(value) or count_up(value) for value in values]
        if None in counted:
            return None
        texts, replies = zip(*counted, strict=True)
    database.data.update(zip(keys, texts, strict=True))
    database.changes += len(keys)
    return b"".join(replies)


# -- collections


def _pushes(session: Session, keys: Column, elements: Column, left: bool) -> bytes | None:
    key = _common(session, keys, List)
    if key is None:
        return None
    value: List = session.db.data[key]
    before = len(value)
    value.extendleft(elements) if left else value.extend(elements)
    session.db.changes += len(elements)
    return _integers(range(before + 1, len(value) + 1))


def _lpushes(session: Session, keys: Column, elements: Column) -> bytes | None:
    return _pushes(session, keys, elements, left=True)


def _rpushes(session: Session, keys: Column, elements: Column) -> bytes | None:
    return _pushes(session, keys, elements, left=False)


def _pops(session: Session, keys: Column, left: bool) -> bytes | None:
    key = _common(session, keys, List)
    if key is None:
        return None
    value: List = session.db.data[key]
    if len(value) <= len(keys):  # it may be emptied
        return None
    pop = value.popleft if left else value.pop
    session.db.changes += len(keys)
    return _strings([pop() for _ in keys])


def _lpops(session: Session, keys: Column) -> bytes | None:
    return _pops(session, keys, left=True)


def _rpops(session: Session, keys: Column) -> bytes | None:
    return _pops(session, keys, left=False)


def _sadds(session: Session, keys: Column, members: Column) -> bytes | None:
    key = _common(session, keys, Set)
    if key is None:
        return None
    value: Set = session.db.data[key]
    if not value.plain or value.order is not None:
        return None
    replies, add = [], value.add
    size = before = len(value)
    for member in members:
        add(member)
        after = len(value)
        replies.append(ZERO if after == size else ONE)
        size = after
    session.db.changes += size - before
    return b"".join(replies)


def _hsets(session: Session, keys: Column, fields: Column, texts: Column) -> bytes | None:
    key = _common(session, keys, Hash)
    if key is None:
        return None
    value: Hash = session.db.data[key]
    if not value.large:
        return None
    replies, size = [], len(value)
    for field, text in zip(fields, texts, strict=True):
        value[field] = text
        after = len(value)
        replies.append(ZERO if after == size else ONE)
        size = after
    session.db.changes += len(keys)
    return b"".join(replies)


RUNS: dict[tuple[Function, int], Run] = {
    (get, 2): _gets,
    (set_, 3): _sets,
    (incr, 2): _incrs,
    (lpush, 3): _lpushes,
    (rpush, 3): _rpushes,
    (lpop, 2): _lpops,
    (rpop, 2): _rpops,
    (sadd, 3): _sadds,
    (hset, 4): _hsets,
}
"""By the command's function and how many arguments it has, the name included. Whoever replaces the function of a
command replaces this with it."""
