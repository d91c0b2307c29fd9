"""Handlers of a loop's descriptors, and what the loop asks of the few that it treats in ways of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..events import Reply

__all__ = ["Droppable", "Flushable", "Polled", "InlineStream"]


class Polled:
    """The owner of a descriptor that a loop polls, or of a timer. All methods run in the loop's thread."""

    __slots__ = ()

    is_descriptor = False
    """True for a handler of a descriptor itself, rather than of a connection: the fallback's loop has to poll it."""

    inline = False
    """True only for an :class:`InlineStream` while ``Loop.run`` serves it by itself."""

    def on_event(self, mask: int) -> None:
        """Serve the descriptor, which is ready for ``mask``, a sum of the poller's bits."""
        raise NotImplementedError

    def on_timer(self, now: float) -> None:
        """Serve a timer set with ``Loop.arm``; ``now`` is the time of ``time.monotonic``."""
        raise NotImplementedError

    def stop_accepting(self) -> None:
        """Take nothing new, as the server drains. For handlers that accept."""

    def retire(self) -> None:
        """Come to an end, as the server drains. For connections."""

    def close_if_quiet(self, since: float) -> None:
        """Finish if no byte has moved after the time ``since``, as the server drains. For connections."""

    def shut_down(self) -> None:
        """Finish in good order, as the server stops; one with nothing to finish ends at once."""
        self.close_now()

    def abandon(self) -> None:
        """Let go of what there is, as the connection has ended. For a stage that stands for a connection without a
        descriptor."""

    def close_now(self) -> None:
        """End at once: there is nothing to finish, or the time for that is over."""
        raise NotImplementedError


class InlineStream(Protocol):
    """A connection as ``Loop.run`` sees it. While ``inline``, the loop reads, calls ``data`` and writes the reply by
    itself, and calls these methods for what is less common."""

    inline: bool
    on_data: Callable[[Any, Any], Reply]
    """The callback for input, which is given ``subject`` and the input."""
    subject: Any
    """The connection itself or its handler."""
    read_size: int
    """Bytes to read at most."""
    seen: float
    """The moment when bytes last moved (``time.monotonic``); kept only while the loop has timers."""

    def on_event(self, mask: int) -> None:
        """Serve the descriptor when the loop does not."""

    def read_failed(self, error: OSError) -> None:
        """Take note that reading raised ``error``."""

    def input_ended(self) -> None:
        """Take note that the peer has sent all it will."""

    def reply(self, reply: Reply) -> None:
        """Do what a callback returned. Raises ``TypeError`` if it is nothing a callback may return."""

    def write_failed(self, error: OSError, output: bytes) -> None:
        """Take note that writing ``output``, with nothing queued before it, raised ``error``."""

    def write_rest(self, output: bytes, sent: int) -> None:
        """Queue what the kernel did not take of ``output``: all but the first ``sent`` bytes."""

    def drop(self, error: BaseException | None) -> None:
        """End at once for the reason ``error``."""


class Flushable(Protocol):
    """Whatever queues output until the end of the turn."""

    def flush(self) -> None:
        """Hand queued output to the kernel."""


class Droppable(Protocol):
    """Whatever a callback is called for."""

    def drop(self, error: BaseException | None) -> None:
        """End at once for the reason ``error``, which a callback raised."""
