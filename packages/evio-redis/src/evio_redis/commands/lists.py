"""Lists.

https://redis.io/docs/latest/commands/?group=list
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ..errors import NO_SUCH_KEY, NOT_POSITIVE, OUT_OF_RANGE, SYNTAX_ERROR, CommandError, wrong_arity
from ..keyspace.types.lists import List
from ..model.args import Options
from ..model.command import Args, command
from ..protocol.numbers import parse_int, to_int
from ..protocol.resp import EMPTY_ARRAY, INTEGERS, OK, ZERO, array, bulk, bulks, integer
from .batching import Column, common, integers, strings

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__ = ["pop_many", "pop_one", "popped"]


# In LPUSH, RPUSH, LPOP and RPOP the usual case is written out: a list that is neither made nor emptied, with nobody to
# be told. Sharing it would cost these four, which do nothing else, a tenth of their time.


# -- pushing


def _push(session: Session, args: Args, left: bool, only_existing: bool) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if type(value) is not List or database.expires:
        value = database.typed(key, List)
        if value is None:
            if only_existing:
                return ZERO
            value = List()
    new = not value
    if len(args) == 3:
        value.appendleft(args[2]) if left else value.append(args[2])
    else:
        value.extendleft(args[2:]) if left else value.extend(args[2:])
    size = len(value)
    if new:
        database.add(key, value)
    database.changed(key, "l", "lpush" if left else "rpush", len(args) - 2)
    return integer(size)


def _pushes(session: Session, keys: Column, elements: Column, left: bool) -> bytes | None:
    key = common(session, keys, List)
    if key is None:
        return None
    value: List = session.db.data[key]
    before = len(value)
    value.extendleft(elements) if left else value.extend(elements)
    session.db.changes += len(elements)
    return integers(range(before + 1, len(value) + 1))


def _lpushes(session: Session, keys: Column, elements: Column) -> bytes | None:
    return _pushes(session, keys, elements, left=True)


def _rpushes(session: Session, keys: Column, elements: Column) -> bytes | None:
    return _pushes(session, keys, elements, left=False)


@command("LPUSH", arity=-3, flags="write denyoom fast", keys=(1,), group="list", batch=(3, _lpushes))
def lpush(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if (
        type(value) is List
        and len(args) == 3
        and not database.has_listeners
        and (key not in database.expires or database.lives(key))
    ):
        value.appendleft(args[2])
        database.changes += 1
        size = len(value)
        return INTEGERS[size] if size < 1024 else b":%d\r\n" % size
    return _push(session, args, left=True, only_existing=False)


@command("RPUSH", arity=-3, flags="write denyoom fast", keys=(1,), group="list", batch=(3, _rpushes))
def rpush(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if (
        type(value) is List
        and len(args) == 3
        and not database.has_listeners
        and (key not in database.expires or database.lives(key))
    ):
        value.append(args[2])
        database.changes += 1
        size = len(value)
        return INTEGERS[size] if size < 1024 else b":%d\r\n" % size
    return _push(session, args, left=False, only_existing=False)


@command("LPUSHX", arity=-3, flags="write denyoom fast", keys=(1,), group="list", since="2.2.0")
def lpushx(session: Session, args: Args) -> bytes:
    return _push(session, args, left=True, only_existing=True)


@command("RPUSHX", arity=-3, flags="write denyoom fast", keys=(1,), group="list", since="2.2.0")
def rpushx(session: Session, args: Args) -> bytes:
    return _push(session, args, left=False, only_existing=True)


@command("LINSERT", arity=5, flags="write denyoom", keys=(1,), group="list", since="2.2.0")
def linsert(session: Session, args: Args) -> bytes:
    where = args[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise CommandError(SYNTAX_ERROR)
    database, key = session.db, args[1]
    value = database.typed(key, List)
    if value is None:
        return ZERO
    try:
        at = value.index(args[3])
    except ValueError:
        return integer(-1)
    value.insert(at + (where == b"AFTER"), args[4])
    database.changed(key, "l", "linsert")
    return integer(len(value))


# -- popping


def _read_count(text: bytes) -> int:
    """The count of a pop. Raises :class:`CommandError`."""
    count = to_int(text)
    if count is None or count < 0:
        raise CommandError(NOT_POSITIVE)
    return count


def _pop(session: Session, args: Args, left: bool) -> bytes:
    if len(args) > 3:
        raise wrong_arity("lpop" if left else "rpop")
    count = _read_count(args[2]) if len(args) == 3 else None
    database, key = session.db, args[1]
    value = database.typed(key, List)
    if value is None:
        return session.resp.null if count is None else session.resp.null_array
    if count is None:
        return bulk(pop_one(database, key, value, left))
    return bulks(pop_many(database, key, value, left, count)) if count else EMPTY_ARRAY


def pop_one(database: Database, key: bytes, value: List, left: bool) -> bytes:
    element = value.popleft() if left else value.pop()
    popped(database, key, value, left)
    return element


def pop_many(database: Database, key: bytes, value: List, left: bool, count: int) -> list[bytes]:
    """Pop up to ``count`` elements, at least one."""
    pop = value.popleft if left else value.pop
    found = [pop() for _ in range(min(count, len(value)))]
    popped(database, key, value, left, len(found))
    return found


def popped(database: Database, key: bytes, value: List, left: bool, count: int = 1) -> None:
    database.changed(key, "l", "lpop" if left else "rpop", count)
    if not value:
        database.remove_empty(key)


def _pops(session: Session, keys: Column, left: bool) -> bytes | None:
    key = common(session, keys, List)
    if key is None:
        return None
    value: List = session.db.data[key]
    if len(value) <= len(keys):  # it may be emptied
        return None
    pop = value.popleft if left else value.pop
    session.db.changes += len(keys)
    return strings([pop() for _ in keys])


def _lpops(session: Session, keys: Column) -> bytes | None:
    return _pops(session, keys, left=True)


def _rpops(session: Session, keys: Column) -> bytes | None:
    return _pops(session, keys, left=False)


@command("LPOP", arity=-2, flags="write fast", keys=(1,), group="list", batch=(2, _lpops))
def lpop(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if (
        type(value) is List
        and len(args) == 2
        and len(value) > 1
        and not database.has_listeners
        and (key not in database.expires or database.lives(key))
    ):
        database.changes += 1
        return bulk(value.popleft())
    return _pop(session, args, left=True)


@command("RPOP", arity=-2, flags="write fast", keys=(1,), group="list", batch=(2, _rpops))
def rpop(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if (
        type(value) is List
        and len(args) == 2
        and len(value) > 1
        and not database.has_listeners
        and (key not in database.expires or database.lives(key))
    ):
        database.changes += 1
        return bulk(value.pop())
    return _pop(session, args, left=False)


# -- reading


@command("LLEN", arity=2, flags="readonly fast", keys=(1,), group="list")
def llen(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], List)
    return integer(len(value)) if value is not None else ZERO


@command("LINDEX", arity=3, flags="readonly", keys=(1,), group="list")
def lindex(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], List)
    at = parse_int(args[2])
    if value is None or not -len(value) <= at < len(value):
        return session.resp.null
    return bulk(value[at])


@command("LRANGE", arity=4, flags="readonly", keys=(1,), group="list")
def lrange(session: Session, args: Args) -> bytes:
    first, last = parse_int(args[2]), parse_int(args[3])
    value = session.db.read_typed(args[1], List)
    if value is None:
        return EMPTY_ARRAY
    start, stop = _bounds(first, last, len(value))
    return bulks(_slice(value, start, stop)) if start < stop else EMPTY_ARRAY


def _bounds(first: int, last: int, size: int) -> tuple[int, int]:
    """Redis's inclusive, possibly negative indices as a range."""
    start = max(first + size if first < 0 else first, 0)
    stop = min((last + size if last < 0 else last) + 1, size)
    return start, max(start, stop)


