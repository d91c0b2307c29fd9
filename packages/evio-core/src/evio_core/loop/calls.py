"""Calls of the program's own at a time, and for descriptors of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from time import monotonic
from typing import Any

from ..checks import not_negative
from ..logs import log
from .loop import Loop, Timer
from .polled import Polled
from .poller import READ, WRITE

__all__ = ["Call", "DescriptorWatch", "call_safely"]

FOREVER = 10 * 365 * 24 * 3600.0
"""Seconds. Event loops of asyncio take no more than some billions."""


class Call(Polled):
    """A function to be called at a time; implements :class:`evio_core.events.TimerHandle`."""

    __slots__ = ("_arguments", "_fire", "_function", "_loop", "_owner", "_timer")

    def __init__(
        self,
        loop: Loop,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        fire: Callable[[Callable[..., Any], tuple[Any, ...]], object],
        owner: set[Call] | None = None,
    ) -> None:
        """``fire`` calls the function; ``owner`` has the calls that are still to come."""
        self._loop = loop
        self._function: Callable[..., Any] | None = function
        self._arguments = arguments
        self._fire = fire
        self._owner = owner
        self._timer: Timer | None = None

    def begin(self, seconds: float) -> None:
        """Set the timer. From any thread. Raises ``ValueError`` for a time below 0 or NaN."""
        when = monotonic() + min(not_negative("seconds", seconds), FOREVER)
        if self._owner is not None:
            self._owner.add(self)
        if threading.get_ident() == self._loop.ident:
            self._arm(when)
        else:
            self._loop.submit(self._arm, when)

    def _arm(self, when: float) -> None:
        if self._function is not None:
            self._timer = self._loop.arm(self, when)

    @property
    def is_pending(self) -> bool:
        return self._function is not None

    def cancel(self) -> None:
        self._function = None
        if self._owner is not None:
            self._owner.discard(self)
        if threading.get_ident() == self._loop.ident:
            self._disarm()
        else:
            self._loop.submit(self._disarm)

    def _disarm(self, _: object = None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self._loop.cancel(timer)

    def on_timer(self, now: float) -> None:
        function, self._function = self._function, None
        self._timer = None
        if self._owner is not None:
            self._owner.discard(self)
        if function is not None and not self._loop.stopping:
            with self._loop.lock or nullcontext():
                self._fire(function, self._arguments)


class DescriptorWatch(Polled):
    """A descriptor of the program's that a loop polls; implements :class:`evio_core.events.Watch`."""

    __slots__ = ("_fd", "_loop", "_open", "_readable", "_writable")

    is_descriptor = True

    def __init__(
        self,
        loop: Loop,
        fd: int,
        readable: Callable[[], object] | None,
        writable: Callable[[], object] | None,
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._readable = readable
        self._writable = writable
        self._open = True

    def begin(self) -> None:
        """Watch it; from another thread, soon. Raises ``OSError`` for a descriptor that cannot be polled and
        ``ValueError`` for one that is watched already, from another thread into the log."""
        if threading.get_ident() == self._loop.ident:
            self._begin()
        else:
            self._loop.submit(self._begin_later)

    def _begin(self) -> None:
        if self._fd in self._loop.handlers:
            raise ValueError(f"descriptor {self._fd} is watched already")
        if self._open and not self._loop.stopping:
            mask = (READ if self._readable is not None else 0) | (WRITE if self._writable is not None else 0)
            self._loop.add(self._fd, self, mask)

    def _begin_later(self, _: object) -> None:
        try:
            self._begin()
        except (OSError, ValueError):
            log.exception("cannot watch descriptor %d", self._fd)

    def close(self) -> None:
        self._open = False
        if threading.get_ident() == self._loop.ident:
            self.close_now()
        else:
            self._loop.submit(self.close_now)

    def close_now(self, _: object = None) -> None:
        self._open = False
        if self._loop.handlers.get(self._fd) is self:
            self._loop.remove(self._fd)

    def on_event(self, mask: int) -> None:
        if self._readable is not None and mask & ~WRITE:
            self._call(self._readable)
        if self._open and self._writable is not None and mask & ~READ:
            self._call(self._writable)

    def _call(self, function: Callable[[], object]) -> None:
        try:
            with self._loop.lock or nullcontext():
                function()
        except Exception:
            log.exception("watching descriptor %d failed, it is watched no more", self._fd)
            self.close_now()


def call_safely(function: Callable[..., object], arguments: tuple[Any, ...] = ()) -> None:
    """Call a function of the program's that belongs to no connection; what it raises is logged."""
    try:
        function(*arguments)
    except Exception:
        log.exception("a function given to the server failed: %r", function)
