"""Searching for positions near another.

https://redis.io/docs/latest/commands/geosearch/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from ..errors import SYNTAX_ERROR, CommandError
from ..keyspace.geohash import Found, Shape, decode, ranges
from ..keyspace.types.zsets import SortedSet
from ..model.command import Args, command
from ..protocol.numbers import parse_double, parse_int
from ..protocol.resp import EMPTY_ARRAY, array, bulk, bulks, integer
from .geo import distance_text, metres_of, position_of, position_reply
from .zset_ranges import store

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []


@dataclass(slots=True)
class _Query:
    """The parsed arguments. ``unit`` is how many metres one is."""

    shape: Shape = field(default_factory=Shape)
    unit: float = 1.0
    centred: str = ""
    """The source of the centre: a ``position`` or a ``member``."""

    bounded: str = ""
    """The kind of extent: a ``circle`` or a ``box``."""

    shows: frozenset[bytes] = frozenset()
    order: bytes = b""
    count: int = 0
    any: bool = False
    store: bytes | None = None
    store_distances: bool = False


MEASURED = frozenset((b"WITHDIST", b"WITHCOORD"))
"""Options that show what is measured of each."""

AT_ONCE = 1000
"""Positions that are looked at until it is asked if there are enough."""


Read = Callable[["_Query", Args, SortedSet | None], None]
"""From the operands of an option, and the members that are searched, into the query. Raises :class:`CommandError`."""

# -- options


def _circle(query: _Query, radius: bytes, unit: bytes) -> None:
    size = parse_double(radius, "ERR need numeric radius")
    if size < 0:
        raise CommandError("ERR radius cannot be negative")
    query.unit = metres_of(unit)
    query.shape.radius = size * query.unit


def _box(query: _Query, width: bytes, height: bytes, unit: bytes) -> None:
    sizes = parse_double(width, "ERR need numeric width"), parse_double(height, "ERR need numeric height")
    if min(sizes) < 0:
        raise CommandError("ERR height or width cannot be negative")
    query.unit = metres_of(unit)
    query.shape.width, query.shape.height = (size * query.unit for size in sizes)


def _around_member(query: _Query, value: SortedSet, member: bytes) -> None:
    score = value.scores.get(member)
    if score is None:
        raise CommandError("ERR could not decode requested zset member")
    query.shape.centre = decode(score)


def _shows(option: bytes) -> Read:
    def read(query: _Query, _operands: Args, _value: SortedSet | None) -> None:
        query.shows |= {option}

    return read


def _any(query: _Query, _operands: Args, _value: SortedSet | None) -> None:
    query.any = True


def _orders(option: bytes) -> Read:
    def read(query: _Query, _operands: Args, _value: SortedSet | None) -> None:
        query.order = option

    return read


def _count(query: _Query, operands: Args, _value: SortedSet | None) -> None:
    query.count = parse_int(operands[0])
    if query.count <= 0:
        raise CommandError("ERR COUNT must be > 0")


def _stores(distances: bool) -> Read:
    def read(query: _Query, operands: Args, _value: SortedSet | None) -> None:
        query.store = operands[0] if operands else query.store
        query.store_distances = distances

    return read


def _only(before: str, kind: str) -> str:
    """Return the kind that an option gives. Raises :class:`CommandError` if one ``before`` it gave another."""
    if before not in ("", kind):
        raise CommandError(SYNTAX_ERROR)
    return kind


def _from_position(query: _Query, operands: Args, _value: SortedSet | None) -> None:
    query.centred = _only(query.centred, "position")
    query.shape.centre = position_of(operands[0], operands[1])


def _from_member(query: _Query, operands: Args, value: SortedSet | None) -> None:
    query.centred = _only(query.centred, "member")
    if value is not None:
        _around_member(query, value, operands[0])


def _by_radius(query: _Query, operands: Args, _value: SortedSet | None) -> None:
    query.bounded = _only(query.bounded, "circle")
    _circle(query, *operands)


def _by_box(query: _Query, operands: Args, _value: SortedSet | None) -> None:
    query.bounded = _only(query.bounded, "box")
    _box(query, *operands)


Options = dict[bytes, tuple[int, Read]]
"""By name: how many operands an option has, and how it is read."""

COMMON: Options = {
    **{option: (0, _shows(option)) for option in (b"WITHDIST", b"WITHHASH", b"WITHCOORD")},
    **{option: (0, _orders(option)) for option in (b"ASC", b"DESC")},
    b"ANY": (0, _any),
    b"COUNT": (1, _count),
}
RADIUS_AND_STORE: Options = {**COMMON, b"STORE": (1, _stores(False)), b"STOREDIST": (1, _stores(True))}
SEARCH: Options = {
    **COMMON,
    b"FROMMEMBER": (1, _from_member),
    b"FROMLONLAT": (2, _from_position),
    b"BYRADIUS": (2, _by_radius),
    b"BYBOX": (3, _by_box),
}
SEARCH_AND_STORE: Options = {**SEARCH, b"STOREDIST": (0, _stores(True))}


def _options(query: _Query, args: Args, at: int, value: SortedSet | None, known: Options) -> None:
    """Parse what is behind the fixed arguments, from ``args[at]`` on."""
    end = len(args)
    while at < end:
        option = known.get(args[at].upper())
        if option is None:
            raise CommandError(SYNTAX_ERROR)
        size, read = option
        at += 1 + size
        if at > end:
            raise CommandError(SYNTAX_ERROR)
        read(query, args[at - size : at], value)


def _check(query: _Query, storing: str) -> None:
    if query.store is not None and query.shows:
        raise CommandError(f"ERR {storing} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")


def _check_count(query: _Query) -> None:
    if query.any and not query.count:
        raise CommandError("ERR the ANY argument requires COUNT argument")


def _search(query: _Query, value: SortedSet) -> list[Found]:
    pairs, found = value.scored(ranges(query.shape)), []
    enough = query.count if query.any else len(pairs)
    measured = bool(query.order or query.count or query.store_distances or not query.shows.isdisjoint(MEASURED))
    for start in range(0, len(pairs), AT_ONCE):
        found += query.shape.search(pairs[start : start + AT_ONCE], measured)
        if len(found) >= enough:
            break
    return _ordered(query, found[:enough])


def _ordered(query: _Query, found: list[Found]) -> list[Found]:
    order = query.order or (b"ASC" if query.count and not query.any else b"")
    if order == b"ASC":
        found.sort(key=itemgetter(0))
    elif order:
        found.sort(key=lambda each: -each[0])
    return found[: query.count] if query.count else found


def _answer(session: Session, query: _Query, value: SortedSet | None, event: str) -> bytes:
    found = [] if value is None else _search(query, value)
    if query.store is None:
        if not query.shows:
            return bulks([member for _, member, _, _ in found])
        return array([_shown(session, query, *each) for each in found]) if found else EMPTY_ARRAY
    if query.store_distances:
        scores = {member: distance / query.unit for distance, member, _, _ in found}
    else:
        scores = {member: score for _, member, score, _ in found}
    store(session, query.store, sorted((score, member) for member, score in scores.items()), event, len(found))
    return integer(len(found))


def _shown(
    session: Session, query: _Query, distance: float, member: bytes, score: float, position: tuple[float, float]
) -> bytes:
    parts = [bulk(member)]
    if b"WITHDIST" in query.shows:
        parts.append(bulk(distance_text(distance / query.unit)))
    if b"WITHHASH" in query.shows:
        parts.append(integer(int(score)))
    if b"WITHCOORD" in query.shows:
        parts.append(position_reply(session, position))
    return array(parts)


# -- GEORADIUS and its relatives


def _store_positions(args: Args) -> list[int]:
    stores: list[int] = []
    at = 5
    while at + 1 < len(args):
        if args[at].upper() in (b"STORE", b"STOREDIST"):
            at += 1
            stores = [at]
        at += 1
    return [1, *stores]


def _radius(session: Session, args: Args, fixed: int, known: Options) -> bytes:
    value = session.db.read_typed(args[1], SortedSet)
    query = _Query()
    if fixed == 6:
        query.shape.centre = position_of(args[2], args[3])
        _circle(query, args[4], args[5])
    elif value is not None:
        _around_member(query, value, args[2])
        _circle(query, args[3], args[4])
    _options(query, args, fixed, value, known)
    _check(query, "STORE option in GEORADIUS")
    _check_count(query)
    return _answer(session, query, value, "georadiusstore")


WRITES = "write denyoom movablekeys"


@command("GEORADIUS", arity=-6, flags=WRITES, keys=(1,), group="geo", since="3.2.0", get_keys=_store_positions)
def georadius(session: Session, args: Args) -> bytes:
    return _radius(session, args, 6, RADIUS_AND_STORE)


@command("GEORADIUSBYMEMBER", arity=-5, flags=WRITES, keys=(1,), group="geo", since="3.2.0", get_keys=_store_positions)
def georadiusbymember(session: Session, args: Args) -> bytes:
    return _radius(session, args, 5, RADIUS_AND_STORE)


@command("GEORADIUS_RO", arity=-6, flags="readonly", keys=(1,), group="geo", since="3.2.10")
def georadius_ro(session: Session, args: Args) -> bytes:
    return _radius(session, args, 6, COMMON)


@command("GEORADIUSBYMEMBER_RO", arity=-5, flags="readonly", keys=(1,), group="geo", since="3.2.10")
def georadiusbymember_ro(session: Session, args: Args) -> bytes:
    return _radius(session, args, 5, COMMON)


# -- GEOSEARCH and its relative


def _geosearch(session: Session, args: Args, source: int, known: Options) -> bytes:
    value = session.db.read_typed(args[source], SortedSet)
    query = _Query(store=args[1] if source == 2 else None)
    _options(query, args, source + 1, value, known)
    _check(query, "GEOSEARCHSTORE")
    if not query.centred or not query.bounded:
        name = args[0].decode("utf-8", "surrogateescape")
        options = "BYRADIUS and BYBOX" if query.centred else "FROMMEMBER or FROMLONLAT"
        raise CommandError(f"ERR exactly one of {options} can be specified for {name}")
    _check_count(query)
    return _answer(session, query, value, "geosearchstore")


@command("GEOSEARCH", arity=-7, flags="readonly", keys=(1,), group="geo", since="6.2.0")
def geosearch(session: Session, args: Args) -> bytes:
    return _geosearch(session, args, 1, SEARCH)


@command("GEOSEARCHSTORE", arity=-8, flags="write denyoom", keys=(1, 2), group="geo", since="6.2.0")
def geosearchstore(session: Session, args: Args) -> bytes:
    return _geosearch(session, args, 2, SEARCH_AND_STORE)
