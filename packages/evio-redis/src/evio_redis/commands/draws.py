"""Random members with repetition: as many as are asked for, which may be far more than there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import SYNTAX_ERROR, CommandError
from ..protocol.numbers import LLONG_MAX, parse_int

if TYPE_CHECKING:
    from ..clients.session import Session
    from ..model.command import Args

__all__ = ["draw_count", "draws"]

MOST_PAIRS = LLONG_MAX // 2


def draw_count(args: Args, extra: bytes = b"") -> tuple[int | None, bool]:
    """Read ``[count [extra]]`` from ``args[2]`` on: the count, None without one, and if the word ``extra`` is there.
    Raises :class:`CommandError`."""
    if len(args) == 2:
        return None, False
    count = parse_int(args[2])
    if count < -LLONG_MAX:
        raise CommandError(f"ERR value is out of range, value must between {-LLONG_MAX} and {LLONG_MAX}")
    if len(args) == 3:
        return count, False
    if len(args) > 4 or args[3].upper() != extra:
        raise CommandError(SYNTAX_ERROR)
    if not -MOST_PAIRS <= count <= MOST_PAIRS:
        raise CommandError("ERR value is out of range")
    return count, True


def draws(session: Session, count: int, draw: Callable[[], bytes], elements: int = 1) -> bytes:
    """The reply of ``count`` calls of ``draw``, which returns so many elements, encoded. It ends early when it is as
    large as the client's output may be: then the client is dropped and does not get it."""
    pieces, size, limit = [b"*%d\r\n" % (count * elements)], 0, session.hard_limit
    for _ in range(count):
        piece = draw()
        pieces.append(piece)
        size += len(piece)
        if 0 < limit <= size:
            break
    return b"".join(pieces)
