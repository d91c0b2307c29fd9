"""Sorted sets, but for ranges and set algebra.

https://redis.io/docs/latest/commands/?group=sorted-set
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from ..clients.blocking import parse_timeout
from ..config.config import Config
from ..errors import NOT_POSITIVE, SYNTAX_ERROR, CommandError
from ..keyspace.types.zsets import Pair, SortedSet
from ..model.args import mpop_options, numkeys_positions
from ..model.command import Args, command
from ..protocol.numbers import format_double, parse_double, to_int
from ..protocol.resp import ONE, ZERO, array, bulk, integer
from .draws import draw_count, draws
from .pops import Pop, pop_first, pop_or_wait
from .scans import scan_value
from .zset_ranges import pairs_reply

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__: list[str] = []

NAN_SCORE = "ERR resulting score is not a number (NaN)"
ZADD_OPTIONS = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))


@command("ZADD", arity=-4, flags="write denyoom fast", keys=(1,), group="sorted-set", since="1.2.0")
def zadd(session: Session, args: Args) -> bytes:
    if len(args) == 4:
        database, key, member = session.db, args[1], args[3]
        value = database.data.get(key)
        if (
            type(value) is SortedSet
            and not database.has_listeners
            and (key not in database.expires or database.lives(key))
        ):
            score = parse_double(args[2])
            current = value.scores.get(member)
            if current == score:
                return ZERO
            if not value.large:
                if current is None:
                    limits = session.services[Config]
                    value.grow(member, limits.zset_max_listpack_entries, limits.zset_max_listpack_value)
                if not value.large:
                    score += 0.0  # a listpack has no -0
            if value.blocks is None:
                value.scores[member] = score
            else:
                value.set(member, score)
            database.changes += 1
            return ONE if current is None else ZERO
    at = 2
    options: set[bytes] = set()
    while at < len(args) and args[at].upper() in ZADD_OPTIONS:
        options.add(args[at].upper())
        at += 1
    if (len(args) - at) % 2 or at == len(args):
        raise CommandError(SYNTAX_ERROR)
    if options:
        _check_options(options, len(args) - at)
    pairs = [(args[i + 1], parse_double(args[i])) for i in range(at, len(args), 2)]
    return _add(session, args[1], pairs, options, "zadd")


def _check_options(options: set[bytes], words: int) -> None:
    if {b"NX", b"XX"} <= options:
        raise CommandError("ERR XX and NX options at the same time are not compatible")
    if len(options & {b"GT", b"LT", b"NX"}) > 1:
        raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in options and words > 2:
        raise CommandError("ERR INCR option supports a single increment-element pair")


def _add(session: Session, key: bytes, pairs: list[tuple[bytes, float]], options: set[bytes], event: str) -> bytes:
    database = session.db
    value = database.typed(key, SortedSet)
    if value is None:
        if b"XX" in options:
            return session.resp.null if b"INCR" in options else ZERO
        value = SortedSet()
    incr = b"INCR" in options
    added = changed = 0
    result: float | None = None
    config = session.services[Config]
    for member, given in pairs:
        current = value.scores.get(member)
        score = given if current is None or not incr else current + given
        if math.isnan(score):
            raise CommandError(NAN_SCORE)
        if options and not _wanted(options, current, score):
            continue
        result = score
        if current is None:
            value.grow(member, config.zset_max_listpack_entries, config.zset_max_listpack_value)
            value.set(member, score if value.large else score + 0.0)
            added += 1
        elif current != score:
            value.set(member, score if value.large else score + 0.0)  # a listpack has no -0
            changed += 1
    if added and added == len(value):
        database.add(key, value)
    if added or changed:
        database.changed(key, "z", "zincr" if incr else event, added + changed)
    if incr:
        return session.resp.null if result is None else session.resp.double(result)
    return integer(added + changed if b"CH" in options else added)


def _wanted(options: set[bytes], current: float | None, score: float) -> bool:
    if current is None:
        return b"XX" not in options
    if b"NX" in options:
        return False
    return not ((b"GT" in options and score <= current) or (b"LT" in options and score >= current))


@command("ZINCRBY", arity=4, flags="write denyoom fast", keys=(1,), group="sorted-set", since="1.2.0")
def zincrby(session: Session, args: Args) -> bytes:
    return _add(session, args[1], [(args[3], parse_double(args[2]))], {b"INCR"}, "zincr")


@command("ZREM", arity=-3, flags="write fast", keys=(1,), group="sorted-set", since="1.2.0")
def zrem(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.typed(key, SortedSet)
    if value is None:
        return ZERO
    removed = sum(value.discard(member) for member in args[2:])
    if removed:
        _removed(database, key, value, "zrem", removed)
    return integer(removed)


def _removed(database: Database, key: bytes, value: SortedSet, event: str, count: int) -> None:
    database.changed(key, "z", event, count)
    if not len(value):
        database.remove_empty(key)


@command("ZSCORE", arity=3, flags="readonly fast", keys=(1,), group="sorted-set", since="1.2.0")
def zscore(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], SortedSet)
    score = value.scores.get(args[2]) if value is not None else None
    return session.resp.null if score is None else session.resp.double(score)


@command("ZMSCORE", arity=-3, flags="readonly fast", keys=(1,), group="sorted-set", since="6.2.0")
def zmscore(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], SortedSet)
    scores = value.scores if value is not None else {}
    resp = session.resp
    return array([resp.double(scores[each]) if each in scores else resp.null for each in args[2:]])


@command("ZCARD", arity=2, flags="readonly fast", keys=(1,), group="sorted-set", since="1.2.0")
def zcard(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], SortedSet)
    return integer(len(value)) if value is not None else ZERO


def _rank(session: Session, args: Args, reverse: bool) -> bytes:
    value = session.db.read_typed(args[1], SortedSet)
    score = value.scores.get(args[2]) if value is not None else None
    if value is None or score is None:
        return session.resp.null
    rank = value.position((score, args[2]))
    return integer(len(value) - 1 - rank if reverse else rank)


@command("ZRANK", arity=3, flags="readonly fast", keys=(1,), group="sorted-set", since="2.0.0")
def zrank(session: Session, args: Args) -> bytes:
    return _rank(session, args, reverse=False)


@command("ZREVRANK", arity=3, flags="readonly fast", keys=(1,), group="sorted-set", since="2.0.0")
def zrevrank(session: Session, args: Args) -> bytes:
    return _rank(session, args, reverse=True)


# -- popping


def _pop(database: Database, key: bytes, value: SortedSet, highest: bool, count: int) -> list[Pair]:
    """Remove the lowest or highest; in that order."""
    size = len(value)
    count = min(count, size)
    found = value.remove_ranks(size - count, size)[::-1] if highest else value.remove_ranks(0, count)
    _removed(database, key, value, "zpopmax" if highest else "zpopmin", count)
    return found


def _pop_command(session: Session, args: Args, highest: bool) -> bytes:
    if len(args) > 3:
        raise CommandError(SYNTAX_ERROR)
    count = None
    if len(args) == 3:
        count = to_int(args[2])
        if count is None or count < 0:
            raise CommandError(NOT_POSITIVE)
    value = session.db.typed(args[1], SortedSet)
    if value is None or count == 0:
        return array([])
    found = _pop(session.db, args[1], value, highest, 1 if count is None else count)
    if count is None:
        ((score, member),) = found
        return array([bulk(member), session.resp.double(score)])
    return pairs_reply(session, found, True)


@command("ZPOPMIN", arity=-2, flags="write fast", keys=(1,), group="sorted-set", since="5.0.0")
def zpopmin(session: Session, args: Args) -> bytes:
    return _pop_command(session, args, highest=False)


@command("ZPOPMAX", arity=-2, flags="write fast", keys=(1,), group="sorted-set", since="5.0.0")
def zpopmax(session: Session, args: Args) -> bytes:
    return _pop_command(session, args, highest=True)


def _bzpop(session: Session, args: Args, highest: bool) -> bytes:
    database = session.db

    def pop(key: bytes) -> bytes | None:
        value = database.typed(key, SortedSet)
        if value is None:
            return None
        ((score, member),) = _pop(database, key, value, highest, 1)
        session.rewrite(b"ZPOPMAX" if highest else b"ZPOPMIN", key)
        return array([bulk(key), bulk(member), session.resp.double(score)])

    return pop_or_wait(session, args[1:-1], SortedSet, parse_timeout(args[-1]), pop)


@command("BZPOPMIN", arity=-3, flags="write noscript blocking fast", keys=(1, -2, 1), group="sorted-set", since="5.0.0")
def bzpopmin(session: Session, args: Args) -> bytes:
    return _bzpop(session, args, highest=False)


@command("BZPOPMAX", arity=-3, flags="write noscript blocking fast", keys=(1, -2, 1), group="sorted-set", since="5.0.0")
def bzpopmax(session: Session, args: Args) -> bytes:
    return _bzpop(session, args, highest=True)


def _mpop(session: Session, highest: bool, count: int) -> Pop:
    def pop(key: bytes) -> bytes | None:
        value = session.db.typed(key, SortedSet)
        if value is None:
            return None
        found = _pop(session.db, key, value, highest, count)
        session.rewrite(b"ZPOPMAX" if highest else b"ZPOPMIN", key, b"%d" % len(found))
        double = session.resp.double
        return array([bulk(key), array([array([bulk(member), double(score)]) for score, member in found])])

    return pop


@command("ZMPOP", arity=-4, flags="write movablekeys", group="sorted-set", since="7.0.0", get_keys=numkeys_positions(1))
def zmpop(session: Session, args: Args) -> bytes:
    keys, highest, count = mpop_options(args, 1, b"MAX", b"MIN")
    return pop_first(keys, _mpop(session, highest, count)) or session.resp.null_array


@command(
    "BZMPOP",
    arity=-5,
    flags="write blocking movablekeys",
    group="sorted-set",
    since="7.0.0",
    get_keys=numkeys_positions(2),
)
def bzmpop(session: Session, args: Args) -> bytes:
    timeout = parse_timeout(args[1])
    keys, highest, count = mpop_options(args, 2, b"MAX", b"MIN")
    return pop_or_wait(session, keys, SortedSet, timeout, _mpop(session, highest, count))


# -- at random, and all of it


@command("ZRANDMEMBER", arity=-2, flags="readonly", keys=(1,), group="sorted-set", since="6.2.0")
def zrandmember(session: Session, args: Args) -> bytes:
    count, with_scores = draw_count(args, b"WITHSCORES")
    value = session.db.read_typed(args[1], SortedSet)
    if value is None:
        return session.resp.null if count is None else array([])
    size = len(value)
    if count is None:
        return bulk(value.between(at := random.randrange(size), at + 1)[0][1])
    if count >= size:
        ranks: list[int] = list(range(size))
    elif count >= 0:
        ranks = random.sample(range(size), count)
    else:
        return _draws(session, -count, list(value.items()), with_scores)
    pairs = list(value.items()) if len(ranks) > 16 else []
    found = [pairs[rank] if pairs else value.between(rank, rank + 1)[0] for rank in ranks]
    return pairs_reply(session, found, with_scores)


def _draws(session: Session, count: int, pairs: list[Pair], with_scores: bool) -> bytes:
    double, resp3 = session.resp.double, session.resp.version == 3
    head = b"*2\r\n" if resp3 else b""

    def draw() -> bytes:
        score, member = random.choice(pairs)
        return head + bulk(member) + double(score) if with_scores else bulk(member)

    return draws(session, count, draw, 2 if with_scores and not resp3 else 1)


@command("ZSCAN", arity=-3, flags="readonly", keys=(1,), group="sorted-set", since="2.8.0")
def zscan(session: Session, args: Args) -> bytes:
    def shown(value: SortedSet, member: bytes) -> tuple[bytes, ...]:
        score = value.scores.get(member)
        return () if score is None else (member, format_double(score))

    return scan_value(
        session,
        args,
        SortedSet,
        lambda value: None if value.large else list(value),  # a listpack is returned whole
        lambda value: value.scores,
        shown,
    )
