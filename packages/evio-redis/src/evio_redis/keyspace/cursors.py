"""Cursors of SCAN and its kin.

SCAN promises to return at least once whatever is there from the beginning of an iteration to its end. A ``dict`` may be
compacted between two calls, so a position in it promises nothing. A cursor is therefore a position in a list of the
elements made when the iteration began: 8 bytes an element, and the callers skip what is gone. The lists are few and
the oldest are dropped; a cursor whose list is gone begins anew, which may repeat elements (that is allowed) and loses
none.

https://redis.io/docs/latest/commands/scan/
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..errors import INVALID_CURSOR, CommandError
from ..model.args import Options
from ..protocol.glob import matcher
from ..protocol.numbers import parse_int

__all__ = ["Scans", "parse_cursor", "parse_options"]

MOST_LISTS = 64
MOST_ELEMENTS = 4_000_000

_CURSOR = re.compile(rb"(?:[+-]?[0-9]{1,100})?\Z").match

POSITION_BITS = 32
"""A cursor is the number of its list and, in this many low bits, the position."""


class Scans:
    """The iterations under way."""

    def __init__(self) -> None:
        self._lists: OrderedDict[int, tuple[Any, list[Any]]] = OrderedDict()  # number: of what, elements
        self._count = 0

    def scan(self, owner: object, elements: Callable[[], list[Any]], cursor: int, count: int) -> tuple[int, list[Any]]:
        """The next cursor, 0 at the end, and ``count`` elements of ``owner``, some of which may be gone."""
        number, position = cursor >> POSITION_BITS, cursor & ((1 << POSITION_BITS) - 1)
        known = self._lists.get(number) if cursor else None
        if known is None or known[0] is not owner:
            found = elements()
            if len(found) <= count:
                return 0, found
            self._count += 1
            number, position = self._count, 0
            self._lists[number] = owner, found
            self._drop()
        found = self._lists[number][1]
        self._lists.move_to_end(number)
        after = position + count
        if after >= len(found):
            del self._lists[number]
            return 0, found[position:]
        return (number << POSITION_BITS) | after, found[position:after]

    def _drop(self) -> None:
        while len(self._lists) > 1 and (
            len(self._lists) > MOST_LISTS or sum(len(each) for _, each in self._lists.values()) > MOST_ELEMENTS
        ):
            self._lists.popitem(last=False)


def parse_cursor(text: bytes) -> int:
    """A cursor. Raises :class:`CommandError`."""
    if _CURSOR(text) is None or abs(int(text or b"0")) >= 1 << 64:
        raise CommandError(INVALID_CURSOR)
    return int(text or b"0") % (1 << 64)


def parse_options(
    args: list[bytes], at: int, with_type: bool = False
) -> tuple[Callable[[bytes], object] | None, int, bytes | None]:
    """``[MATCH pattern] [COUNT count] [TYPE type]`` from ``args[at]`` on: a matcher or None, the count, the type or
    None. Raises :class:`CommandError`."""
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