def _slice(value: List, start: int, stop: int) -> list[bytes]:
    if start > len(value) // 2:  # from the end it is nearer: a deque is walked from one of its ends
        found = list(islice(reversed(value), len(value) - stop, len(value) - start))
        found.reverse()
        return found
    return list(islice(value, start, stop))


@command("LPOS", arity=-3, flags="readonly", keys=(1,), group="list", since="6.0.6")
def lpos(session: Session, args: Args) -> bytes:
    rank, count, longest = _lpos_options(args)
    value = session.db.read_typed(args[1], List)
    found: list[int] = []
    if value is not None:
        size, skip = len(value), abs(rank) - 1
        elements = enumerate(value) if rank > 0 else ((size - 1 - at, each) for at, each in enumerate(reversed(value)))
        for at, element in islice(elements, longest or None):
            if element == args[2]:
                if skip:
                    skip -= 1
                    continue
                found.append(at)
                if count != 0 and len(found) == (count or 1):
                    break
    if count is None:
        return integer(found[0]) if found else session.resp.null
    return array([integer(at) for at in found])


def _lpos_options(args: Args) -> tuple[int, int | None, int]:
    rank, count, longest = 1, None, 0
    options = Options(args, 3)
    for option in options:
        text = options.word()
        if option == b"RANK":
            rank = parse_int(text)
            if rank == 0:
                raise CommandError(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative"
                    " to start from the end of the list"
                )
            if rank < -(2**63) + 1:
                raise CommandError("ERR value is out of range, must be greater than -9223372036854775808")
        elif option == b"COUNT":
            count = to_int(text)
            if count is None or count < 0:
                raise CommandError("ERR COUNT can't be negative")
        elif option == b"MAXLEN":
            number = to_int(text)
            if number is None or number < 0:
                raise CommandError("ERR MAXLEN can't be negative")
            longest = number
        else:
            raise options.unknown()
    return rank, count, longest


# -- changing


@command("LSET", arity=4, flags="write denyoom", keys=(1,), group="list")
def lset(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, List)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    at = parse_int(args[2])
    if not -len(value) <= at < len(value):
        raise CommandError(OUT_OF_RANGE)
    value[at] = args[3]
    database.changed(key, "l", "lset")
    return OK


@command("LREM", arity=4, flags="write", keys=(1,), group="list")
def lrem(session: Session, args: Args) -> bytes:
    count = parse_int(args[2])
    database, key, element = session.db, args[1], args[3]
    value = database.typed(key, List)
    if value is None:
        return ZERO
    wanted = abs(count) or len(value)
    kept: list[bytes] = []
    removed = 0
    for each in value if count >= 0 else reversed(value):
        if each == element and removed < wanted:
            removed += 1
        else:
            kept.append(each)
    if removed:
        value.clear()
        value.extend(kept if count >= 0 else reversed(kept))
        database.changed(key, "l", "lrem", removed)
        if not value:
            database.remove_empty(key)
    return integer(removed)


@command("LTRIM", arity=4, flags="write", keys=(1,), group="list")
def ltrim(session: Session, args: Args) -> bytes:
    first, last = parse_int(args[2]), parse_int(args[3])
    database, key = session.db, args[1]
    value = database.typed(key, List)
    if value is None:
        return OK
    before = len(value)
    start, stop = _bounds(first, last, before)
    for _ in range(before - stop if start < stop else before):
        value.pop()
    for _ in range(min(start, len(value))):
        value.popleft()
    database.changed(key, "l", "ltrim", before - len(value))
    if not value:
        database.remove_empty(key)
    return OK
