"""Positions on the earth as numbers, and which ranges of these numbers an area is in.

A geohash halves the world by longitude and by latitude in turn, and writes down in which half a position is: positions
that are near each other mostly have numbers that are. With 26 bits of each it fits a double, which is what a sorted
set has as a score. The arithmetic is Redis's own, step for step, so that the last digits are the same.

https://redis.io/docs/latest/commands/geoadd/
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import asin, cos, floor, pi, sin, sqrt

__all__ = [
    "LATITUDES",
    "LONGITUDES",
    "STEPS",
    "Found",
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
Found = tuple[float, bytes, float, tuple[float, float]]
"""A member in an area: its distance in metres, its name, its score, its position."""

Place = tuple[int, int, tuple[float, bytes]]
"""A column and a row, and the score and the member that are there."""

LONGITUDES: Range = (-180.0, 180.0)
LATITUDES: Range = (-85.05112878, 85.05112878)
"""Of the Mercator projection (EPSG:3857), which makes the world a square."""

WEST, SOUTH = LONGITUDES[0], LATITUDES[0]
WIDTH, HEIGHT = LONGITUDES[1] - LONGITUDES[0], LATITUDES[1] - LATITUDES[0]
COLUMN, ROW = WIDTH / PARTS, HEIGHT / PARTS
"""Degrees of a cell of the finest grid. To divide by a power of two is exact, so it does not matter when it is done."""

EARTH_RADIUS = 6372797.560856
"""Metres."""

BEYOND = 1 << 32
"""A column or row behind all that a score can stand for."""

NOWHERE = (0.0, 0.0)
"""The position of what is found, where it need not be known."""

MARGIN = 1 + 1e-9
"""For what rounding takes away."""

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


_EVEN_BITS = bytes(sum((byte >> 2 * bit & 1) << bit for bit in range(4)) for byte in range(256))
_ODD_BITS = bytes(_EVEN_BITS[byte >> 1] for byte in range(256))
_EVEN_BITS_UP, _ODD_BITS_UP = (bytes(bits << 4 for bits in table) for table in (_EVEN_BITS, _ODD_BITS))
"""The four bits at the even places of a byte and those at the odd ones, in the lower and in the upper half of one."""

SPREADING = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, EVEN),
)
"""Shifts that bring the bits of a 32-bit number to the even places, and the bits that are right after each."""


def _grid(scores: list[float]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the columns and the rows of the cells of the finest grid that these scores stand for.

    All at once, in C: two bytes of a score give a byte of its column and one of its row."""
    count = len(scores)
    try:
        packed = struct.pack(f"<{count}Q", *map(floor, scores))
    except (struct.error, OverflowError):
        packed = struct.pack(f"<{count}Q", *map(_unsigned, scores))
    low, high = packed[0::2], packed[1::2]
    lower = int.from_bytes(low.translate(_ODD_BITS) + low.translate(_EVEN_BITS), "little")
    upper = int.from_bytes(high.translate(_ODD_BITS_UP) + high.translate(_EVEN_BITS_UP), "little")
    both = struct.unpack(f"<{2 * count}I", (lower | upper).to_bytes(8 * count, "little"))
    return both[:count], both[count:]


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


def _cell(longitude: float, latitude: float, step: int) -> tuple[int, int]:
    """The column and the row of a position that is in range, in the grid of ``2**step`` by ``2**step``."""
    parts = 1 << step
    return int((longitude - WEST) / WIDTH * parts) & 0xFFFFFFFF, int((latitude - SOUTH) / HEIGHT * parts) & 0xFFFFFFFF


def encode(longitude: float, latitude: float) -> int:
    """The geohash of a position that is in range."""
    x, y = _cell(longitude, latitude, STEPS)
    return _spread(y) | _spread(x) << 1


def decode(score: float) -> tuple[float, float]:
    """The longitude and latitude that a score stands for: the middle of its cell."""
    (position,) = decode_all([score])
    return position


def decode_all(scores: list[float]) -> list[tuple[float, float]]:
    """The longitudes and latitudes that these scores stand for."""
    if not scores:
        return []
    xs, ys = _grid(scores)
    if max(xs) >= PARTS or max(ys) >= PARTS:
        return list(map(_middle, xs, ys))
    # the same as ``_middle``, without a call for each
    longitudes = [((WEST + x * COLUMN) + (WEST + (x + 1) * COLUMN)) / 2 for x in xs]
    latitudes = [((SOUTH + y * ROW) + (SOUTH + (y + 1) * ROW)) / 2 for y in ys]
    return list(zip(longitudes, latitudes, strict=True))


