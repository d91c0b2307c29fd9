"""Strings.

https://redis.io/docs/latest/commands/?group=string
"""

from __future__ import annotations

from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..config.config import Config
from ..errors import OVERFLOW, SYNTAX_ERROR, WRONGTYPE, CommandError, wrong_arity
from ..keyspace.types.strings import embedded, raw, spliced
from ..model.args import Options
from ..model.command import Args, command
from ..protocol.long_double import add_long_doubles
from ..protocol.numbers import LLONG_MAX, LLONG_MIN, parse_int
from ..protocol.resp import HEADS, LARGE, OK, ONE, ZERO, bulk, integer
from .batching import Column, strings, volatile

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__ = ["check_length"]

TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def check_length(session: Session, size: int) -> None:
    """Raises :class:`CommandError` for a string of more than ``proto-max-bulk-len`` bytes."""
    if size > session.services[Config].proto_max_bulk_len:
        raise CommandError(TOO_LONG)


def _changed(database: Database, key: bytes, event: str) -> None:
    """Do as :meth:`Database.changed`, without a call where nobody listens."""
    database.changes += 1
    if database.has_listeners:
        database.keyspace.notify_watchers(database, key)
        database.keyspace.notify(database, "$", event, key)


# -- reading


def _gets(session: Session, keys: Column) -> bytes | None:
    database = session.db
    if volatile(database, keys):
        return None
    try:
        output = strings(itemgetter(*keys)(database.data))
    except (KeyError, TypeError):  # not all are there, or of another type
        pass
    else:
        database.hits += len(keys)
        return output
    values: list[Any] = list(map(database.data.get, keys))
    null = session.resp.null
    misses = values.count(None)
    if misses and database.keyspace.heard:
        return None
    try:
        output = b"".join([null if value is None else bulk(value) for value in values])
    except TypeError:
        return None
    database.misses += misses
    database.hits += len(keys) - misses
    return output


@command("GET", arity=2, flags="readonly fast", keys=(1,), group="string", batch=(2, _gets))
def get(session: Session, args: Args) -> bytes:
    database = session.db
    key = args[1]
    value = database.data.get(key)
    if type(value) is bytes and (key not in database.expires or database.lives(key)):
        database.hits += 1
        size = len(value)
        return HEADS[size] + value + b"\r\n" if size < 1024 else bulk(value)
    value = database.read_typed(key, bytes)
    return session.resp.null if value is None else bulk(value)


@command("MGET", arity=-2, flags="readonly fast", keys=(1, -1, 1), group="string")
def mget(session: Session, args: Args) -> bytes:
    null, database, keys = session.resp.null, session.db, args[1:]
    if database.keyspace.heard or volatile(database, keys):
        values = [database.read(key) for key in keys]
    else:
        values = [*map(database.data.get, keys)]
        misses = values.count(None)
        database.misses += misses
        database.hits += len(keys) - misses
    parts = [b"*%d\r\n" % len(values)]
    for value in values:
        if not isinstance(value, bytes):
            parts.append(null)
        elif len(value) < 1024:
            parts += HEADS[len(value)], value, b"\r\n"
        else:
            parts.append(bulk(value))
    return b"".join(parts)


@command("STRLEN", arity=2, flags="readonly fast", keys=(1,), group="string", since="2.2.0")
def strlen(session: Session, args: Args) -> bytes:
    return integer(len(session.db.read_typed(args[1], bytes) or b""))


@command("GETRANGE", arity=4, flags="readonly", keys=(1,), group="string", since="2.4.0")
def getrange(session: Session, args: Args) -> bytes:
    first, last = parse_int(args[2]), parse_int(args[3])
    value = session.db.read_typed(args[1], bytes) or b""
    size = len(value)
    if first < 0 and last < 0 and first > last:
        return bulk(b"")
    start = max(first + size if first < 0 else first, 0)
    stop = max(last + size if last < 0 else last, 0) + 1
    return bulk(value[start:stop] if size < LARGE else memoryview(value)[start:stop])


@command("SUBSTR", arity=4, flags="readonly", keys=(1,), group="string")
def substr(session: Session, args: Args) -> bytes:
    return getrange(session, args)


