"""LCS: the longest common subsequence of two strings.

Redis fills a table of 4 bytes for each pair of bytes. Here a row is one integer, with a bit for each byte of the second
string that is 0 where the length grows, and is made from the one before by a few operations on whole integers
(H. Hyyrö, "Bit-parallel LCS-length computation revisited", 2004), so that Python takes no step for each pair.

https://redis.io/docs/latest/commands/lcs/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import SYNTAX_ERROR, CommandError
from ..model.command import Args, command
from ..protocol.numbers import parse_int
from ..protocol.resp import array, bulk, integer

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

NOT_STRINGS = "ERR The specified keys must contain string values"
AMBIGUOUS = "ERR If you want both the length and indexes, please just use IDX."
TOO_LARGE = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"

CELL = 4
"""Bytes that Redis takes for each pair; its limit holds here, too, as it bounds the time."""

Range = tuple[int, int, int]
"""A common run: its place in the first string, its place in the second, and its bytes."""


@command("LCS", arity=-3, flags="readonly", keys=(1, 2), group="string", since="7.0.0")
def lcs(session: Session, args: Args) -> bytes:
    values = [session.db.read(key) for key in args[1:3]]
    if any(value is not None and not isinstance(value, bytes) for value in values):
        raise CommandError(NOT_STRINGS)
    options, shortest = _options(args)
    one, other = (value or b"" for value in values)
    if (len(one) + 1) * (len(other) + 1) * CELL > session.services[Config].proto_max_bulk_len:
        raise CommandError(TOO_LARGE)
    rows = _rows(one, other)
    length = _length(rows[-1], len(other))
    if b"IDX" in options:
        found = [_show(each, b"WITHMATCHLEN" in options) for each in _ranges(one, other, rows) if each[2] >= shortest]
        return session.resp.map([bulk(b"matches"), array(found), bulk(b"len"), integer(length)])
    if b"LEN" in options:
        return integer(length)
    ranges = _ranges(one, other, rows)
    return bulk(b"".join(one[start : start + size] for start, _, size in reversed(ranges)))


def _options(args: Args) -> tuple[set[bytes], int]:
    options: set[bytes] = set()
    shortest = 0
    words = iter(args[3:])
    for word in words:
        option = word.upper()
        if option == b"MINMATCHLEN":
            operand = next(words, None)
            if operand is None:
                raise CommandError(SYNTAX_ERROR)
            shortest = parse_int(operand)
        elif option in (b"IDX", b"LEN", b"WITHMATCHLEN"):
            options.add(option)
        else:
            raise CommandError(SYNTAX_ERROR)
    if {b"IDX", b"LEN"} <= options:
        raise CommandError(AMBIGUOUS)
    return options, shortest


def _rows(one: bytes, other: bytes) -> list[int]:
    """A row for each prefix of ``one``: the zeros among the lowest ``j`` bits are the length for ``other[:j]``."""
    places = dict.fromkeys(one, 0)
    for at, byte in enumerate(other):
        if byte in places:
            places[byte] |= 1 << at
    full = (1 << len(other)) - 1
    row = full
    rows = [row]
    for byte in one:
        matches = row & places[byte]
        row = ((row + matches) | (row - matches)) & full
        rows.append(row)
    return rows


def _length(row: int, size: int) -> int:
    return size - (row & ((1 << size) - 1)).bit_count()


def _ranges(one: bytes, other: bytes, rows: list[int]) -> list[Range]:
    """The pieces of the subsequence, the last one first. Of several that are longest it is the one that Redis finds,
    which goes back in the second string where it can."""
    ranges: list[Range] = []
    i, j, size = len(one), len(other), 0
    while i and j:
        if one[i - 1] == other[j - 1]:
            i, j, size = i - 1, j - 1, size + 1
            continue
        if size:
            ranges.append((i, j, size))
            size = 0
        if _length(rows[i - 1], j) > _length(rows[i], j - 1):
            i -= 1
        else:
            j -= 1
    if size:
        ranges.append((i, j, size))
    return ranges


def _show(found: Range, with_length: bool) -> bytes:
    start, other_start, size = found
    parts = [
        array([integer(start), integer(start + size - 1)]),
        array([integer(other_start), integer(other_start + size - 1)]),
    ]
    return array([*parts, integer(size)] if with_length else parts)
