"""A pipe by which a worker learns that its supervisor is gone."""

from __future__ import annotations

from collections.abc import Callable

from .loop import Loop
from .polled import Polled
from .poller import READ

__all__ = ["Lifeline"]


class Lifeline(Polled):
    """A pipe that nobody ever writes to, whose other end only the supervisor has: it becomes readable when the
    kernel closes that end."""

    __slots__ = ("_fd", "_loop", "_stop")

    is_descriptor = True

    def __init__(self, fd: int, stop: Callable[[int, object], None]) -> None:
        self._fd = fd
        self._stop = stop
        self._loop: Loop | None = None

    def watch(self, loop: Loop) -> None:
        """Watch on this loop."""
        self._loop = loop
        loop.add(self._fd, self, READ)

    def on_event(self, mask: int) -> None:
        self._stop(0, None)
        self.close_now()

    def close_now(self) -> None:
        """Watch no more."""
        if self._loop is not None:
            self._loop.remove(self._fd)
            self._loop = None
