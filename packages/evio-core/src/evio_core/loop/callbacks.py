"""The callbacks of a connection: those of ``Events``, or the methods of its handler.

``data`` is a function and what it is called for, ``conn.on_data(conn.subject, chunk)``: a callback and its connection,
or a method and its handler. So both cost the same, with nothing in between, and no connection keeps a bound
method, which takes 64 bytes. The other events are rarer: they are called as callbacks, which for a handler lead to its
methods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any

from ..events import Events, Handler, HandlerFactory, Reply

__all__ = ["data_callback", "data_method", "ignore", "make_handler", "methods_of"]


def make_handler(factory: HandlerFactory, conn: Any, wrap: Callable[[Handler], Handler] | None) -> Handler:
    """The handler of a new connection, with what ``wrap`` puts around it. Raises what ``factory`` raises, and
    ``TypeError`` if it makes something else."""
    handler: object = factory()
    if not isinstance(handler, Handler):
        raise TypeError(f"what is given for an address returns a Handler, not {handler!r}")
    if wrap is not None:
        handler = wrap(handler)
    handler.attach(conn)
    return handler


def data_callback(events: Events) -> Callable[[Any, Any], Reply]:
    """The callback ``data``, to be called for a connection."""
    return ignore if events.data is None else events.data


def data_method(handler: Handler) -> Callable[[Any, Any], Reply]:
    """The method ``data`` of a handler, as it is now, to be called for that handler."""
    bound = handler.data
    if type(bound) is MethodType and bound.__self__ is handler:
        function: Callable[[Any, Any], Reply] = bound.__func__
        return function
    return lambda _, chunk: bound(chunk)  # set on the instance, say


def ignore(_: object, chunk: object) -> None:
    """Do nothing with input."""


def methods_of(handler: Handler) -> Events:
    """Callbacks that call the methods of a connection's handler."""
    return _METHODS[handler.has_drained(), handler.has_writable()]


def _handler(conn: Any) -> Handler:
    handler: Handler = conn.subject
    return handler


_EACH = Events(
    opened=lambda conn: _handler(conn).opened(),
    woken=lambda conn: _handler(conn).woken(),
    eof=lambda conn: _handler(conn).eof(),
    secured=lambda conn: _handler(conn).secured(),
    retiring=lambda conn: _handler(conn).retiring(),
    stopping=lambda conn: _handler(conn).stopping(),
    detached=lambda conn, sock: _handler(conn).detached(sock),
    closed=lambda conn, error: _handler(conn).closed(error),
)


def _drained(conn: Any) -> Reply:
    return _handler(conn).drained()


def _writable(conn: Any) -> Reply:
    return _handler(conn).writable()


_METHODS = {
    (drained, writable): replace(_EACH, drained=_drained if drained else None, writable=_writable if writable else None)
    for drained in (False, True)
    for writable in (False, True)
}
"""By whether ``drained`` and ``writable`` are to be called: those who do not want them do not pay for them."""
