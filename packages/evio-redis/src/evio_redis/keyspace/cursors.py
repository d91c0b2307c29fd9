"""Cursors of SCAN and its kin.

SCAN promises to return at least once whatever is there from the beginning of an iteration to its end. A ``dict`` may be
compacted between two calls, so a position in it promises nothing. A cursor is therefore a position in a list of the
elements: 8 bytes an element, and the callers skip what is gone. The list is made when the iteration goes on, of all but
what its first call has returned, so that a first call alone costs what it returns. The lists are few and the oldest are
dropped; a cursor whose list is gone begins anew, which may repeat elements (that is allowed) and loses none.

https://redis.io/docs/latest/commands/scan/
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any

from ..errors import INVALID_CURSOR, CommandError
from ..model.args import Options
from ..protocol.glob import matcher
from ..protocol.numbers import parse_int

__all__ = ["Scans", "parse_cursor", "parse_options"]

MOST_LISTS = 64
MOST_ELEMENTS = 4_000_000

SURELY_64_BITS = 20
"""Digits that a 64-bit number may not have."""

_CURSOR = re.compile(rb"(?:[+-]?[0-9]{1,100})?\Z").match

POSITION_BITS = 32
"""A cursor is the number of its iteration and, in this many low bits, the position."""


class _Iteration:
    """One under way, of ``owner``. Its first call has returned ``returned``; ``rest``, made by the second, is the
    list of all others. So many elements are ``kept`` for it."""

    __slots__ = ("kept", "owner", "rest", "returned")

    def __init__(self, owner: object, returned: list[Any]) -> None:
        self.owner = owner
        self.returned = returned
        self.rest: list[Any] | None = None
        self.kept = len(returned)


class Scans:
    """The iterations under way."""

    def __init__(self) -> None:
        self._iterations: OrderedDict[int, _Iteration] = OrderedDict()  # by number
        self._count = 0
        self._elements = 0  # kept for all of them

    def scan(
        self, owner: object, elements: Callable[[], Collection[Any]], cursor: int, count: int
    ) -> tuple[int, list[Any]]:
        """The next cursor, 0 at the end, and ``count`` elements of ``owner``, some of which may be gone."""
        number, position = cursor >> POSITION_BITS, cursor & ((1 << POSITION_BITS) - 1)
        iteration = self._iterations.get(number) if cursor else None
        if iteration is None or iteration.owner is not owner:
            return self._begin(owner, elements(), count)
        rest = iteration.rest
        if rest is None:
            returned = set(iteration.returned)
            rest = iteration.rest = [element for element in elements() if element not in returned]
            iteration.returned = []
            self._elements += len(rest) - iteration.kept
            iteration.kept = len(rest)
        self._iterations.move_to_end(number)
        after = position + count
        if after >= len(rest):
            del self._iterations[number]
            self._elements -= iteration.kept
            return 0, rest[position:]
        self._drop()
        return (number << POSITION_BITS) | after, rest[position:after]

    def _begin(self, owner: object, elements: Collection[Any], count: int) -> tuple[int, list[Any]]:
        if len(elements) <= count:
            return 0, list(elements)
        found = list(islice(elements, count))
        self._count += 1
        self._iterations[self._count] = _Iteration(owner, found)
        self._elements += count
        self._drop()
        return self._count << POSITION_BITS, found

    def _drop(self) -> None:
        iterations = self._iterations
        while (len(iterations) > MOST_LISTS or self._elements > MOST_ELEMENTS) and len(iterations) > 1:
            _, dropped = iterations.popitem(last=False)
            self._elements -= dropped.kept


def parse_cursor(text: bytes) -> int:
    """A cursor. Raises :class:`CommandError`."""
    if text.isdigit() and len(text) < SURELY_64_BITS:  # the usual, without a match
        return int(text)
    if _CURSOR(text) is None or abs(int(text or b"0")) >= 1 << 64:
        raise CommandError(INVALID_CURSOR)
    return int(text or b"0") % (1 << 64)


def parse_options(
    args: list[bytes], at: int, with_type: bool = False
) -> tuple[Callable[[bytes], object] | None, int, bytes | None]:
    """``[MATCH pattern] [COUNT count] [TYPE type]`` from ``args[at]`` on: a matcher or None, the count, the type or
    None. Raises :class:`CommandError`."""
    if len(args) == at:
        return None, 10, None
    match: Callable[[bytes], object] | None = None
    count, kind = 10, None
    options = Options(args, at)
    for option in options:
        value = options.word()
        if option == b"COUNT":
            count = parse_int(value)
            if count < 1:
                raise options.unknown()
        elif option == b"MATCH":
            match = None if value == b"*" else matcher(value)
        elif option == b"TYPE" and with_type:
            kind = value.lower()
        else:
            raise options.unknown()
    return match, count, kind
