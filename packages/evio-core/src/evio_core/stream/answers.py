"""Answers in the order of their requests, while one of them is not there yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, final

from ..events import Options
from ..loop.loop import Loop

__all__ = ["Answering", "Answers"]


class Answering(Protocol):
    """A connection as its answers see it."""

    loop: Loop
    options: Options

    @property
    def is_open(self) -> bool:
        """True between ``opened`` and the decision to end."""

    def answer(self, future: Future[Any]) -> None:
        """Do what ``future``, which is done, says."""

    def resume_output(self, answers: Answers) -> None:
        """Take answers that have come."""


@final
class Answers:
    """A queue of futures and of what comes behind them: output, and at last the end of the connection or of its output.
    A connection has one only while a future is in it."""

    __slots__ = ("_conn", "_entries", "closing", "end", "held", "waiting")

    def __init__(self, conn: Answering) -> None:
        self._conn = conn
        self._entries: deque[Future[Any] | tuple[Callable[[Any], object], Any]] = deque()
        self.waiting: int = 0
        """Futures in the queue."""
        self.held: int = 0
        """Bytes of output behind them."""
        self.end: Callable[[None], object] | None = None
        """The end, once the queue is empty: no output comes after it."""
        self.closing: bool = False
        """True if that ends the connection: no input is read any more either."""

    @property
    def full(self) -> bool:
        """True if no more input is to be read meanwhile."""
        options = self._conn.options
        return self.closing or 0 < options.max_deferred <= self.waiting or self.held > options.high_water

    def add(self, future: Future[Any]) -> None:
        """Put an answer that comes later at the end."""
        conn = self._conn
        self._entries.append(future)
        self.waiting += 1
        future.add_done_callback(lambda _: conn.loop.submit(conn.resume_output, self))

    def put(self, function: Callable[[Any], object], argument: Any, size: int) -> None:
        """Put what is to be called in its place at the end, with output of ``size`` bytes."""
        self._entries.append((function, argument))
        self.held += size

    def settle(self) -> bool:
        """Do what is due; False if there is more to wait for. The connection has let go of this object meanwhile, as
        what is due now waits for nothing."""
        conn, entries = self._conn, self._entries
        while entries and conn.is_open:
            entry = entries[0]
            if isinstance(entry, tuple):
                entries.popleft()
                function, argument = entry
                self.held -= len(argument) if isinstance(argument, bytes) else 0
                function(argument)
            elif entry.done():
                entries.popleft()
                self.waiting -= 1
                conn.answer(entry)
            else:
                return False
        if not conn.is_open:
            self.cancel()
        elif self.end is not None:
            self.end(None)
        return True

    def cancel(self) -> None:
        """Nobody is there to be answered: cancel what has not begun, forget what has, drop what is behind it."""
        entries = list(self._entries)
        self._entries.clear()
        for entry in entries:
            if isinstance(entry, Future):
                entry.cancel()
            elif not isinstance(entry[1], bytes):
                entry[1].close()
