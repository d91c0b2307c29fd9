"""Positions: sorted sets whose scores are geohashes.

https://redis.io/docs/latest/commands/?group=geo
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import SYNTAX_ERROR, CommandError
from ..keyspace import geohash
from ..keyspace.types.zsets import SortedSet
from ..model.command import Args, command
from ..protocol.numbers import parse_double
from ..protocol.resp import array, bulk
from .zsets import zadd

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["distance_text", "metres_of", "position_of", "position_reply"]

UNITS = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
OPTIONS = frozenset((b"NX", b"XX", b"CH"))


def position_of(longitude: bytes, latitude: bytes) -> tuple[float, float]:
    """A position. Raises :class:`CommandError` for what is none."""
    x, y = parse_double(longitude), parse_double(latitude)
    (west, east), (south, north) = geohash.LONGITUDES, geohash.LATITUDES
    if not (west <= x <= east and south <= y <= north):
        raise CommandError(f"ERR invalid longitude,latitude pair {x:f},{y:f}")
    return x, y


def metres_of(unit: bytes) -> float:
    """Return the metres of a unit. Raises :class:`CommandError` for one that there is not."""
    metres = UNITS.get(unit.lower())
    if metres is None:
        raise CommandError("ERR unsupported unit provided. please use M, KM, FT, MI")
    return metres


def distance_text(distance: float) -> bytes:
    """With four decimals, the last of them rounded to even where it is in doubt."""
    scaled = round(distance * 10000.0)
    return b"%d.%04d" % divmod(scaled, 10000)


def position_reply(session: Session, position: tuple[float, float]) -> bytes:
    """Longitude and latitude as Redis prints long doubles for people."""
    texts = [f"{degrees:.17f}".rstrip("0").rstrip(".").encode() for degrees in position]
    texts = [b"0" if each == b"-0" else each for each in texts]
    return array([b",%b\r\n" % each if session.resp.version == 3 else bulk(each) for each in texts])


@command("GEOADD", arity=-5, flags="write denyoom", keys=(1,), group="geo", since="3.2.0")
def geoadd(session: Session, args: Args) -> bytes:
    at = 2
    while at < len(args) and args[at].upper() in OPTIONS:
        at += 1
    options = args[2:at]
    if (len(args) - at) % 3 or {b"NX", b"XX"} <= {option.upper() for option in options}:
        raise CommandError(SYNTAX_ERROR)
    call = [b"zadd", args[1], *options]
    for place in range(at, len(args), 3):
        call += [b"%d" % geohash.encode(*position_of(args[place], args[place + 1])), args[place + 2]]
    reply = zadd(session, call)
    session.rewrite(*call)
    return reply


def _scores(session: Session, key: bytes) -> dict[bytes, float]:
    value = session.db.read_typed(key, SortedSet)
    return {} if value is None else value.scores


def _shown(
    session: Session, args: Args, null: bytes, show: Callable[[list[tuple[float, float]]], Iterable[bytes]]
) -> bytes:
    """The reply of a command that shows the position of each member, ``null`` of one that there is not."""
    scores = _scores(session, args[1])
    places = [(at, scores[member]) for at, member in enumerate(args[2:]) if member in scores]
    parts = [null] * (len(args) - 2)
    positions = geohash.decode_all([score for _, score in places])
    for (at, _), shown in zip(places, show(positions), strict=True):
        parts[at] = shown
    return array(parts)


@command("GEOPOS", arity=-2, flags="readonly", keys=(1,), group="geo", since="3.2.0")
def geopos(session: Session, args: Args) -> bytes:
    return _shown(
        session, args, session.resp.null_array, lambda found: [position_reply(session, each) for each in found]
    )


@command("GEOHASH", arity=-2, flags="readonly", keys=(1,), group="geo", since="3.2.0")
def geohash_(session: Session, args: Args) -> bytes:
    return _shown(session, args, session.resp.null, lambda found: map(bulk, geohash.texts(found)))


@command("GEODIST", arity=-4, flags="readonly", keys=(1,), group="geo", since="3.2.0")
def geodist(session: Session, args: Args) -> bytes:
    metres = metres_of(args[4]) if len(args) == 5 else 1.0
    if len(args) > 5:
        raise CommandError(SYNTAX_ERROR)
    scores = _scores(session, args[1])
    one, other = scores.get(args[2]), scores.get(args[3])
    if one is None or other is None:
        return session.resp.null
    return bulk(distance_text(geohash.distance(geohash.decode(one), geohash.decode(other)) / metres))
