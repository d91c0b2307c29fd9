"""Positions on the earth as numbers, and which ranges of these numbers an area is in.

A geohash halves the world by longitude and by latitude in turn, and writes down in which half a position is: positions
that are near each other mostly have numbers that are. With 26 bits of each it fits a double, which is what a sorted
set has as a score. The arithmetic is Redis's own, step for step, so that the last digits are the same.

https://redis.io/docs/latest/commands/geoadd/
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import asin, cos, pi, sin, sqrt

__all__ = [
    "LATITUDES",
    "LONGITUDES",
    "STEPS",
    "Cell",
    "Shape",
    "decode",
    "decode_all",
    "distance",
    "encode",
    "ranges",
    "texts",
]

STEPS = 26
"""Bits of longitude, and of latitude."""

PARTS = 1 << STEPS

Range = tuple[float, float]

LONGITUDES: Range = (-180.0, 180.0)
LATITUDES: Range = (-85.05112878, 85.05112878)
"""Of the Mercator projection (EPSG:3857), which makes the world a square."""

WEST, SOUTH = LONGITUDES[0], LATITUDES[0]
WIDTH, HEIGHT = LONGITUDES[1] - LONGITUDES[0], LATITUDES[1] - LATITUDES[0]
FINEST = 1 / PARTS
"""A power of two: to multiply by it is exact, as to divide is."""

EARTH_RADIUS = 6372797.560856
"""Metres."""

MERCATOR_MAX = 20037726.37
DEGREE = pi / 180.0

MASK = (1 << 64) - 1
EVEN = 0x5555555555555555
"""Bits of the latitude; those of the longitude are the odd ones."""

ALPHABET = b"0123456789bcdefghjkmnpqrstuvwxyz"

_SPREAD = [sum((number >> bit & 1) << 2 * bit for bit in range(16)) for number in range(1 << 8)]


def _spread(number: int) -> int:
    """The bits of a 32-bit number at the even places."""
    return (
        _SPREAD[number & 0xFF]
        | _SPREAD[number >> 8 & 0xFF] << 16
        | _SPREAD[number >> 16 & 0xFF] << 32
        | _SPREAD[number >> 24] << 48
    )


GATHERING = (
    (1, 0x3333333333333333),
    (2, 0x0F0F0F0F0F0F0F0F),
    (4, 0x00FF00FF00FF00FF),
    (8, 0x0000FFFF0000FFFF),
    (16, 0x00000000FFFFFFFF),
)
"""Shifts that bring the bits at the even places together, and the bits that are right after each."""


SPREADING = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, EVEN),
)
"""The same for the opposite."""


def _gather(number: int) -> int:
    """The bits at the even places of a 64-bit number."""
    number &= EVEN
    for shift, mask in GATHERING:
        number = (number | number >> shift) & mask
    return number


def _gather_all(numbers: int, count: int) -> tuple[int, ...]:
    """The same of so many 64-bit numbers that are side by side in one: what a shift brings in from the next one, the
    mask takes away again."""
    each = int.from_bytes((b"\1" + bytes(7)) * count, "little")
    numbers &= EVEN * each
    for shift, mask in GATHERING:
        numbers = (numbers | numbers >> shift) & mask * each
    return struct.unpack(f"<{count}Q", numbers.to_bytes(8 * count, "little"))


def _interleaved(xs: list[int], ys: list[int]) -> tuple[int, ...]:
    """The opposite: the bits of each y at the even places, those of each x at the odd ones. All have 32 bits, so that
    no shift brings any into the next lane."""
    count = len(xs)

    def spread(numbers: list[int]) -> int:
        lanes = int.from_bytes(struct.pack(f"<{count}Q", *numbers), "little")
        for shift, mask in SPREADING:
            lanes = (lanes | lanes << shift) & mask * each
        return lanes

    each = int.from_bytes((b"\1" + bytes(7)) * count, "little")
    return struct.unpack(f"<{count}Q", (spread(ys) | spread(xs) << 1).to_bytes(8 * count, "little"))


@dataclass(slots=True, frozen=True)
class Cell:
    """A cell of the grid of ``2**step`` by ``2**step``."""

    bits: int
    step: int

    @property
    def scores(self) -> tuple[int, int]:
        """The first score of positions in it, and the first that is not."""
        shift = 2 * (STEPS - self.step)
        return (self.bits << shift) & MASK, ((self.bits + 1) << shift) & MASK

    def sides(self) -> tuple[list[float], list[float]]:
        """Return the longitudes at which its neighbour in the west begins, it begins and ends, and its neighbour in the
        east ends; and likewise the latitudes, from south to north."""
        return self._edges(_gather(self.bits >> 1), LONGITUDES), self._edges(_gather(self.bits), LATITUDES)

    def _edges(self, place: int, whole: Range) -> list[float]:
        low, high = whole
        parts, size = 1 << self.step, high - low
        places = (place - 1) % parts, place, place + 1 & 0xFFFFFFFF, (place + 1) % parts + 1
        return [low + (each / parts) * size for each in places]

    def moved(self, east: int, north: int) -> Cell:
        """The neighbour so many cells away, at the edge of the world the one at the other edge."""
        bits = (1 << 2 * self.step) - 1
        x, y = self.bits & ~EVEN & MASK, self.bits & EVEN
        if east:
            fill = EVEN & bits
            x = (x + fill + 1 if east > 0 else (x | fill) - (fill + 1)) & ~EVEN & bits
        if north:
            fill = ~EVEN & bits
            y = (y + fill + 1 if north > 0 else (y | fill) - (fill + 1)) & EVEN & bits
        return Cell(x | y, self.step)


def encode(longitude: float, latitude: float, step: int = STEPS, latitudes: Range = LATITUDES) -> int:
    """The geohash of a position that is in range."""
    (west, east), (south, north) = LONGITUDES, latitudes
    parts = 1 << step
    y = int((latitude - south) / (north - south) * parts) & 0xFFFFFFFF
    x = int((longitude - west) / (east - west) * parts) & 0xFFFFFFFF
    return _spread(y) | _spread(x) << 1


def decode(score: float) -> tuple[float, float]:
    """The longitude and latitude that a score stands for: the middle of its cell."""
    (position,) = decode_all([score])
    return position


def decode_all(scores: list[float]) -> list[tuple[float, float]]:
    """The longitudes and latitudes that these scores stand for."""
    count = len(scores)
    if not count:
        return []
    usual = min(scores) >= 0 and max(scores) < 1 << 2 * STEPS
    bits = int.from_bytes(struct.pack(f"<{count}Q", *map(int if usual else _unsigned, scores)), "little")
    xs, ys = _gather_all(bits >> 1, count), _gather_all(bits, count)
    if not usual:
        return list(map(_middle, xs, ys))
    # the same as ``_middle``, without a call for each
    longitudes = [((WEST + x * FINEST * WIDTH) + (WEST + (x + 1) * FINEST * WIDTH)) / 2 for x in xs]
    latitudes = [((SOUTH + y * FINEST * HEIGHT) + (SOUTH + (y + 1) * FINEST * HEIGHT)) / 2 for y in ys]
    return list(zip(longitudes, latitudes, strict=True))


def _middle(x: int, y: int) -> tuple[float, float]:
    """The middle of a cell of the finest grid, each step as Redis takes it; beyond the grid, its edge."""
    longitude = ((WEST + x * FINEST * WIDTH) + (WEST + (x + 1) * FINEST * WIDTH)) / 2
    latitude = ((SOUTH + y * FINEST * HEIGHT) + (SOUTH + (y + 1) * FINEST * HEIGHT)) / 2
    if (x | y) >= PARTS:
        return _within(longitude, LONGITUDES), _within(latitude, LATITUDES)
    return longitude, latitude


def _unsigned(score: float) -> int:
    """As x86-64 does it, also for what does not fit."""
    if -(2.0**63) <= score < 2.0**64:
        return int(score) & MASK
    return 0 if score > 0 else 1 << 63


def _within(degrees: float, whole: Range) -> float:
    return min(max(degrees, whole[0]), whole[1])


_PAIRS = [bytes((one, other)) for one in ALPHABET for other in ALPHABET]
"""Two characters for ten bits."""


def texts(positions: list[tuple[float, float]]) -> list[bytes]:
    """The geohashes of positions as other programs write them (https://en.wikipedia.org/wiki/Geohash), whose latitudes
    go to the poles. Of 11 characters the last always is 0: the precision is of 52 bits."""
    xs = [int((longitude + 180.0) / 360.0 * PARTS) & 0xFFFFFFFF for longitude, _ in positions]
    ys = [int((latitude + 90.0) / 180.0 * PARTS) & 0xFFFFFFFF for _, latitude in positions]
    pairs = _PAIRS
    return [
        b"%b%b%b%b%b0"
        % (
            pairs[bits >> 42 & 0x3FF],
            pairs[bits >> 32 & 0x3FF],
            pairs[bits >> 22 & 0x3FF],
            pairs[bits >> 12 & 0x3FF],
            pairs[bits >> 2 & 0x3FF],
        )
        for bits in _interleaved(xs, ys)
    ]


def distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres between two positions (haversine formula)."""
    v = sin((other[0] * DEGREE - one[0] * DEGREE) / 2)
    if v == 0.0:
        return _latitude_distance(one[1], other[1])
    south, north = one[1] * DEGREE, other[1] * DEGREE
    u = sin((north - south) / 2)
    return 2.0 * EARTH_RADIUS * asin(sqrt(u * u + cos(south) * cos(north) * v * v))


def _latitude_distance(one: float, other: float) -> float:
    return EARTH_RADIUS * abs(other * DEGREE - one * DEGREE)


@dataclass(slots=True)
class Shape:
    """A circle, or a box, around a position; in metres. A circle has a radius, a box none."""

    centre: tuple[float, float] = (0.0, 0.0)
    radius: float | None = None
    width: float = 0.0
    height: float = 0.0

    def measure(self) -> Callable[[tuple[float, float]], float | None]:
        """A function that returns the metres from the centre to a position that is inside, None for one that is not."""
        return self._in_circle(self.radius) if self.radius is not None else self._in_box

    def _in_circle(self, radius: float) -> Callable[[tuple[float, float]], float | None]:
        # As ``distance`` does it, from the centre on; what is the same for all positions is computed once.
        west, south = self.centre[0] * DEGREE, self.centre[1] * DEGREE
        cos_south = cos(south)
        centre_latitude = self.centre[1]
        far = radius / EARTH_RADIUS / DEGREE * (1 + 1e-9)  # degrees; rounding shall not exclude what is inside

        def distance_to(position: tuple[float, float]) -> float | None:
            longitude, latitude = position
            if not -far <= latitude - centre_latitude <= far:
                return None
            v = sin((longitude * DEGREE - west) / 2)
            if v == 0.0:
                found = _latitude_distance(centre_latitude, latitude)
            else:
                north = latitude * DEGREE
                u = sin((north - south) / 2)
                found = 2.0 * EARTH_RADIUS * asin(sqrt(u * u + cos_south * cos(north) * v * v))
            return None if found > radius else found

        return distance_to

    def _in_box(self, position: tuple[float, float]) -> float | None:
        if _latitude_distance(position[1], self.centre[1]) > self.height / 2:
            return None
        if distance(position, (self.centre[0], position[1])) > self.width / 2:
            return None
        return distance(self.centre, position)

    def bounds(self) -> tuple[Range, Range]:
        """Longitudes and latitudes that it is within."""
        longitude, latitude = self.centre
        height = self.radius if self.radius is not None else self.height / 2
        width = self.radius if self.radius is not None else self.width / 2
        north = height / EARTH_RADIUS / DEGREE
        edge = latitude - north if latitude < 0 else latitude + north
        east = width / EARTH_RADIUS / cos(edge * DEGREE) / DEGREE
        return (longitude - east, longitude + east), (latitude - north, latitude + north)

    def reach(self) -> float:
        """Metres from the centre to what is furthest away."""
        if self.radius is not None:
            return self.radius
        return sqrt((self.width / 2) * (self.width / 2) + (self.height / 2) * (self.height / 2))


AROUND = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""A cell and its neighbours, east and north, in the order in which Redis searches them."""


def ranges(shape: Shape) -> Iterator[tuple[int, int]]:
    """The ranges of scores, from and before, in which everything in the shape is; other positions are in them too."""
    (west, east), (south, north) = shape.bounds()
    longitude, latitude = shape.centre
    step = _estimated_step(shape.reach(), latitude)
    cell = Cell(encode(longitude, latitude, step), step)
    longitudes, latitudes = cell.sides()
    if step > 1 and (latitudes[3] < north or latitudes[0] > south or longitudes[3] < east or longitudes[0] > west):
        step -= 1
        cell = Cell(encode(longitude, latitude, step), step)
        longitudes, latitudes = cell.sides()
    (_, cell_west, cell_east, _), (_, cell_south, cell_north, _) = longitudes, latitudes
    useless: set[tuple[int, int]] = set()
    if step >= 2:  # where the cell alone reaches further than the shape
        sides = [(cell_south < south, (0, -1)), (cell_north > north, (0, 1))]
        sides += [(cell_west < west, (-1, 0)), (cell_east > east, (1, 0))]
        useless = {side for reaches, side in sides if reaches}
    last = None
    for move in AROUND:
        if (move[0] and (move[0], 0) in useless) or (move[1] and (0, move[1]) in useless):
            continue
        found = cell.moved(*move)
        if found != last:  # of large cells neighbours are the same
            yield found.scores
        if move != (0, 0):
            last = found


def _estimated_step(metres: float, latitude: float) -> int:
    """Bits at which a cell is about as large as the shape."""
    if metres == 0:
        return STEPS
    step = 1
    while metres < MERCATOR_MAX:
        metres *= 2
        step += 1
    step -= 2
    if abs(latitude) > 66:
        step -= 1 if abs(latitude) <= 80 else 2  # wider towards the poles
    return min(max(step, 1), STEPS)
