"""The parts of one server, which commands and other parts get instead of the server itself.

A part is asked for by its class, so that whoever asks depends on that part alone::

    session.services[PubSub].publish(channel, message)
"""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["Services"]

T = TypeVar("T")


class Services:
    """One object of each class."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[type, Any] = {}

    def add(self, part: T) -> T:
        """Add a part under its class; returns it."""
        self._parts[type(part)] = part
        return part

    def __getitem__(self, kind: type[T]) -> T:
        """Return the part of this class. Raises ``KeyError`` for one that the server does not have."""
        part: T = self._parts[kind]
        return part