def _middle(x: int, y: int) -> tuple[float, float]:
    """The middle of a cell of the finest grid, each step as Redis takes it; beyond the grid, its edge."""
    longitude = ((WEST + x * COLUMN) + (WEST + (x + 1) * COLUMN)) / 2
    latitude = ((SOUTH + y * ROW) + (SOUTH + (y + 1) * ROW)) / 2
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

    def search(self, pairs: list[tuple[float, bytes]], measured: bool = True) -> list[Found]:
        """Return those of these scores and members that are inside, in the same order, with their distances and
        positions. Unless ``measured``, these are 0 where they need not be known."""
        places = zip(*_grid([score for score, _ in pairs]), pairs, strict=True)
        return self._in_box(places) if self.radius is None else self._in_circle(places, self.radius, measured)

    def _in_circle(self, places: Iterable[Place], radius: float, measured: bool) -> list[Found]:
        # As ``_middle`` and ``distance`` do it, from the centre on; what is the same for all is computed once.
        from_x, to_x, from_y, to_y = self._window()
        west, south = self.centre[0] * DEGREE, self.centre[1] * DEGREE
        cos_south = cos(south)
        column, row, widest, near = (0.0, 0.0, 0.0, -1.0) if measured else self._surely(radius)
        found: list[Found] = []
        for x, y, pair in places:
            if x < from_x or x > to_x or y < from_y or y > to_y:
                continue  # as most are, and trigonometry takes time
            east, up = x - column, y - row
            if east * east * widest + up * up < near:
                found.append((0.0, pair[1], pair[0], NOWHERE))
                continue
            if (x | y) < PARTS:
                longitude = ((WEST + x * COLUMN) + (WEST + (x + 1) * COLUMN)) / 2
                latitude = ((SOUTH + y * ROW) + (SOUTH + (y + 1) * ROW)) / 2
            else:
                longitude, latitude = _middle(x, y)
            v = sin((longitude * DEGREE - west) / 2)
            if v == 0.0:
                metres = _latitude_distance(self.centre[1], latitude)
            else:
                north = latitude * DEGREE
                u = sin((north - south) / 2)
                metres = 2.0 * EARTH_RADIUS * asin(sqrt(u * u + cos_south * cos(north) * v * v))
            if metres <= radius:
                found.append((metres, pair[1], pair[0], (longitude, latitude)))
        return found

    def _surely(self, radius: float) -> tuple[float, float, float, float]:
        """Return the column and the row of the centre of a circle, and so much that a cell is surely inside if ``(its
        column - column)**2 * widest + (its row - row)**2 < near``.

        It is the haversine formula (:meth:`_window`) with the angles instead of their sines, which are less, and with
        the largest cosine of a latitude inside. Cells have a width of rounding that is far less than what is taken off
        here."""
        longitude, latitude = self.centre
        y, height = latitude * DEGREE, radius / EARTH_RADIUS
        largest = cos(abs(y) - height) if height < abs(y) else 1.0
        half_row = ROW * DEGREE / 2
        near = (sin(min(height, pi) / 2) / half_row) ** 2
        widest = cos(y) * largest * (COLUMN / ROW) ** 2
        return (longitude - WEST) / COLUMN - 0.5, (latitude - SOUTH) / ROW - 0.5, widest, near * (1 - 1e-6) - 1e-6

    def _in_box(self, places: Iterable[Place]) -> list[Found]:
        from_x, to_x, from_y, to_y = self._window()
        found: list[Found] = []
        for x, y, (score, member) in places:
            if x < from_x or x > to_x or y < from_y or y > to_y:
                continue
            position = _middle(x, y)
            if (
                _latitude_distance(position[1], self.centre[1]) <= self.height / 2
                and distance(position, (self.centre[0], position[1])) <= self.width / 2
            ):
                found.append((distance(self.centre, position), member, score, position))
        return found

    def _window(self) -> tuple[int, int, int, int]:
        """Return the first and the last column and row of the finest grid in which something may be that is inside. It
        is somewhat too large, so that rounding excludes nothing.

        Two positions have ``sin(d/2)**2 = sin(dy/2)**2 + cos(y1) cos(y2) sin(dx/2)**2`` (haversine formula), in
        radians. So with the least cosine of a latitude inside, d gives the largest dx."""
        longitude, latitude = self.centre
        circle = self.radius is not None
        height = (self.radius if self.radius is not None else self.height / 2) / EARTH_RADIUS * MARGIN
        width = (self.radius if self.radius is not None else self.width / 2) / EARTH_RADIUS * MARGIN
        y = latitude * DEGREE
        edge = min(cos(y - height), cos(y + height)) if abs(y) + height < pi / 2 else 0.0
        least = sqrt(cos(y) * edge) if circle else edge
        sine = sin(width / 2) / least if least > 0 and width < pi else 1.0
        east = 2 * asin(sine) / DEGREE * MARGIN if sine < 1 else 360.0
        north = height / DEGREE
        from_x, to_x, from_y, to_y = 0, BEYOND, 0, BEYOND
        if longitude - east > LONGITUDES[0] and longitude + east < LONGITUDES[1]:  # else it goes around the world
            from_x = int((longitude - east - WEST) / WIDTH * PARTS) - 2
            to_x = int((longitude + east - WEST) / WIDTH * PARTS) + 3
        if latitude - north > LATITUDES[0]:
            from_y = int((latitude - north - SOUTH) / HEIGHT * PARTS) - 2
        if latitude + north < LATITUDES[1]:
            to_y = int((latitude + north - SOUTH) / HEIGHT * PARTS) + 3
        return from_x, to_x, from_y, to_y

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


