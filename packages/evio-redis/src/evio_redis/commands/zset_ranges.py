"""Ranges of sorted sets: by rank, by score, by name.

https://redis.io/docs/latest/commands/zrange/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import CommandError
from ..keyspace.types.zsets import Pair, SortedSet
from ..model.args import Options
from ..model.command import Args, command
from ..protocol.numbers import parse_double, parse_int
from ..protocol.resp import ARRAYS, LENGTHS, ZERO, array, bulk, bulks, integer

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..keyspace.database import Database

__all__ = ["pairs_reply", "store"]

NOT_A_RANGE = "ERR min or max is not a float"
NOT_A_LEX_RANGE = "ERR min or max not valid string range item"


def members_reply(pairs: list[Pair]) -> bytes:
    """Return the array of the members, as :func:`bulks` makes it, without a list of them."""
    count, lengths = len(pairs), LENGTHS
    lines = [ARRAYS[count] if count < 1024 else b"*%d" % count]
    append = lines.append
    try:
        for _, member in pairs:
            append(lengths[len(member)])
            append(member)
    except IndexError:  # there are long ones
        return bulks([member for _, member in pairs])
    append(b"")
    return b"\r\n".join(lines)


def pairs_reply(session: Session, pairs: list[Pair], with_scores: bool) -> bytes:
    """Members, or members with scores: flat in RESP2, pairs in RESP3."""
    if not with_scores:
        return members_reply(pairs)
    double = session.resp.double
    if session.resp.version == 3:
        return array([array([bulk(member), double(score)]) for score, member in pairs])
    return array([part for score, member in pairs for part in (bulk(member), double(score))])


def store(session: Session, target: bytes, pairs: list[Pair], event: str, changes: int = 1) -> bytes:
    """Make a key of these members, which counts as ``changes`` modifications; without any, remove it."""
    database = session.db
    if not pairs:
        if database.lookup(target) is not None:
            database.remove(target)
            database.changed(target, "g", "del")
        return ZERO
    config = session.services[Config]
    value = SortedSet((member, score) for score, member in pairs)
    longest = max(len(member) for _, member in pairs)
    value.settle(longest, config.zset_max_listpack_entries, config.zset_max_listpack_value)
    database.put(target, value)
    database.changed(target, "z", event, changes)
    return integer(len(pairs))


# -- which ranks a range means


def score_bound(text: bytes) -> tuple[float, bool]:
    """A score and whether it is excluded, ``(1.5``. Raises :class:`CommandError`."""
    if text.startswith(b"("):
        return parse_double(text[1:], NOT_A_RANGE), True
    return parse_double(text, NOT_A_RANGE), False


def by_score(value: SortedSet, low: tuple[float, bool], high: tuple[float, bool]) -> tuple[int, int]:
    """The ranks of a range of scores."""
    return _position(value, *low), _position(value, high[0], not high[1])


def _position(value: SortedSet, score: float, behind: bool) -> int:
    """Count the members with a lower score or, with ``behind``, at most that one."""
    if behind:
        if score == math.inf:
            return len(value)
        score = math.nextafter(score, math.inf)
    return value.position((score, b""))


def lex_bound(text: bytes) -> tuple[int, bytes]:
    """-1 or 1 for the ends, else 0, and the first name that is not before it. Raises :class:`CommandError`."""
    if text in (b"-", b"+"):
        return (-1 if text == b"-" else 1), b""
    if text[:1] not in (b"[", b"("):
        raise CommandError(NOT_A_LEX_RANGE)
    return 0, text


def by_lex(value: SortedSet, low: tuple[int, bytes], high: tuple[int, bytes], reverse: bool = False) -> tuple[int, int]:
    """The ranks of a range of names, in a set where all scores are the same."""
    first, last = _edge(low, True), _edge(high, False)
    (lowest, one), (highest, other) = (value.between(at, at + 1)[0] for at in (0, len(value) - 1))
    if lowest == highest:
        return _lex_position(value, first, lowest), _lex_position(value, last, lowest)
    if _before(other, first) or not _before(one, last):
        return 0, 0
    return _run(list(value), first, last, reverse)


def _run(names: list[bytes], first: tuple[int, bytes], last: tuple[int, bytes], reverse: bool) -> tuple[int, int]:
    """Return the members of a range of names. Where scores differ, as they should not, the names are not in order:
    those from the first that is not outside up to the first that is, from the end that the command begins at, as in
    Redis."""
    if reverse:
        stop = next((at + 1 for at in reversed(range(len(names))) if _before(names[at], last)), 0)
        return next((at + 1 for at in reversed(range(stop)) if _before(names[at], first)), 0), stop
    start = next((at for at, name in enumerate(names) if not _before(name, first)), len(names))
    return start, next((at for at in range(start, len(names)) if not _before(names[at], last)), len(names))


def _edge(bound: tuple[int, bytes], first: bool) -> tuple[int, bytes]:
    """The name at which a range begins, or before which it ends."""
    end, text = bound
    behind = (text[:1] == b"(") == first
    return end, text if end else text[1:] + (b"\0" if behind else b"")  # no name is between one and that


def _before(name: bytes, edge: tuple[int, bytes]) -> bool:
    end, text = edge
    return name < text if not end else end > 0


def _lex_position(value: SortedSet, edge: tuple[int, bytes], score: float) -> int:
    end, text = edge
    if end:
        return 0 if end < 0 else len(value)
    return value.position((score, text))


@dataclass(slots=True)
class Query:
    """The range that a ZRANGE asks for."""

    by: str = "rank"
    reverse: bool = False
    offset: int = 0
    count: int = -1
    with_scores: bool = False

    def find(self, value: SortedSet | None, first: bytes, last: bytes) -> list[Pair]:
        """The members in the order asked for. Raises :class:`CommandError` for bad bounds, also without a value."""
        start, stop = self.span(value, first, last)
        return self._cut(value, start, stop) if value is not None else []

    def span(self, value: SortedSet | None, first: bytes, last: bytes) -> tuple[int, int]:
        """The ranks that these bounds mean, from and before. Raises :class:`CommandError` for bad ones, also without a
        value."""
        low, high = (last, first) if self.reverse and self.by != "rank" else (first, last)
        if self.by == "score":
            scores = score_bound(low), score_bound(high)
            start, stop = by_score(value, *scores) if value is not None else (0, 0)
        elif self.by == "lex":
            names = lex_bound(low), lex_bound(high)
            start, stop = by_lex(value, *names, self.reverse) if value is not None else (0, 0)
        else:
            start, stop = self._ranks(parse_int(first), parse_int(last), len(value) if value is not None else 0)
        return start, max(start, stop)

    def _ranks(self, first: int, last: int, size: int) -> tuple[int, int]:
        start = max(first + size if first < 0 else first, 0)
        stop = min((last + size if last < 0 else last) + 1, size)
        stop = max(start, stop)
        return (size - stop, size - start) if self.reverse and start < stop else (start, stop)

    def _cut(self, value: SortedSet, start: int, stop: int) -> list[Pair]:
        if self.by != "rank":
            if self.offset < 0:
                return []
            if self.reverse:
                stop -= self.offset
                start = max(start, stop - self.count) if self.count >= 0 else start
            else:
                start += self.offset
                stop = min(stop, start + self.count) if self.count >= 0 else stop
        found = value.between(start, stop) if start < stop else []
        return found[::-1] if self.reverse else found


def _options(args: Args, at: int, query: Query, allowed: frozenset[bytes]) -> None:
    """Options from ``args[at]`` on. Raises :class:`CommandError`."""
    limited = False
    options = Options(args, at)
    for option in options:
        if option not in allowed:
            raise options.unknown()
        if option == b"LIMIT":
            query.offset, query.count = map(parse_int, options.take(2))
            limited = True
        elif option == b"WITHSCORES":
            query.with_scores = True
        elif option == b"REV":
            query.reverse = True
        else:
            query.by = "score" if option == b"BYSCORE" else "lex"
    if limited and query.by == "rank":
        raise CommandError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    if query.with_scores and query.by == "lex":
        raise CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")


NEW = frozenset((b"BYSCORE", b"BYLEX", b"REV", b"LIMIT", b"WITHSCORES"))


def _range(session: Session, args: Args, query: Query, allowed: frozenset[bytes]) -> bytes:
    if len(args) > 4:
        _options(args, 4, query, allowed)
    database, key = session.db, args[1]
    if type(database.data.get(key)) is not SortedSet:
        query.find(None, args[2], args[3])  # bad bounds are told of before a wrong type
    value = database.read_typed(key, SortedSet)
    return pairs_reply(session, query.find(value, args[2], args[3]), query.with_scores)


@command("ZRANGE", arity=-4, flags="readonly", keys=(1,), group="sorted-set", since="1.2.0")
def zrange(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if (  # the usual, without a query
        len(args) == 4 and type(value) is SortedSet and (key not in database.expires or database.lives(key))
    ):
        first, last, size = parse_int(args[2]), parse_int(args[3]), len(value.scores)
        database.hits += 1
        start = first if first >= 0 else max(first + size, 0)
        return members_reply(value.between(start, (last if last >= 0 else last + size) + 1))
    return _range(session, args, Query(), NEW)


@command("ZREVRANGE", arity=-4, flags="readonly", keys=(1,), group="sorted-set", since="1.2.0")
def zrevrange(session: Session, args: Args) -> bytes:
    return _range(session, args, Query(reverse=True), frozenset((b"WITHSCORES",)))


SCORED = frozenset((b"WITHSCORES", b"LIMIT"))


@command("ZRANGEBYSCORE", arity=-4, flags="readonly", keys=(1,), group="sorted-set", since="1.0.5")
def zrangebyscore(session: Session, args: Args) -> bytes:
    database, key = session.db, args[1]
    value = database.data.get(key)
    if (  # the usual, without a query
        len(args) == 4 and type(value) is SortedSet and (key not in database.expires or database.lives(key))
    ):
        start, stop = by_score(value, score_bound(args[2]), score_bound(args[3]))
        database.hits += 1
        return members_reply(value.between(start, stop))
    return _range(session, args, Query("score"), SCORED)


@command("ZREVRANGEBYSCORE", arity=-4, flags="readonly", keys=(1,), group="sorted-set", since="2.2.0")
def zrevrangebyscore(session: Session, args: Args) -> bytes:
    return _range(session, args, Query("score", reverse=True), SCORED)


@command("ZRANGEBYLEX", arity=-4, flags="readonly", keys=(1,), group="sorted-set", since="2.8.9")
def zrangebylex(session: Session, args: Args) -> bytes:
    return _range(session, args, Query("lex"), frozenset((b"LIMIT",)))


@command("ZREVRANGEBYLEX", arity=-4, flags="readonly", keys=(1,), group="sorted-set", since="2.8.9")
def zrevrangebylex(session: Session, args: Args) -> bytes:
    return _range(session, args, Query("lex", reverse=True), frozenset((b"LIMIT",)))


@command("ZRANGESTORE", arity=-5, flags="write denyoom", keys=(1, 2), group="sorted-set", since="6.2.0")
def zrangestore(session: Session, args: Args) -> bytes:
    query = Query()
    _options(args, 5, query, NEW - {b"WITHSCORES"})
    query.find(None, args[3], args[4])
    value = session.db.read_typed(args[2], SortedSet)
    return store(session, args[1], query.find(value, args[3], args[4]), "zrangestore")


# -- counting and removing ranges


@command("ZCOUNT", arity=4, flags="readonly fast", keys=(1,), group="sorted-set", since="2.0.0")
def zcount(session: Session, args: Args) -> bytes:
    low, high = score_bound(args[2]), score_bound(args[3])
    value = session.db.read_typed(args[1], SortedSet)
    if value is None:
        return ZERO
    start, stop = by_score(value, low, high)
    return integer(max(0, stop - start))


@command("ZLEXCOUNT", arity=4, flags="readonly fast", keys=(1,), group="sorted-set", since="2.8.9")
def zlexcount(session: Session, args: Args) -> bytes:
    low, high = lex_bound(args[2]), lex_bound(args[3])
    value = session.db.read_typed(args[1], SortedSet)
    if value is None:
        return ZERO
    start, stop = by_lex(value, low, high)
    return integer(max(0, stop - start))


def _remove_range(session: Session, args: Args, by: str) -> bytes:
    database, key = session.db, args[1]
    query = Query(by)
    if type(database.data.get(key)) is not SortedSet:
        query.span(None, args[2], args[3])  # bad bounds are told of before a wrong type
    value = database.typed(key, SortedSet)
    return _remove(database, key, value, *query.span(value, args[2], args[3]), by) if value is not None else ZERO


def _remove(database: Database, key: bytes, value: SortedSet, start: int, stop: int, by: str) -> bytes:
    """Remove those of rank ``start`` to ``stop``, exclusive."""
    found = value.remove_ranks(start, stop)
    if not found:
        return ZERO
    database.changed(key, "z", f"zremrangeby{by}", len(found))
    if not value.scores:
        database.remove_empty(key)
    return integer(len(found))


@command("ZREMRANGEBYRANK", arity=4, flags="write", keys=(1,), group="sorted-set", since="2.0.0")
def zremrangebyrank(session: Session, args: Args) -> bytes:
    first, last = parse_int(args[2]), parse_int(args[3])
    database, key = session.db, args[1]
    value = database.typed(key, SortedSet)
    if value is None:
        return ZERO
    size = len(value.scores)
    start = first if first >= 0 else max(first + size, 0)
    return _remove(database, key, value, start, (last if last >= 0 else last + size) + 1, "rank")


@command("ZREMRANGEBYSCORE", arity=4, flags="write", keys=(1,), group="sorted-set", since="1.2.0")
def zremrangebyscore(session: Session, args: Args) -> bytes:
    return _remove_range(session, args, "score")


@command("ZREMRANGEBYLEX", arity=4, flags="write", keys=(1,), group="sorted-set", since="2.8.9")
def zremrangebylex(session: Session, args: Args) -> bytes:
    return _remove_range(session, args, "lex")
