"""Popping from the first of several keys that has anything, and waiting for one: lists and sorted sets alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..clients.blocking import Blocking

if TYPE_CHECKING:
    from ..clients.session import Session

__all__ = ["Pop", "pop_first", "pop_or_wait"]

Pop = Callable[[bytes], "bytes | None"]
"""Pops from a key and returns the reply, None if there is nothing. Raises :class:`CommandError` for a wrong type."""


def pop_first(keys: Iterable[bytes], pop: Pop) -> bytes | None:
    """The reply for the first key that has anything; None if none has. Raises what ``pop`` does."""
    return next((reply for reply in map(pop, keys) if reply is not None), None)


def pop_or_wait(session: Session, keys: list[bytes], kind: type[object], timeout: float, pop: Pop) -> bytes:
    """The same, waiting for so many seconds if none has anything; a key of another type than ``kind`` is waited for,
    too, once it is waited."""

    def attempt(key: bytes) -> bytes | None:
        return pop(key) if type(session.db.lookup(key)) is kind else None

    found = pop_first(keys, pop)
    return found or session.services[Blocking].wait(session, keys, timeout, attempt, session.resp.null_array)
