"""Unions, intersections and differences of sorted sets.

https://redis.io/docs/latest/commands/zunionstore/
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SYNTAX_ERROR, WRONGTYPE, CommandError
from ..keyspace.types.sets import Set
from ..keyspace.types.zsets import Pair, SortedSet
from ..model.args import Options, numkeys_positions
from ..model.command import Args, command
from ..protocol.numbers import parse_double, parse_int, to_int
from ..protocol.resp import integer
from .zset_ranges import pairs_reply, store

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

Scores = dict[bytes, float]


def _sum(one: float, other: float) -> float:
    total = one + other
    return 0.0 if math.isnan(total) else total  # +inf and -inf: Redis says 0


AGGREGATES: dict[bytes, Callable[[float, float], float]] = {b"SUM": _sum, b"MIN": min, b"MAX": max}


@dataclass(slots=True)
class _Call:
    """The parsed arguments."""

    sources: list[Scores]
    weights: list[float]
    aggregate: Callable[[float, float], float]
    with_scores: bool = False


def _parse(session: Session, args: Args, at: int, name: str, stores: bool, weighted: bool) -> _Call:
    count = to_int(args[at])
    if count is None:
        raise CommandError("ERR value is not an integer or out of range")
    if count < 1:
        raise CommandError(f"ERR at least 1 input key is needed for '{name}' command")
    if count > len(args) - at - 1:
        raise CommandError(SYNTAX_ERROR)
    sources = [_scores(session, key) for key in args[at + 1 : at + 1 + count]]
    call = _Call(sources, [1.0] * count, _sum)
    options = Options(args, at + 1 + count)
    for option in options:
        if weighted and option == b"WEIGHTS":
            call.weights = [parse_double(text, "ERR weight value is not a float") for text in options.take(count)]
        elif weighted and option == b"AGGREGATE":
            aggregate = AGGREGATES.get(options.word().upper())
            if aggregate is None:
                raise options.unknown()
            call.aggregate = aggregate
        elif not stores and option == b"WITHSCORES":
            call.with_scores = True
        else:
            raise options.unknown()
    return call


def _scores(session: Session, key: bytes) -> Scores:
    """The scores of a sorted set, or of a set, whose members count 1. Raises :class:`CommandError`."""
    value = session.db.read(key)
    if value is None:
        return {}
    if type(value) is SortedSet:
        return value.scores
    if type(value) is Set:
        return dict.fromkeys(value, 1.0)
    raise CommandError(WRONGTYPE)


def _weigh(score: float, weight: float) -> float:
    product = score * weight
    return 0.0 if math.isnan(product) else product  # 0 times infinity


def _smallest_first(call: _Call) -> list[tuple[Scores, float]]:
    """Sources and weights in the order in which Redis aggregates: by size. It shows where infinities cancel out."""
    return sorted(zip(call.sources, call.weights, strict=True), key=lambda source: len(source[0]))


def _union(call: _Call) -> Scores:
    result: Scores = {}
    for source, weight in _smallest_first(call):
        for member, score in source.items():
            weighed = _weigh(score, weight)
            result[member] = call.aggregate(result[member], weighed) if member in result else weighed
    return result


def _inter(call: _Call) -> Scores:
    (smallest, weight), *others = _smallest_first(call)
    result: Scores = {}
    for member, score in smallest.items():
        total = _weigh(score, weight)
        for source, other_weight in others:
            other = source.get(member)
            if other is None:
                break
            total = call.aggregate(total, other * other_weight)  # not a number counts here: only the sum is made 0
        else:
            result[member] = total
    return result


def _diff(call: _Call) -> Scores:
    first, *others = call.sources
    return {member: score for member, score in first.items() if not any(member in other for other in others)}


Combine = Callable[[_Call], Scores]


def _pairs(call: _Call, combine: Combine) -> list[Pair]:
    return sorted((score, member) for member, score in combine(call).items())


def _show(session: Session, args: Args, combine: Combine) -> bytes:
    call = _parse(session, args, 1, args[0].decode().lower(), stores=False, weighted=combine is not _diff)
    return pairs_reply(session, _pairs(call, combine), call.with_scores)


def _store(session: Session, args: Args, combine: Combine) -> bytes:
    name = args[0].decode().lower()
    call = _parse(session, args, 2, name, stores=True, weighted=combine is not _diff)
    return store(session, args[1], _pairs(call, combine), name)


def _store_positions(args: Args) -> list[int]:
    return [1, *numkeys_positions(2)(args)]


READS = "readonly movablekeys"
WRITES = "write denyoom movablekeys"


@command("ZUNION", arity=-3, flags=READS, group="sorted-set", since="6.2.0", get_keys=numkeys_positions(1))
def zunion(session: Session, args: Args) -> bytes:
    return _show(session, args, _union)


@command("ZINTER", arity=-3, flags=READS, group="sorted-set", since="6.2.0", get_keys=numkeys_positions(1))
def zinter(session: Session, args: Args) -> bytes:
    return _show(session, args, _inter)


@command("ZDIFF", arity=-3, flags=READS, group="sorted-set", since="6.2.0", get_keys=numkeys_positions(1))
def zdiff(session: Session, args: Args) -> bytes:
    return _show(session, args, _diff)


@command("ZUNIONSTORE", arity=-4, flags=WRITES, keys=(1,), group="sorted-set", since="2.0.0", get_keys=_store_positions)
def zunionstore(session: Session, args: Args) -> bytes:
    return _store(session, args, _union)


@command("ZINTERSTORE", arity=-4, flags=WRITES, keys=(1,), group="sorted-set", since="2.0.0", get_keys=_store_positions)
def zinterstore(session: Session, args: Args) -> bytes:
    return _store(session, args, _inter)


@command("ZDIFFSTORE", arity=-4, flags=WRITES, keys=(1,), group="sorted-set", since="6.2.0", get_keys=_store_positions)
def zdiffstore(session: Session, args: Args) -> bytes:
    return _store(session, args, _diff)


@command("ZINTERCARD", arity=-3, flags=READS, group="sorted-set", since="7.0.0", get_keys=numkeys_positions(1))
def zintercard(session: Session, args: Args) -> bytes:
    count = to_int(args[1])
    if count is None:
        raise CommandError("ERR value is not an integer or out of range")
    if count < 1:
        raise CommandError("ERR at least 1 input key is needed for 'zintercard' command")
    if count > len(args) - 2:
        raise CommandError(SYNTAX_ERROR)
    call = _Call([_scores(session, key) for key in args[2 : 2 + count]], [1.0] * count, _sum)
    rest, limit = args[2 + count :], 0
    if rest:
        if len(rest) != 2 or rest[0].upper() != b"LIMIT":
            raise CommandError(SYNTAX_ERROR)
        limit = parse_int(rest[1], "ERR LIMIT can't be negative")
        if limit < 0:
            raise CommandError("ERR LIMIT can't be negative")
    found = len(_inter(call))
    return integer(min(found, limit) if limit else found)
