"""Expiry times of keys.

https://redis.io/docs/latest/commands/expire/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CommandError
from ..model.command import Args, command
from ..protocol.numbers import LLONG_MAX, LLONG_MIN, parse_int
from ..protocol.resp import ONE, ZERO, integer

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

USUAL_DIGITS = 12
"""Digits of a number of seconds that is far from every limit."""


@command("EXPIRE", arity=-3, flags="write fast", keys=(1,), group="generic")
def expire(session: Session, args: Args) -> bytes:
    database, key, text = session.db, args[1], args[2]
    if (
        len(args) == 3
        and key in database.data
        and not database.has_listeners
        and database.keyspace.propagate is None
        and text.isdigit()
        and len(text) <= USUAL_DIGITS
        and text >= b"1"
    ):
        now = database.ms()
        if key not in database.expires or database.expires[key] > now:
            database.expires[key] = now + int(text) * 1000
            database.changes += 1
            return ONE
    return _expire(session, args, 1000, relative=True)


@command("PEXPIRE", arity=-3, flags="write fast", keys=(1,), group="generic", since="2.6.0")
def pexpire(session: Session, args: Args) -> bytes:
    return _expire(session, args, 1, relative=True)


@command("EXPIREAT", arity=-3, flags="write fast", keys=(1,), group="generic", since="1.2.0")
def expireat(session: Session, args: Args) -> bytes:
    return _expire(session, args, 1000, relative=False)


@command("PEXPIREAT", arity=-3, flags="write fast", keys=(1,), group="generic", since="2.6.0")
def pexpireat(session: Session, args: Args) -> bytes:
    return _expire(session, args, 1, relative=False)


def _expire(session: Session, args: Args, unit: int, relative: bool) -> bytes:
    options = _options(args[3:]) if len(args) > 3 else None
    database, key = session.db, args[1]
    keyspace = database.keyspace
    now = keyspace.clock.ms()
    when = parse_int(args[2]) * unit
    if relative:
        when += now
    # A time so far that a 64-bit millisecond overflows; so far back, it cannot be written either.
    if not 0 <= when <= SURELY and (
        not LLONG_MIN <= when <= LLONG_MAX or not -(-LLONG_MIN // unit) <= int(args[2]) <= LLONG_MAX // unit
    ):
        raise CommandError(f"ERR invalid expire time in '{args[0].decode().lower()}' command")
    if database.lookup(key) is None or (options and not _allowed(options, database.expires.get(key), when)):
        return ZERO
    if when <= now:
        database.discount(key)
        database.remove(key)
        database.changed(key, "g", "del")
        session.rewrite(b"DEL", key)
        return ONE
    database.expires[key] = when
    database.changes += 1
    if database.has_listeners:
        keyspace.notify_watchers(database, key)
        keyspace.notify(database, "g", "expire", key)
    if keyspace.propagate is not None:
        session.rewritten.append([b"PEXPIREAT", key, b"%d" % when, *args[3:]])  # as ``rewrite`` would
    return ONE


SURELY = LLONG_MAX // 2000
"""Unix milliseconds up to which neither a time nor its distance from now overflows, whatever the unit."""


def _options(words: Args) -> set[bytes]:
    options = {word.upper() for word in words}
    for word in words:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(f"ERR Unsupported option {word.decode('utf-8', 'surrogateescape')}")
    if b"NX" in options and len(options) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= options:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return options


def _allowed(options: set[bytes], current: int | None, when: int) -> bool:
    """Tell whether the options let a key with this expiry time (None: it has none) get another one."""
    if b"NX" in options:
        return current is None
    if b"XX" in options and current is None:
        return False
    if b"GT" in options:
        return current is not None and when > current
    return not (b"LT" in options and current is not None and when >= current)


@command("PERSIST", arity=2, flags="write fast", keys=(1,), group="generic", since="2.2.0")
def persist(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    if database.lookup(key) is None or not database.persist(key):
        return ZERO
    database.changed(key, "g", "persist")
    return ONE


@command("TTL", arity=2, flags="readonly fast", keys=(1,), group="generic")
def ttl(session: Session, args: Args) -> bytes:
    return _remaining(session, args[1], 1000)


@command("PTTL", arity=2, flags="readonly fast", keys=(1,), group="generic", since="2.6.0")
def pttl(session: Session, args: Args) -> bytes:
    return _remaining(session, args[1], 1)


@command("EXPIRETIME", arity=2, flags="readonly fast", keys=(1,), group="generic", since="7.0.0")
def expiretime(session: Session, args: Args) -> bytes:
    return _remaining(session, args[1], 1000, absolute=True)


@command("PEXPIRETIME", arity=2, flags="readonly fast", keys=(1,), group="generic", since="7.0.0")
def pexpiretime(session: Session, args: Args) -> bytes:
    return _remaining(session, args[1], 1, absolute=True)


def _remaining(session: Session, key: bytes, unit: int, absolute: bool = False) -> bytes:
    database = session.db
    if database.read(key) is None:
        return integer(-2)
    when = database.expires.get(key)
    if when is None:
        return integer(-1)
    left = when if absolute else max(0, when - database.keyspace.clock.ms())
    return integer((left + unit // 2) // unit)