# -- setting


def _sets(session: Session, keys: Column, values: Column) -> bytes | None:
    database = session.db
    if database.blocked or database.has_listeners or volatile(database, keys):
        return None
    database.data.update(zip(keys, values, strict=True))
    database.changes += len(keys)
    return OK * len(keys)


@command("SET", arity=-3, flags="write denyoom", keys=(1,), group="string", batch=(3, _sets))
def set_(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    if len(args) > 3:
        factor = RELATIVE.get(args[3])
        if factor is not None and len(args) == 5 and not database.has_listeners:
            return _set_volatile(session, key, args[2], _expiry_in(session, factor, args[4], "set"))
        return _set_with_options(session, args)
    if database.blocked:
        database.put(key, args[2])
    else:
        database.data[key] = args[2]
        if database.expires:
            database.expires.pop(key, None)
    database.changes += 1
    if database.has_listeners:
        database.keyspace.notify_watchers(database, key)
        database.keyspace.notify(database, "$", "set", key)
    return OK


UNITS = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}
"""Milliseconds of the unit, and whether the time is from now."""


RELATIVE = {b"EX": 1000, b"ex": 1000, b"PX": 1, b"px": 1}
"""Milliseconds of the usual units, as they usually come."""


def _expiry_in(session: Session, factor: int, text: bytes, name: str) -> int:
    """Return the Unix time in milliseconds at which ``text`` times ``factor`` of them are over. Raises
    :class:`CommandError`."""
    number = parse_int(text)
    when = number * factor + session.db.keyspace.clock.ms()
    if number <= 0 or when > LLONG_MAX:
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    return when


def _set_volatile(session: Session, key: bytes, value: bytes, when: int) -> bytes:
    """Set a key that expires, where nobody has to be notified."""
    database = session.db
    if database.blocked:
        database.put(key, value)
    else:
        database.data[key] = value
    database.expires[key] = when
    database.changes += 1
    if database.keyspace.propagate is not None:
        session.rewrite(b"SET", key, value, b"PXAT", b"%d" % when)
    return OK


def _expiry_at(session: Session, unit: bytes, text: bytes, name: str) -> int:
    """Unix milliseconds. Raises :class:`CommandError`."""
    factor, relative = UNITS[unit]
    if relative:
        return _expiry_in(session, factor, text, name)
    number = parse_int(text)
    if number <= 0 or number * factor > LLONG_MAX:
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    return number * factor


def _options(args: Args, at: int, flags: tuple[bytes, ...]) -> tuple[set[bytes], tuple[bytes, bytes] | None]:
    """The flags among the words from ``args[at]`` on, and an expiry time's unit and text, of which the last one counts.
    Raises :class:`CommandError` for words that are unknown or exclude each other."""
    options: set[bytes] = set()
    when: tuple[bytes, bytes] | None = None
    words = Options(args, at)
    for option in words:
        if option in UNITS:
            operand = words.word()
            if when is not None and when[0] != option:
                raise words.unknown()
            when = option, operand
        elif option in flags:
            options.add(option)
        else:
            raise words.unknown()
    if {b"NX", b"XX"} <= options or (when is not None and options & {b"KEEPTTL", b"PERSIST"}):
        raise CommandError(SYNTAX_ERROR)
    return options, when


def _set_with_options(session: Session, args: Args) -> bytes:
    options, when = _options(args, 3, (b"NX", b"XX", b"GET", b"KEEPTTL"))
    expiry = _expiry_at(session, *when, "set") if when is not None else None
    reply = _set(session, args[1], args[2], options, expiry)
    if b"GET" in options and expiry is None:
        session.rewrite(*args[:3], *(word for word in args[3:] if word.upper() != b"GET"))
    return reply


