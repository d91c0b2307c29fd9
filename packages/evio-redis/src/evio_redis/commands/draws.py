"""Random members with repetition: as many as are asked for, which may be far more than there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["draws"]


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
