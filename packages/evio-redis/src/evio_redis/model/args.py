"""Common parts of commands' arguments: options, and numbers of keys that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import SYNTAX_ERROR, CommandError
from ..protocol.numbers import to_int
from .command import Args

__all__ = ["Options", "mpop_options", "numkeys_positions"]


class Options:
    """The words from a place in a command's arguments on, read one after the other: iterating yields the name of each
    option in upper case, and what it needs is taken meanwhile::

        options = Options(args, 3)
        for option in options:
            if option == b"LIMIT":
                offset, count = map(parse_int, options.take(2))
            else:
                raise options.unknown()
    """

    __slots__ = ("_args", "at")

    def __init__(self, args: Args, at: int) -> None:
        self._args = args
        self.at: int = at
        """The index of the next word in the arguments."""

    def __iter__(self) -> Iterator[bytes]:
        args = self._args
        while self.at < len(args):
            self.at += 1
            yield args[self.at - 1].upper()

    def take(self, count: int) -> list[bytes]:
        """So many words, as they are. Raises :class:`CommandError` if there are fewer."""
        self.at += count
        if self.at > len(self._args):
            raise self.unknown()
        return self._args[self.at - count : self.at]

    def word(self) -> bytes:
        """The next word, as it is. Raises :class:`CommandError` if there is none."""
        return self.take(1)[0]

    @staticmethod
    def unknown() -> CommandError:
        """For an option that there is not, or that lacks something."""
        return CommandError(SYNTAX_ERROR)


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
    options, count = Options(args, at + 1), None
    for option in options:
        if option != b"COUNT" or count is not None:
            raise options.unknown()
        count = to_int(options.word())
        if count is None or count <= 0:
            raise CommandError("ERR count should be greater than 0")
    return keys, where == first, 1 if count is None else count
