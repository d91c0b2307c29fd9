"""Arguments that say how many keys follow them."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import SYNTAX_ERROR, CommandError
from ..protocol.numbers import to_int
from .command import Args

__all__ = ["mpop_options", "numkeys_positions"]


def _read_numkeys(args: Args, at: int) -> list[bytes]:
    """The keys that ``args[at]`` counts. Raises :class:`CommandError`."""
    count = to_int(args[at])
    if count is None or count <= 0:
        raise CommandError("ERR numkeys should be greater than 0")
    if at + 1 + count >= len(args):
        raise CommandError(SYNTAX_ERROR)
    return args[at + 1 : at + 1 + count]


def numkeys_positions(at: int) -> Callable[[Args], list[int]]:
    """For ``get_keys``: where the keys are that ``args[at]`` counts."""

    def positions(args: Args) -> list[int]:
        count = to_int(args[at]) if len(args) > at else None
        return list(range(at + 1, at + 1 + count)) if count and 0 < count < len(args) - at else []

    return positions


def mpop_options(args: Args, at: int, first: bytes, last: bytes) -> tuple[list[bytes], bool, int]:
    """``numkeys key [key ...] first|last [COUNT count]`` from ``args[at]`` on: the keys, whether ``first`` is wanted,
    the count. Raises :class:`CommandError`."""
    keys = _read_numkeys(args, at)
    at += 1 + len(keys)
    where = args[at].upper()
    if where not in (first, last):
        raise CommandError(SYNTAX_ERROR)
    if len(args) == at + 1:
        return keys, where == first, 1
    if len(args) != at + 3 or args[at + 1].upper() != b"COUNT":
        raise CommandError(SYNTAX_ERROR)
    count = to_int(args[at + 2])
    if count is None or count <= 0:
        raise CommandError("ERR count should be greater than 0")
    return keys, where == first, count