def _set(session: Session, key: bytes, value: bytes, options: set[bytes], expiry: int | None) -> bytes:
    database = session.db
    before = database.read(key) if b"GET" in options else database.lookup(key)
    reply = OK
    if b"GET" in options:
        if before is not None and not isinstance(before, bytes):
            raise CommandError(WRONGTYPE)
        reply = session.resp.null if before is None else bulk(before)
    if (before is not None and b"NX" in options) or (before is None and b"XX" in options):
        return reply if b"GET" in options else session.resp.null
    kept = database.expires.get(key) if b"KEEPTTL" in options else None
    database.put(key, value)
    if expiry is not None:
        database.set_expiry(key, expiry)
    elif kept is not None:
        database.set_expiry(key, kept)
    _changed(database, key, "set")
    if expiry is not None:
        if database.has_listeners:
            database.keyspace.notify(database, "g", "expire", key)
        session.rewrite(b"SET", key, value, b"PXAT", b"%d" % expiry)
    return reply


@command("SETNX", arity=3, flags="write denyoom fast", keys=(1,), group="string")
def setnx(session: Session, args: Args) -> bytes:
    return ONE if _set(session, args[1], args[2], {b"NX"}, None) is OK else ZERO


@command("SETEX", arity=4, flags="write denyoom", keys=(1,), group="string", since="2.0.0")
def setex(session: Session, args: Args) -> bytes:
    when = _expiry_in(session, 1000, args[2], "setex")
    if not session.db.has_listeners:
        return _set_volatile(session, args[1], args[3], when)
    return _set(session, args[1], args[3], set(), when)


@command("PSETEX", arity=4, flags="write denyoom", keys=(1,), group="string", since="2.6.0")
def psetex(session: Session, args: Args) -> bytes:
    when = _expiry_in(session, 1, args[2], "psetex")
    if not session.db.has_listeners:
        return _set_volatile(session, args[1], args[3], when)
    return _set(session, args[1], args[3], set(), when)


@command("GETSET", arity=3, flags="write denyoom fast", keys=(1,), group="string")
def getset(session: Session, args: Args) -> bytes:
    reply = _set(session, args[1], args[2], {b"GET"}, None)
    session.rewrite(b"SET", args[1], args[2])
    return reply


