"""``--trace``: a line for each event."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

from ..events import Events, Handler, HandlerFactory, Reply
from ..middleware import Wrapped

__all__ = ["traced"]

SHOWN = 200
"""Characters of a line's data and output."""

NAMES = ("opened", "data", "woken", "eof", "writable", "secured", "retiring", "stopping", "detached", "closed")
"""The events of a connection that are shown. ``drained`` would be one for each output."""

Say = Callable[[str], object]


def traced(events: Events, say: Say) -> Events:
    """Return the same events, of which ``say`` is told: number of the connection, peer, event, what came and what is
    returned."""
    numbers = itertools.count(1)
    shown = dataclasses.replace(events)
    for name in NAMES:
        callback = getattr(events, name)
        if callback is not None or name in ("opened", "closed"):
            setattr(shown, name, _callback(name, callback, numbers, say))
    shown.handlers = {address: _Traced.around_factory(made, numbers, say) for address, made in events.handlers.items()}
    return shown


def _callback(name: str, callback: Callable[..., Any] | None, numbers: itertools.count[int], say: Say) -> Any:
    @functools.wraps(callback or _callback)
    def call(conn: Any, *arguments: Any) -> Any:
        reply = callback(conn, *arguments) if callback is not None else None
        say(_line(_numbered(conn, numbers), conn, name, arguments, reply))
        if name == "closed":
            _known.pop(id(conn), None)
        return reply

    return call


_known: dict[int, int] = {}
"""Numbers of connections that are open, by ``id``: their ``context`` is the program's."""


def _numbered(conn: Any, numbers: itertools.count[int]) -> int:
    number = _known.get(id(conn))
    if number is None:
        number = _known[id(conn)] = next(numbers)
    return number


def _line(number: int, conn: Any, name: str, arguments: tuple[Any, ...], reply: object) -> str:
    given = ", ".join(_short(each) for each in arguments if each is not None)
    returned = f" -> {_short(reply)}" if reply is not None else ""
    return f"#{number} {conn.remote_addr} {name}({given}){returned}"


def _short(value: object) -> str:
    text = repr(bytes(value)) if isinstance(value, memoryview) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


class _Traced(Wrapped):
    """Says what each method was called with and what it returned."""

    __slots__ = ("_number", "_say")

    def __init__(self, inner: Handler, number: int, say: Say) -> None:
        super().__init__(inner)
        self._number = number
        self._say = say

    @classmethod
    def around_factory(cls, factory: HandlerFactory, numbers: itertools.count[int], say: Say) -> HandlerFactory:
        """A factory whose handlers are numbered."""
        return lambda: cls(factory(), next(numbers), say)

    def call(self, method: Callable[..., Any], *arguments: Any) -> Reply:
        reply: Reply = method(*arguments)
        self._say(_line(self._number, self.conn, method.__name__, arguments, reply))
        return reply
