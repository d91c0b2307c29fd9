"""Hashes.

https://redis.io/docs/latest/commands/?group=hash
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import OVERFLOW, CommandError, wrong_arity
from ..keyspace.types.hashes import Hash
from ..model.command import Args, command
from ..protocol.long_double import add_long_doubles, parse_long_double
from ..protocol.numbers import LLONG_MAX, LLONG_MIN, parse_int
from ..protocol.resp import OK, ONE, ZERO, array, bulk, bulks, integer
from .batching import Column, common
from .draws import draw_count, draws
from .scans import scan_value

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []


def _writable(session: Session, key: bytes) -> Hash:
    """The hash at a key, a new one if there is none. Raises :class:`CommandError`."""
    value = session.db.typed(key, Hash)
    return Hash() if value is None else value


def _set(session: Session, key: bytes, value: Hash, pairs: Args) -> int:
    """Set fields and values in turn; returns how many fields are new. The caller tells of the change."""
    before = len(value)
    new = not before
    if len(pairs) == 2:
        value[pairs[0]] = pairs[1]
    else:
        value.update(zip(pairs[::2], pairs[1::2], strict=True))
    if not value.large:
        config = session.services[Config]
        value.large = (
            max(map(len, pairs)) > config.hash_max_listpack_value or len(value) > config.hash_max_listpack_entries
        )
    if new:
        session.db.add(key, value)
    return len(value) - before


def _hsets(session: Session, keys: Column, fields: Column, texts: Column) -> bytes | None:
    key = common(session, keys, Hash)
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


@command("HSET", -4, "write denyoom fast", keys=(1,), group="hash", since="2.0.0", batch=(4, _hsets))
def hset(session: Session, args: Args) -> bytes:
    if len(args) % 2:
        raise wrong_arity("hset")
    database, key = session.db, args[1]
    value = database.data.get(key)
    if (
        type(value) is Hash
        and len(args) == 4
        and not database.has_listeners
        and (key not in database.expires or database.lives(key))
    ):
        before = len(value)
        value[args[2]] = args[3]
        database.changes += 1
        if not value.large:
            limits = session.services[Config]
            longest = limits.hash_max_listpack_value
            large = len(args[2]) > longest or len(args[3]) > longest
            value.large = large or len(value) > limits.hash_max_listpack_entries
        return ZERO if len(value) == before else ONE
    added = _set(session, key, _writable(session, key), args[2:])
    database.changed(key, "h", "hset", len(args) // 2 - 1)
    return integer(added)


@command("HMSET", arity=-4, flags="write denyoom fast", keys=(1,), group="hash", since="2.0.0")
def hmset(session: Session, args: Args) -> bytes:
    if len(args) % 2:
        raise wrong_arity("hmset")
    hset(session, args)
    return OK


@command("HSETNX", arity=4, flags="write denyoom fast", keys=(1,), group="hash", since="2.0.0")
def hsetnx(session: Session, args: Args) -> bytes:
    key = args[1]
    value = _writable(session, key)
    if args[2] in value:
        return ZERO
    _set(session, key, value, args[2:])
    session.db.changed(key, "h", "hset")
    return ONE


@command("HGET", arity=3, flags="readonly fast", keys=(1,), group="hash", since="2.0.0")
def hget(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], Hash)
    found = value.get(args[2]) if value is not None else None
    return session.resp.null if found is None else bulk(found)


@command("HMGET", arity=-3, flags="readonly fast", keys=(1,), group="hash", since="2.0.0")
def hmget(session: Session, args: Args) -> bytes:
    value: dict[bytes, bytes] = session.db.read_typed(args[1], Hash) or {}
    found = [value.get(field) for field in args[2:]]
    return array([session.resp.null if each is None else bulk(each) for each in found])


@command("HDEL", arity=-3, flags="write fast", keys=(1,), group="hash", since="2.0.0")
def hdel(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, Hash)
    if value is None:
        return ZERO
    removed = sum(value.pop(field, None) is not None for field in args[2:])
    if removed:
        database.changed(key, "h", "hdel", removed)
        if not value:
            database.remove_empty(key)
    return integer(removed)


@command("HLEN", arity=2, flags="readonly fast", keys=(1,), group="hash", since="2.0.0")
def hlen(session: Session, args: Args) -> bytes:
    return integer(len(session.db.read_typed(args[1], Hash) or ()))


@command("HSTRLEN", arity=3, flags="readonly fast", keys=(1,), group="hash", since="3.2.0")
def hstrlen(session: Session, args: Args) -> bytes:
    value: dict[bytes, bytes] = session.db.read_typed(args[1], Hash) or {}
    return integer(len(value.get(args[2], b"")))


@command("HEXISTS", arity=3, flags="readonly fast", keys=(1,), group="hash", since="2.0.0")
def hexists(session: Session, args: Args) -> bytes:
    return ONE if args[2] in (session.db.read_typed(args[1], Hash) or ()) else ZERO


@command("HKEYS", arity=2, flags="readonly", keys=(1,), group="hash", since="2.0.0")
def hkeys(session: Session, args: Args) -> bytes:
    return bulks(session.db.read_typed(args[1], Hash) or ())


@command("HVALS", arity=2, flags="readonly", keys=(1,), group="hash", since="2.0.0")
def hvals(session: Session, args: Args) -> bytes:
    return bulks((session.db.read_typed(args[1], Hash) or {}).values())


@command("HGETALL", arity=2, flags="readonly", keys=(1,), group="hash", since="2.0.0")
def hgetall(session: Session, args: Args) -> bytes:
    return session.resp.map_of_strings(session.db.read_typed(args[1], Hash) or {})


@command("HINCRBY", arity=4, flags="write denyoom fast", keys=(1,), group="hash", since="2.0.0")
def hincrby(session: Session, args: Args) -> bytes:
    key, field, by = args[1], args[2], parse_int(args[3])
    value = _writable(session, key)
    current = parse_int(value.get(field, b"0"), "ERR hash value is not an integer")
    if not LLONG_MIN <= current + by <= LLONG_MAX:
        raise CommandError(OVERFLOW)
    _set(session, key, value, [field, b"%d" % (current + by)])
    session.db.changed(key, "h", "hincrby")
    return integer(current + by)


@command("HINCRBYFLOAT", arity=4, flags="write denyoom fast", keys=(1,), group="hash", since="2.6.0")
def hincrbyfloat(session: Session, args: Args) -> bytes:
    key, field = args[1], args[2]
    if parse_long_double(args[3]) is None:
        raise CommandError("ERR value is NaN or Infinity")
    value = _writable(session, key)
    text = add_long_doubles(value.get(field, b"0"), args[3], "ERR hash value is not a float")
    if text is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    _set(session, key, value, [field, text])
    session.db.changed(key, "h", "hincrbyfloat")
    session.rewrite(b"HSET", key, field, text)
    return bulk(text)


@command("HRANDFIELD", arity=-2, flags="readonly", keys=(1,), group="hash", since="6.2.0")
def hrandfield(session: Session, args: Args) -> bytes:
    count, with_values = draw_count(args, b"WITHVALUES")
    value = session.db.read_typed(args[1], Hash)
    if value is None:
        return session.resp.null if count is None else array([])
    fields = list(value)
    if count is None:
        return bulk(random.choice(fields))
    resp3 = session.resp.version == 3
    if count < 0:
        if not with_values:
            return draws(session, -count, lambda: bulk(random.choice(fields)))
        head, items = b"*2\r\n" if resp3 else b"", list(value.items())
        return draws(session, -count, lambda: head + b"".join(map(bulk, random.choice(items))), 1 if resp3 else 2)
    fields = fields if count >= len(fields) else random.sample(fields, count)
    if not with_values:
        return bulks(fields)
    if resp3:
        return array([array([bulk(field), bulk(value[field])]) for field in fields])
    return bulks([part for field in fields for part in (field, value[field])])


@command("HSCAN", arity=-3, flags="readonly", keys=(1,), group="hash", since="2.8.0")
def hscan(session: Session, args: Args) -> bytes:
    return scan_value(
        session,
        args,
        Hash,
        lambda value: None if value.large else list(value),  # a listpack is returned whole
        lambda value: value,
        lambda value, field: (field, value[field]) if field in value else (),
    )