@command("GETDEL", arity=2, flags="write fast", keys=(1,), group="string", since="6.2.0")
def getdel(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.read_typed(key, bytes)
    if value is None:
        return session.resp.null
    database.remove(key)
    database.changed(key, "g", "del")
    session.rewrite(b"DEL", key)
    return bulk(value)


@command("GETEX", arity=-2, flags="write fast", keys=(1,), group="string", since="6.2.0")
def getex(session: Session, args: Args) -> bytes:
    options, when = _options(args, 2, (b"PERSIST",))
    database, key = session.db, args[1]
    value = database.read_typed(key, bytes)
    if value is None:
        return session.resp.null
    expiry = _expiry_at(session, *when, "getex") if when is not None else None
    if expiry is not None and expiry <= database.keyspace.clock.ms():
        database.remove(key)
        database.changed(key, "g", "del")
        session.rewrite(b"DEL", key)
    elif expiry is not None:
        database.set_expiry(key, expiry)
        database.changed(key, "g", "expire")
        session.rewrite(b"PEXPIREAT", key, b"%d" % expiry)
    elif options and database.persist(key):
        database.changed(key, "g", "persist")
        session.rewrite(b"PERSIST", key)
    return bulk(value)


@command("MSET", arity=-3, flags="write denyoom", keys=(1, -1, 2), group="string")
def mset(session: Session, args: Args) -> bytes:
    if len(args) % 2 == 0:
        raise wrong_arity("mset")
    _mset(session.db, args)
    return OK


def _mset(database: Database, args: Args) -> None:
    if not (database.expires or database.blocked or database.has_listeners):
        database.data.update(zip(args[1::2], args[2::2], strict=True))
        database.changes += len(args) // 2
        return
    for at in range(1, len(args), 2):
        database.put(args[at], args[at + 1])
        _changed(database, args[at], "set")


@command("MSETNX", arity=-3, flags="write denyoom", keys=(1, -1, 2), group="string")
def msetnx(session: Session, args: Args) -> bytes:
    if len(args) % 2 == 0:
        raise wrong_arity("msetnx")
    database = session.db
    if any(database.lookup(key) is not None for key in args[1::2]):
        return ZERO
    _mset(database, args)
    return ONE


# -- changing


def _replace(database: Database, key: bytes, value: bytes, event: str) -> None:
    """Give a key another value; its expiry time stays."""
    if key in database.data:
        database.data[key] = value
    else:
        database.add(key, value)
    _changed(database, key, event)


@command("APPEND", arity=3, flags="write denyoom fast", keys=(1,), group="string", since="2.0.0")
def append(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    before = database.typed(key, bytes)
    value = before or b""
    check_length(session, len(value) + len(args[2]))
    _replace(database, key, value + args[2] if before is None else raw(value + args[2]), "append")
    return integer(len(value) + len(args[2]))


@command("SETRANGE", arity=4, flags="write denyoom", keys=(1,), group="string", since="2.2.0")
def setrange(session: Session, args: Args) -> bytes:
    offset, piece = parse_int(args[2]), args[3]
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    database, key = session.db, args[1]
    value = database.typed(key, bytes) or b""
    if not piece:
        return integer(len(value))
    check_length(session, offset + len(piece))
    _replace(database, key, spliced(value, offset, piece), "setrange")
    return integer(max(len(value), offset + len(piece)))


COUNTING = {b"%d" % number: (b"%d" % (number + 1), b":%d\r\n" % (number + 1)) for number in range(1024)}
"""The result of INCR on a small number, and its reply; Redis has objects of small integers ready, too."""


def count_up(value: bytes) -> tuple[bytes, bytes] | None:
    """The same for any number that is not negative and has less than 19 digits; None for what is none."""
    if not value.isdigit() or len(value) > 18 or value[0] == ord("0"):
        return None
    text = b"%d" % (int(value) + 1)
    return text, b":" + text + b"\r\n"


def _increment(session: Session, key: bytes, by: int) -> bytes:
    database = session.db
    value = database.data.get(key)
    if type(value) is not bytes or (key in database.expires and not database.lives(key)):
        value = database.typed(key, bytes)
    before = 0 if value is None else parse_int(value)
    after = before + by
    if not LLONG_MIN <= after <= LLONG_MAX:
        raise CommandError(OVERFLOW)
    text = b"%d" % after
    if value is None:
        database.add(key, text)
    else:
        database.data[key] = text
    database.changes += 1
    if database.has_listeners:
        database.keyspace.notify_watchers(database, key)
        database.keyspace.notify(database, "$", "incrby", key)
    return b":" + text + b"\r\n"


def _incrs(session: Session, keys: Column) -> bytes | None:
    database = session.db
    if database.blocked or database.has_listeners or volatile(database, keys) or len(set(keys)) < len(keys):
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


@command("INCR", arity=2, flags="write denyoom fast", keys=(1,), group="string", batch=(2, _incrs))
def incr(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if type(value) is bytes and not database.has_listeners and (key not in database.expires or database.lives(key)):
        counted = COUNTING.get(value) or count_up(value)
        if counted is not None:
            database.data[key], reply = counted
            database.changes += 1
            return reply
    return _increment(session, args[1], 1)


@command("DECR", arity=2, flags="write denyoom fast", keys=(1,), group="string")
def decr(session: Session, args: Args) -> bytes:
    return _increment(session, args[1], -1)


@command("INCRBY", arity=3, flags="write denyoom fast", keys=(1,), group="string")
def incrby(session: Session, args: Args) -> bytes:
    return _increment(session, args[1], parse_int(args[2]))


@command("DECRBY", arity=3, flags="write denyoom fast", keys=(1,), group="string")
def decrby(session: Session, args: Args) -> bytes:
    by = parse_int(args[2])
    if by == LLONG_MIN:
        raise CommandError("ERR decrement would overflow")
    return _increment(session, args[1], -by)


@command("INCRBYFLOAT", arity=3, flags="write denyoom fast", keys=(1,), group="string", since="2.6.0")
def incrbyfloat(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, bytes)
    text = add_long_doubles(value if value is not None else b"0", args[2])
    if text is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    _replace(database, key, embedded(text), "incrbyfloat")
    session.rewrite(b"SET", key, text, b"KEEPTTL")
    return bulk(text)