KNOWN = 512
"""Cells, and columns and rows, whose neighbours are remembered: many searches are near others."""

AROUND = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""A cell and its neighbours, east and north, in the order in which Redis searches them."""


def ranges(shape: Shape) -> tuple[Range, ...]:
    """The ranges of scores, from and before, in which everything in the shape is; other positions are in them too."""
    (west, east), (south, north) = shape.bounds()
    longitude, latitude = shape.centre
    step = _estimated_step(shape.reach(), latitude)
    x, y = _cell(longitude, latitude, step)
    if step > 1:
        (first, last), (lowest, highest) = _around(x, step, WEST, WIDTH), _around(y, step, SOUTH, HEIGHT)
        if highest < north or lowest > south or last < east or first > west:
            step -= 1
            x, y = _cell(longitude, latitude, step)
    right = left = up = down = True
    if step >= 2:  # there is nothing to look for on a side where the cell alone reaches further than the shape
        part = 1 / (1 << step)
        left, right = WEST + x * part * WIDTH >= west, WEST + (x + 1) * part * WIDTH <= east
        down, up = SOUTH + y * part * HEIGHT >= south, SOUTH + (y + 1) * part * HEIGHT <= north
    return _cells(x, y, step, left, right, down, up)


@lru_cache(KNOWN)
def _cells(x: int, y: int, step: int, left: bool, right: bool, down: bool, up: bool) -> tuple[Range, ...]:
    """The ranges of scores of a cell and of its neighbours on these sides."""
    shift = 2 * (STEPS - step)
    size = float(1 << shift)
    columns, rows = _with_neighbours(x, step, shift + 1, left, right), _with_neighbours(y, step, shift, down, up)
    found: list[Range] = []
    before: float | None = None
    for east_of, north_of in AROUND:
        column, row = columns[east_of], rows[north_of]
        if column is not None and row is not None:
            first = float(column | row)
            if first != before:  # of large cells neighbours are the same
                found.append((first, first + size))
            if east_of or north_of:
                before = first
    return tuple(found)


def _around(place: int, step: int, low: float, size: float) -> tuple[float, float]:
    """Return where, in one direction, the neighbour before a cell begins, and the one behind it ends."""
    parts = 1 << step
    return low + ((place - 1) % parts / parts) * size, low + (((place + 1) % parts + 1) / parts) * size


@lru_cache(KNOWN)
def _with_neighbours(place: int, step: int, shift: int, less: bool, more: bool) -> tuple[int, int | None, int | None]:
    """Return the bits at every second place of a column or a row, of the next one, and of the one before, unless they
    are not wanted, moved to where they are in a score; the world is round."""
    bits, mask = _spread(place), EVEN & (1 << 2 * step) - 1
    # With ones between the bits a carry goes on to the next of these, and a borrow does by itself.
    following = ((bits | ~mask) + 1 & mask) << shift if more else None
    return bits << shift, following, (bits - 1 & mask) << shift if less else None


STEPS_BY_REACH = [MERCATOR_MAX / (1 << halved) for halved in reversed(range(STEPS + 4))]
"""Metres from which a cell has a bit less."""


def _estimated_step(metres: float, latitude: float) -> int:
    """Bits at which a cell is about as large as the shape."""
    step = len(STEPS_BY_REACH) - bisect_right(STEPS_BY_REACH, metres) - 1
    if abs(latitude) > 66:
        step -= 1 if abs(latitude) <= 80 else 2  # wider towards the poles
    return min(max(step, 1), STEPS)
