"""The seed of a geo service: objects with positions, fences, and commands to ask for them, on evio_redis."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Iterator

from evio_redis import Args, CommandError, Server, Session, array, bulk, bulks, integer

EARTH = 6_371_008.8  # metres: the mean radius
CELL = 0.05  # degrees: the edge of the cells that objects are found by
Position = tuple[float, float]


def distance(one: Position, other: Position) -> float:
    """Metres along the great circle (haversine)."""
    (lat1, lon1), (lat2, lon2) = ((math.radians(lat), math.radians(lon)) for lat, lon in (one, other))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH * math.asin(math.sqrt(h))


class Collection:
    """Objects by id, and their ids by cell."""

    def __init__(self) -> None:
        self.positions: dict[bytes, Position] = {}
        self.cells: dict[tuple[int, int], set[bytes]] = {}

    @staticmethod
    def cell(position: Position) -> tuple[int, int]:
        return math.floor(position[0] / CELL), math.floor(position[1] / CELL)

    def put(self, name: bytes, position: Position) -> None:
        self.remove(name)
        self.positions[name] = position
        self.cells.setdefault(self.cell(position), set()).add(name)

    def remove(self, name: bytes) -> bool:
        position = self.positions.pop(name, None)
        if position is None:
            return False
        cell = self.cell(position)
        self.cells[cell].discard(name)
        if not self.cells[cell]:
            del self.cells[cell]
        return True

    def within(self, south: float, west: float, north: float, east: float) -> Iterator[tuple[bytes, Position]]:
        """The objects of a box: by its cells, or by all objects if these are fewer."""
        (top, left), (bottom, right) = self.cell((south, west)), self.cell((north, east))
        if (bottom - top + 1) * (right - left + 1) > len(self.cells):
            names = list(self.positions)
        else:
            cells = ((row, column) for row in range(top, bottom + 1) for column in range(left, right + 1))
            names = [name for cell in cells for name in self.cells.get(cell, ())]
        for name in names:
            lat, lon = position = self.positions[name]
            if south <= lat <= north and west <= lon <= east:
                yield name, position

    def nearby(self, center: Position, metres: float) -> list[tuple[float, bytes]]:
        """Distances and names, the nearest first. Not across the poles nor the antimeridian."""
        lat = math.degrees(metres / EARTH)
        lon = min(180.0, lat / max(0.01, math.cos(math.radians(center[0]))))
        box = self.within(center[0] - lat, center[1] - lon, center[0] + lat, center[1] + lon)
        found = ((distance(center, position), name) for name, position in box)
        return sorted(each for each in found if each[0] <= metres)


def numbers(texts: Args, limits: tuple[float, ...]) -> list[float]:
    """Arguments as numbers, each of which may be as large as its limit either way."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        raise CommandError("ERR positions and distances are numbers") from None
    if not all(abs(value) <= limit for value, limit in zip(values, limits, strict=True)):
        raise CommandError("ERR a latitude is up to 90 degrees, a longitude up to 180")
    return values


def make_server(port: int) -> Server:
    server, collections = Server(port=port), dict[bytes, Collection]()

    @server.command("TSET", arity=5, keys=(1, 1, 1), flags="fast", summary="Put an object: TSET key id lat lon.")
    def tset(session: Session, args: Args) -> bytes:
        lat, lon = numbers(args[3:], (90, 180))
        collection = collections.setdefault(args[1], Collection())
        new = args[2] not in collection.positions
        collection.put(args[2], (lat, lon))
        return integer(new)

    @server.command("TGET", arity=3, keys=(1, 1, 1), flags="fast", summary="The position of an object: TGET key id.")
    def tget(session: Session, args: Args) -> bytes:
        position = collections.get(args[1], Collection()).positions.get(args[2])
        return bulks([b"%.7f" % each for each in position or ()])

    @server.command("TDEL", arity=3, keys=(1, 1, 1), flags="fast", summary="Remove an object: TDEL key id.")
    def tdel(session: Session, args: Args) -> bytes:
        return integer(args[1] in collections and collections[args[1]].remove(args[2]))

    @server.command("NEARBY", arity=5, keys=(1, 1, 1), summary="What is near: NEARBY key lat lon metres.")
    def nearby(session: Session, args: Args) -> bytes:
        lat, lon, metres = numbers(args[2:], (90, 180, math.inf))
        found = collections[args[1]].nearby((lat, lon), metres) if args[1] in collections else []
        return array([array([bulk(name), bulk(b"%.1f" % away)]) for away, name in found])

    @server.command("WITHIN", arity=6, keys=(1, 1, 1), summary="What is in a box: WITHIN key south west north east.")
    def within(session: Session, args: Args) -> bytes:
        south, west, north, east = numbers(args[2:], (90, 180, 90, 180))
        found = collections[args[1]].within(south, west, north, east) if args[1] in collections else iter(())
        return bulks(sorted(name for name, _ in found))

    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9851)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # it says where it listens
    make_server(parser.parse_args().port).run()


if __name__ == "__main__":
    main()
