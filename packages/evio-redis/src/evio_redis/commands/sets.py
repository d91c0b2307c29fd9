"""Sets.

https://redis.io/docs/latest/commands/?group=set
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import NOT_POSITIVE, SYNTAX_ERROR, CommandError
from ..keyspace.types.sets import Set
from ..model.args import numkeys_positions
from ..model.command import Args, command
from ..protocol.numbers import to_int
from ..protocol.resp import ONE, ZERO, array, bulk, bulks, integer
from .batching import Column, common
from .draws import draw_count, draws
from .scans import scan_value

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__: list[str] = []


def _sadds(session: Session, keys: Column, members: Column) -> bytes | None:
    key = common(session, keys, Set)
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


@command("SADD", arity=-3, flags="write denyoom fast", keys=(1,), group="set", batch=(3, _sadds))
def sadd(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if type(value) is not Set or (key in database.expires and not database.lives(key)):
        value = database.typed(key, Set)
    elif len(args) == 3 and value.plain and value.order is None and not database.has_listeners:
        before = len(value)
        value.add(args[2])
        if len(value) == before:
            return ZERO
        database.changes += 1
        return ONE
    if value is None:
        value = Set()
        database.add(key, value)
    limit = session.services[Config].set_max_intset_entries
    added = 0
    for member in args[2:]:
        added += value.insert(member, limit)
    if added:
        database.changed(key, "s", "sadd", added)
    return integer(added)


@command("SREM", arity=-3, flags="write fast", keys=(1,), group="set")
def srem(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, Set)
    if value is None:
        return ZERO
    before = len(value)
    value.difference_update(args[2:])
    removed = before - len(value)
    if removed:
        _removed(database, key, value, "srem", removed)
    return integer(removed)


def _removed(database: Database, key: bytes, value: Set, event: str, count: int = 1) -> None:
    database.changed(key, "s", event, count)
    if not value:
        database.remove_empty(key)


@command("SISMEMBER", arity=3, flags="readonly fast", keys=(1,), group="set")
def sismember(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], Set)
    return ONE if value is not None and args[2] in value else ZERO


@command("SMISMEMBER", arity=-3, flags="readonly fast", keys=(1,), group="set", since="6.2.0")
def smismember(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], Set) or ()
    return array([ONE if member in value else ZERO for member in args[2:]])


@command("SCARD", arity=2, flags="readonly fast", keys=(1,), group="set")
def scard(session: Session, args: Args) -> bytes:
    return integer(len(session.db.read_typed(args[1], Set) or ()))


def _set_reply(session: Session, members: list[bytes]) -> bytes:
    return session.resp.set_of_strings(members)


@command("SMEMBERS", arity=2, flags="readonly", keys=(1,), group="set")
def smembers(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], Set)
    return _set_reply(session, value.listed() if value is not None else [])


@command("SMOVE", arity=4, flags="write fast", keys=(1, 2), group="set")
def smove(session: Session, args: Args) -> bytes:
    database, source, target, member = session.db, args[1], args[2], args[3]
    value = database.typed(source, Set)
    if value is None:
        return ZERO
    other = database.typed(target, Set)
    if member not in value:
        return ZERO
    if source == target:
        return ONE
    value.discard(member)
    _removed(database, source, value, "srem")
    if other is None:
        other = Set()
        database.add(target, other)
    if other.insert(member, session.services[Config].set_max_intset_entries):
        database.changed(target, "s", "sadd")
    return ONE


@command("SPOP", arity=-2, flags="write fast", keys=(1,), group="set")
def spop(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise CommandError(SYNTAX_ERROR)
    database, key = session.db, args[1]
    if len(args) == 3:
        return _spop_count(session, args)
    value = database.typed(key, Set)
    if value is None:
        return session.resp.null
    member = value.pop_random()
    session.rewrite(b"SREM", key, member)
    _removed(database, key, value, "spop")
    return bulk(member)


def _spop_count(session: Session, args: Args) -> bytes:
    count = to_int(args[2])
    if count is None or count < 0:
        raise CommandError(NOT_POSITIVE)
    database, key = session.db, args[1]
    value = database.typed(key, Set)
    if value is None or not count:
        return _set_reply(session, [])
    if count >= len(value):
        members = value.listed()
        database.remove(key)
        database.changed(key, "s", "spop", len(members))
        if database.has_listeners:
            database.keyspace.notify(database, "g", "del", key)
        session.rewrite(b"DEL", key)
    else:
        members = [value.pop_random() for _ in range(count)]
        session.rewrite(b"SREM", key, *members)
        database.changed(key, "s", "spop", len(members))
    return _set_reply(session, members)


@command("SRANDMEMBER", arity=-2, flags="readonly", keys=(1,), group="set")
def srandmember(session: Session, args: Args) -> bytes:
    if len(args) > 3:
        raise CommandError(SYNTAX_ERROR)
    count, _ = draw_count(args)
    value = session.db.read_typed(args[1], Set)
    if count is None:
        return session.resp.null if value is None else bulk(value.pick())
    if value is None:
        return array([])
    return bulks(value.sample(count)) if count >= 0 else draws(session, -count, lambda: bulk(value.pick()))


# -- several sets


def _sets(database: Database, keys: Args) -> list[Set]:
    return [database.read_typed(key, Set) or Set() for key in keys]


def _inter(sets: list[Set]) -> set[bytes]:
    smallest, *others = sorted(sets, key=len)
    return smallest.intersection(*others)


def _union(sets: list[Set]) -> set[bytes]:
    return set().union(*sets)


def _diff(sets: list[Set]) -> set[bytes]:
    return sets[0].difference(*sets[1:])


Combine = Callable[[list[Set]], "set[bytes]"]


def _show(session: Session, args: Args, combine: Combine) -> bytes:
    return _set_reply(session, _ordered(combine(_sets(session.db, args[1:]))))


def _ordered(members: set[bytes]) -> list[bytes]:
    """As Redis would show them if they are few integers, so that replies do not depend on chance."""
    numbers = len(members) <= 512 and all(to_int(member) is not None for member in members)
    return sorted(members, key=int) if numbers else list(members)


def _store(session: Session, args: Args, combine: Combine, event: str) -> bytes:
    database, target = session.db, args[1]
    members = combine(_sets(database, args[2:]))
    if not members:
        if database.lookup(target) is not None:
            database.remove(target)
            database.changed(target, "g", "del")
        return ZERO
    database.put(target, Set(members, session.services[Config].set_max_intset_entries))
    database.changed(target, "s", event)
    return integer(len(members))


@command("SINTER", arity=-2, flags="readonly", keys=(1, -1, 1), group="set")
def sinter(session: Session, args: Args) -> bytes:
    return _show(session, args, _inter)


@command("SUNION", arity=-2, flags="readonly", keys=(1, -1, 1), group="set")
def sunion(session: Session, args: Args) -> bytes:
    return _show(session, args, _union)


@command("SDIFF", arity=-2, flags="readonly", keys=(1, -1, 1), group="set")
def sdiff(session: Session, args: Args) -> bytes:
    return _show(session, args, _diff)


@command("SINTERSTORE", arity=-3, flags="write denyoom", keys=(1, -1, 1), group="set")
def sinterstore(session: Session, args: Args) -> bytes:
    return _store(session, args, _inter, "sinterstore")


@command("SUNIONSTORE", arity=-3, flags="write denyoom", keys=(1, -1, 1), group="set")
def sunionstore(session: Session, args: Args) -> bytes:
    return _store(session, args, _union, "sunionstore")


@command("SDIFFSTORE", arity=-3, flags="write denyoom", keys=(1, -1, 1), group="set")
def sdiffstore(session: Session, args: Args) -> bytes:
    return _store(session, args, _diff, "sdiffstore")


@command(
    "SINTERCARD", arity=-3, flags="readonly movablekeys", group="set", since="7.0.0", get_keys=numkeys_positions(1)
)
def sintercard(session: Session, args: Args) -> bytes:
    count = to_int(args[1])
    if count is None or count <= 0:
        raise CommandError("ERR numkeys should be greater than 0")
    if count > len(args) - 2:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    limit = 0
    rest = args[2 + count :]
    if rest:
        if len(rest) != 2 or rest[0].upper() != b"LIMIT":
            raise CommandError(SYNTAX_ERROR)
        number = to_int(rest[1])
        if number is None or number < 0:
            raise CommandError("ERR LIMIT can't be negative")
        limit = number
    found = len(_inter(_sets(session.db, args[2 : 2 + count])))
    return integer(min(found, limit) if limit else found)


@command("SSCAN", arity=-3, flags="readonly", keys=(1,), group="set", since="2.8.0")
def sscan(session: Session, args: Args) -> bytes:
    return scan_value(
        session,
        args,
        Set,
        lambda value: None if value.plain else value.listed(),  # an intset is returned whole
        lambda value: value,
        lambda value, member: (member,) if member in value else (),
    )
