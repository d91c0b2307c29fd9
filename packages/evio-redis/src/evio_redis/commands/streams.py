"""Streams: adding entries, reading ranges, deleting and trimming.

https://redis.io/docs/latest/commands/?group=stream
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import NO_SUCH_KEY, SYNTAX_ERROR, CommandError, wrong_arity
from ..keyspace.types.stream_ids import LAST, SEQUENCE, interval, parse_id, parse_partial_id, show_id
from ..keyspace.types.streams import Stream
from ..model.command import Args, command
from ..protocol.numbers import parse_int
from ..protocol.resp import EMPTY_ARRAY, HEADS, OK, ZERO, integer

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

TOO_LOW = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
EXHAUSTED = "ERR The stream has exhausted the last possible ID, unable to add more items"

NODES_AT_ONCE = 100
"""Nodes that approximate trimming removes at most, unless it is given a limit."""

FEWEST_TRIMMED, MOST_TRIMMED = 10_000, 1_000_000
"""Entries, of so many nodes: if nodes have no limit, and at most."""


# -- options of XADD and XTRIM


@dataclass(slots=True)
class _Trim:
    """By what a stream is trimmed, and where in the arguments that is. ``limit`` is in entries; 0 is none."""

    at: int
    by_id: bool
    bound: int
    approximate: bool
    limit: int = 0


def _trim_options(
    session: Session, args: Args, at: int, xadd: bool
) -> tuple[_Trim | None, bool, int, int | None, bool]:
    """The options from ``args[at]`` on: the trimming, NOMKSTREAM, and of XADD where the ID is, which one (None for
    any), and whether it is complete. Raises :class:`CommandError`."""
    trim: _Trim | None = None
    limit: int | None = None
    only_existing, wanted, complete = False, None, True
    last = len(args) - 1
    while at <= last:
        word = args[at].upper()
        if word in (b"MAXLEN", b"MINID") and at < last:
            if trim is not None:
                raise CommandError("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
            sign = args[at + 1] in (b"~", b"=") and at + 1 < last
            approximate = sign and args[at + 1] == b"~"
            at += 1 + sign
            trim = _Trim(at, word == b"MINID", _bound(word, args[at]), approximate)
        elif word == b"LIMIT" and at < last:
            at += 1
            limit = parse_int(args[at])
            if limit < 0:
                raise CommandError("ERR The LIMIT argument must be >= 0.")
        elif xadd and word == b"NOMKSTREAM":
            only_existing = True
        elif xadd:
            if args[at] != b"*":
                wanted, complete = parse_partial_id(args[at])
            break
        else:
            raise CommandError(SYNTAX_ERROR)
        at += 1
    if trim is None and limit:
        raise CommandError("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if trim is None and not xadd:
        raise CommandError("ERR syntax error, XTRIM must be called with a trimming strategy")
    if session.conn is not None:  # else the log is loaded, in which LIMIT has no meaning any more
        if limit is not None and (trim is None or not trim.approximate):
            raise CommandError("ERR syntax error, LIMIT cannot be used without the special ~ option")
        if trim is not None and trim.approximate:
            trim.limit = _usual_limit(session) if limit is None else limit
    return trim, only_existing, at, wanted, complete


def _bound(word: bytes, text: bytes) -> int:
    if word == b"MINID":
        return parse_id(text)
    length = parse_int(text)
    if length < 0:
        raise CommandError("ERR The MAXLEN argument must be >= 0.")
    return length


def _usual_limit(session: Session) -> int:
    usual = NODES_AT_ONCE * session.services[Config].stream_node_max_entries
    return min(usual, MOST_TRIMMED) if usual else FEWEST_TRIMMED


def _apply(trim: _Trim, value: Stream) -> int:
    """Trim a stream; returns how many entries were removed."""
    remove = value.trim_below if trim.by_id else value.trim_to
    return remove(trim.bound, trim.approximate, trim.limit)


def _exactly(args: Args, trim: _Trim, value: Stream) -> Args:
    """The arguments with which the log has the same trimmed: approximate trimming depends on where nodes end."""
    words = list(args)
    words[trim.at - 1] = b"="
    words[trim.at] = show_id(value.first_id if value.length else LAST) if trim.by_id else b"%d" % value.length
    return words


# -- adding


@command("XADD", arity=-5, flags="write denyoom fast", keys=(1,), group="stream", since="5.0.0")
def xadd(session: Session, args: Args) -> bytes:
    trim, only_existing, at, wanted, complete = None, False, 2, None, True
    if args[2] != b"*":
        trim, only_existing, at, wanted, complete = _trim_options(session, args, 2, xadd=True)
    words = args[at + 1 :]
    if not words or len(words) % 2:
        raise wrong_arity("xadd")
    if wanted == 0 and complete:
        raise CommandError("ERR The ID specified in XADD must be greater than 0-0")
    database, key = session.db, args[1]
    value = database.data.get(key)
    if type(value) is not Stream or (key in database.expires and not database.lives(key)):
        value = database.typed(key, Stream)
    if value is None:
        if only_existing:
            return session.resp.null
        value = Stream()
    now, last = database.ms(), value.last_id
    entry_id = now << 64
    if wanted is None and last < entry_id:  # the usual
        shown = b"%d-0" % now
    elif wanted is None and last >> 64 == now and last & SEQUENCE < SEQUENCE:
        entry_id, shown = last + 1, b"%d-%d" % (now, (last & SEQUENCE) + 1)
    else:
        entry_id = _next_id(now, value, wanted, complete)
        shown = show_id(entry_id)
    config = session.services[Config]
    try:
        value.append(entry_id, words, config.stream_node_max_bytes, config.stream_node_max_entries)
    except ValueError:
        raise CommandError("ERR Elements are too large to be stored") from None
    if value.added == 1 and key not in database.data:
        database.add(key, value)
    database.changes += 1
    if database.has_listeners:
        database.keyspace.notify_watchers(database, key)
        database.keyspace.notify(database, "t", "xadd", key)
    if trim is not None and _apply(trim, value) and database.has_listeners:
        database.keyspace.notify(database, "t", "xtrim", key)
    if database.keyspace.propagate is not None:
        logged = args
        if trim is not None and trim.approximate:
            logged = _exactly(args, trim, value)
        if wanted is None or not complete:
            logged = [*logged[:at], shown, *logged[at + 1 :]]
        if logged is not args:
            session.rewrite(*logged)
    if database.blocked and key in database.blocked:
        database.keyspace.ready(database, key)
    return HEADS[len(shown)] + shown + b"\r\n"


def _next_id(now: int, value: Stream, wanted: int | None, complete: bool) -> int:
    """The ID of a new entry at ``now``, in milliseconds; ``wanted`` is None for any, and only the milliseconds if it is
    not ``complete``. Raises :class:`CommandError`."""
    last = value.last_id
    if last == LAST:
        raise CommandError(EXHAUSTED)
    if wanted is None:
        return max(now << 64, last + 1)
    if not complete and wanted >> 64 == last >> 64:
        if last & SEQUENCE == SEQUENCE:
            raise CommandError(TOO_LOW)
        return last + 1
    if wanted <= last:
        raise CommandError(TOO_LOW)
    return wanted


@command("XSETID", arity=-3, flags="write denyoom fast", keys=(1,), group="stream", since="5.0.0")
def xsetid(session: Session, args: Args) -> bytes:
    last_id = parse_id(args[2])
    added: int | None = None
    max_deleted = 0
    words = iter(args[3:])
    for word in words:
        name, text = word.upper(), next(words, None)
        if name == b"ENTRIESADDED" and text is not None:
            added = parse_int(text)
            if added < 0:
                raise CommandError("ERR entries_added must be positive")
        elif name == b"MAXDELETEDID" and text is not None:
            max_deleted = parse_id(text)
            if last_id < max_deleted:
                raise CommandError("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
        else:
            raise CommandError(SYNTAX_ERROR)
    database, key = session.db, args[1]
    value = database.typed(key, Stream)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    if value.length:
        if last_id < value.last_entry_id:
            raise CommandError("ERR The ID specified in XSETID is smaller than the target stream top item")
        if added is not None and added < value.length:
            raise CommandError("ERR The entries_added specified in XSETID is smaller than the target stream length")
    value.last_id = last_id
    if added is not None:
        value.added = added
    if max_deleted:
        value.max_deleted = max_deleted
    database.changes += 1
    if database.has_listeners:
        database.keyspace.notify(database, "t", "xsetid", key)
    return OK


# -- reading


@command("XLEN", arity=2, flags="readonly fast", keys=(1,), group="stream", since="5.0.0")
def xlen(session: Session, args: Args) -> bytes:
    value = session.db.typed(args[1], Stream)
    return integer(value.length) if value is not None else ZERO


def _range(session: Session, args: Args, start: bytes, stop: bytes, backwards: bool) -> bytes:
    first, last = interval(start, stop)
    count: int | None = None
    if len(args) > 4:
        words = iter(args[4:])
        for word in words:
            text = next(words, None)
            if word.upper() != b"COUNT" or text is None:
                raise CommandError(SYNTAX_ERROR)
            count = max(0, parse_int(text))
    value = session.db.typed(args[1], Stream)
    if value is None:
        return EMPTY_ARRAY
    if count == 0:
        return session.resp.null_array
    return value.reply(first, last, count, backwards)


@command("XRANGE", arity=-4, flags="readonly", keys=(1,), group="stream", since="5.0.0")
def xrange(session: Session, args: Args) -> bytes:
    return _range(session, args, args[2], args[3], backwards=False)


@command("XREVRANGE", arity=-4, flags="readonly", keys=(1,), group="stream", since="5.0.0")
def xrevrange(session: Session, args: Args) -> bytes:
    return _range(session, args, args[3], args[2], backwards=True)


# -- removing


@command("XDEL", arity=-3, flags="write fast", keys=(1,), group="stream", since="5.0.0")
def xdel(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, Stream)
    if value is None:
        return ZERO
    ids = [parse_id(text) for text in args[2:]]
    removed = sum(value.delete(entry_id) for entry_id in ids)
    if removed:
        database.changed(key, "t", "xdel", removed)
    return integer(removed)


@command("XTRIM", arity=-4, flags="write", keys=(1,), group="stream", since="5.0.0")
def xtrim(session: Session, args: Args) -> bytes:
    trim, *_ = _trim_options(session, args, 2, xadd=False)
    assert trim is not None
    database, key = session.db, args[1]
    value = database.typed(key, Stream)
    if value is None:
        return ZERO
    removed = _apply(trim, value)
    if removed:
        if trim.approximate:
            session.rewrite(*_exactly(args, trim, value))
        database.changed(key, "t", "xtrim", removed)
    return integer(removed)
