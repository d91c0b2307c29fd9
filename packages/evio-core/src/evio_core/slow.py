"""A debug mode: callbacks that hold up a loop are named in the log, as asyncio's debug mode does.

Callbacks are wrapped, so that nothing is paid while it is off; while it is on, two looks at the clock for each call.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

from .errors import EvioError
from .events import Events, Handler
from .logs import log
from .middleware import Wrapped

__all__ = ["ON_LOOPS", "VARIABLE", "Timed", "slow_after", "timed", "watched"]

VARIABLE = "EVIO_SLOW_CALLBACK"
"""The variable of the environment that has the seconds for all servers of a process, whatever their settings say."""

ON_LOOPS = (
    "opened", "data", "woken", "not_tls", "eof", "drained", "writable", "secured", "retiring",
    "stopping", "pre_write", "detached", "closed", "tick",
)  # fmt: skip
"""The callbacks that run on loops by themselves, and hold them up; ``serving`` runs before them, ``stopped`` after."""


def slow_after(events: Events) -> float:
    """Return the seconds after which a callback is too slow; 0 for never. Raises :class:`EvioError` for a variable of
    the environment that is no time."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return events.slow_callback
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise EvioError(f"{VARIABLE} must be a number of seconds from 0, not {text!r}")
    return value


def watched(events: Events, limit: float) -> Events:
    """Return the same events, whose callbacks are logged when they take longer than ``limit`` seconds."""
    if not limit:
        return events
    wrapped = dataclasses.replace(events)
    for name in ON_LOOPS:
        callback = getattr(events, name)
        if callback is not None:
            setattr(wrapped, name, timed(callback, limit, f"{name}: "))
    return wrapped


def timed(function: Callable[..., Any], limit: float, what: str = "") -> Callable[..., Any]:
    """Return the function with a look at the clock before and after."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        begun = perf_counter()
        try:
            return function(*arguments)
        finally:
            _report(function, what, perf_counter() - begun, limit, arguments[0] if arguments else None)

    return call


class Timed(Wrapped):
    """The same for a handler."""

    __slots__ = ("_limit",)

    def __init__(self, inner: Handler, limit: float) -> None:
        super().__init__(inner)
        self._limit = limit

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        begun = perf_counter()
        try:
            return method(*arguments)
        finally:
            _report(method, f"{method.__name__}: ", perf_counter() - begun, self._limit, self.conn)


def _report(function: Callable[..., Any], what: str, taken: float, limit: float, conn: object) -> None:
    if taken > limit:
        about = f", for {conn!r}" if hasattr(conn, "remote_addr") else ""
        log.warning("%s%s held up its loop for %.1f ms%s", what, _name(function), taken * 1000, about)


def _name(function: Callable[..., Any]) -> str:
    """``module.Class.method``, also for what has no name of its own (``functools.partial``, a callable object)."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
