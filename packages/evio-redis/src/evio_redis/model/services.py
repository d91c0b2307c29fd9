"""The parts of one server, which commands and other parts get instead of the server itself.

A part is asked for by its class, so that whoever asks depends on that part alone::

    session.services[PubSub].publish(channel, message)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["Services"]

T = TypeVar("T")


class Services(dict[type, Any]):
    """One object of each class. A dictionary, as commands look parts up; ``KeyError`` for one that there is not."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getitem__(self, kind: type[T], /) -> T: ...

    def add(self, part: T) -> T:
        """Add a part under its class; returns it."""
        self[type(part)] = part
        return part
