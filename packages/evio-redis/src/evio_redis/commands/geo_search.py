"""Searching for positions near another.

https://redis.io/docs/latest/commands/geosearch/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from ..errors import CommandError
from ..keyspace.geohash import Found, Shape, decode, ranges
from ..keyspace.types.zsets import Pair, SortedSet
from ..model.args import Options
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
    """The option that gave the centre, if there was one."""

    bounded: str = ""
    """The option that gave the extent."""

    shows: set[bytes] = field(default_factory=set)
    order: bytes = b""
    count: int = 0
    any: bool = False
    store: bytes | None = None
    store_distances: bool = False


AT_ONCE = 1000
"""Positions that are looked at until it is asked if there are enough."""

SHOWN = (b"WITHDIST", b"WITHHASH", b"WITHCOORD")
OPERANDS = {b"COUNT": 1, b"STORE": 1, b"STOREDIST": 1, b"FROMMEMBER": 1, b"FROMLONLAT": 2, b"BYRADIUS": 2, b"BYBOX": 3}


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


def _options(query: _Query, options: Options, value: SortedSet | None, allowed: set[bytes]) -> None:
    """Parse what is behind the fixed arguments; ``allowed`` are the options that not all of these commands have."""
    for option in options:
        size = 0 if option == b"STOREDIST" and b"BYBOX" in allowed else OPERANDS.get(option, 0)
        if not _option(query, option, options.take(size), value, allowed):
            raise options.unknown()


def _option(query: _Query, option: bytes, operands: Args, value: SortedSet | None, allowed: set[bytes]) -> bool:
    """Parse one option; returns False for one that there is not."""
    if option in SHOWN:
        query.shows.add(option)
    elif option == b"ANY":
        query.any = True
    elif option in (b"ASC", b"DESC"):
        query.order = option
    elif option == b"COUNT":
        query.count = parse_int(operands[0])
        if query.count <= 0:
            raise CommandError("ERR COUNT must be > 0")
    elif option not in allowed:
        return False
    elif option in (b"STORE", b"STOREDIST"):
        query.store = operands[0] if operands else query.store
        query.store_distances = option == b"STOREDIST"
    elif option in (b"FROMMEMBER", b"FROMLONLAT"):
        return _centre(query, option.decode(), operands, value)
    else:
        return _extent(query, option.decode(), operands)
    return True


def _centre(query: _Query, option: str, operands: Args, value: SortedSet | None) -> bool:
    if query.centred not in ("", option):
        return False
    query.centred = option
    if option == "FROMLONLAT":
        query.shape.centre = position_of(*operands)
    elif value is not None:
        _around_member(query, value, operands[0])
    return True


def _extent(query: _Query, option: str, operands: Args) -> bool:
    if query.bounded not in ("", option):
        return False
    query.bounded = option
    if option == "BYRADIUS":
        _circle(query, *operands)
    else:
        _box(query, *operands)
    return True


def _check(query: _Query, storing: str) -> None:
    if query.store is not None and query.shows:
        raise CommandError(f"ERR {storing} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")


def _check_count(query: _Query) -> None:
    if query.any and not query.count:
        raise CommandError("ERR the ANY argument requires COUNT argument")


def _candidates(query: _Query, value: SortedSet) -> list[list[Pair]]:
    """Return the members of the cells that the shape may reach into, in the order of the cells. Those of small cells
    are together: to look at a list of positions costs more than to look at a position."""
    found: list[list[Pair]] = []
    for pairs in value.scored(ranges(query.shape)):
        if found and len(found[-1]) + len(pairs) <= AT_ONCE:
            found[-1] += pairs
        elif pairs:
            found.append(pairs)
    return found


def _search(query: _Query, value: SortedSet) -> list[Found]:
    found: list[Found] = []
    enough = query.count if query.any else 0
    for pairs in _candidates(query, value):
        for start in range(0, len(pairs), AT_ONCE):
            found += query.shape.search(pairs[start : start + AT_ONCE])
            if enough and len(found) >= enough:
                return _ordered(query, found[:enough])
    return _ordered(query, found)


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
        if args[at].upper() in STORES:
            at += 1
            stores = [at]
        at += 1
    return [1, *stores]


STORES = {b"STORE", b"STOREDIST"}


def _radius(session: Session, args: Args, fixed: int, allowed: set[bytes]) -> bytes:
    value = session.db.read_typed(args[1], SortedSet)
    query = _Query()
    if fixed == 6:
        query.shape.centre = position_of(args[2], args[3])
        _circle(query, args[4], args[5])
    elif value is not None:
        _around_member(query, value, args[2])
        _circle(query, args[3], args[4])
    _options(query, Options(args, fixed), value, allowed)
    _check(query, "STORE option in GEORADIUS")
    _check_count(query)
    return _answer(session, query, value, "georadiusstore")


WRITES = "write denyoom movablekeys"


@command("GEORADIUS", arity=-6, flags=WRITES, keys=(1,), group="geo", since="3.2.0", get_keys=_store_positions)
def georadius(session: Session, args: Args) -> bytes:
    return _radius(session, args, 6, STORES)


@command("GEORADIUSBYMEMBER", arity=-5, flags=WRITES, keys=(1,), group="geo", since="3.2.0", get_keys=_store_positions)
def georadiusbymember(session: Session, args: Args) -> bytes:
    return _radius(session, args, 5, STORES)


@command("GEORADIUS_RO", arity=-6, flags="readonly", keys=(1,), group="geo", since="3.2.10")
def georadius_ro(session: Session, args: Args) -> bytes:
    return _radius(session, args, 6, set())


@command("GEORADIUSBYMEMBER_RO", arity=-5, flags="readonly", keys=(1,), group="geo", since="3.2.10")
def georadiusbymember_ro(session: Session, args: Args) -> bytes:
    return _radius(session, args, 5, set())


# -- GEOSEARCH and its relative

AREA = {b"FROMMEMBER", b"FROMLONLAT", b"BYRADIUS", b"BYBOX"}


def _geosearch(session: Session, args: Args, source: int, allowed: set[bytes]) -> bytes:
    value = session.db.read_typed(args[source], SortedSet)
    query = _Query(store=args[1] if source == 2 else None)
    _options(query, Options(args, source + 1), value, allowed)
    _check(query, "GEOSEARCHSTORE")
    name = args[0].decode("utf-8", "surrogateescape")
    if not query.centred:
        raise CommandError(f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}")
    if not query.bounded:
        raise CommandError(f"ERR exactly one of BYRADIUS and BYBOX can be specified for {name}")
    _check_count(query)
    return _answer(session, query, value, "geosearchstore")


@command("GEOSEARCH", arity=-7, flags="readonly", keys=(1,), group="geo", since="6.2.0")
def geosearch(session: Session, args: Args) -> bytes:
    return _geosearch(session, args, 1, AREA)


@command("GEOSEARCHSTORE", arity=-8, flags="write denyoom", keys=(1, 2), group="geo", since="6.2.0")
def geosearchstore(session: Session, args: Args) -> bytes:
    return _geosearch(session, args, 2, AREA | {b"STOREDIST"})
