"""The way that commands take, and who needs them to take a longer one.

Commands run the direct way, by which nothing is asked that is usually answered with no. Whoever needs more says so
itself, for as long as it is so: ``route.hold("monitor")``, ``route.release("monitor")``. The dispatcher, which chooses
its tables by this, asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Route"]


class Route:
    """The reasons why commands take a longer way on one server."""

    def __init__(self) -> None:
        self._refusals: dict[str, str] = {}  # who refuses writes: the error reply
        self._reasons: dict[str, bool] = {}  # reason: whether it is about writes only
        self.on_change: Callable[[], None] = lambda: None  # set by the dispatcher

    def hold(self, reason: str, writes_only: bool = False) -> None:
        """Have all commands take the long way until ``reason`` is released; with ``writes_only``, have commands that
        write followed: what they change is logged."""
        if self._reasons.get(reason) != writes_only:
            self._reasons[reason] = writes_only
            self.on_change()

    def release(self, reason: str) -> None:
        """End a hold; nothing happens if there is none."""
        if self._reasons.pop(reason, None) is not None:
            self.on_change()

    def refuse_writes(self, reason: str, error: str) -> None:
        """Have writes be refused with this error reply, until :meth:`accept_writes` is called for the reason."""
        self._refusals[reason] = error
        self.hold(reason)

    def accept_writes(self, reason: str) -> None:
        """End a refusal; nothing happens if there is none."""
        self._refusals.pop(reason, None)
        self.release(reason)

    @property
    def refusal(self) -> str:
        """The error reply with which writes are refused; empty while they are not."""
        return next(iter(self._refusals.values()), "") if self._refusals else ""

    @property
    def long(self) -> bool:
        """True while every command has to take the long way."""
        return not all(self._reasons.values())

    @property
    def writes_followed(self) -> bool:
        """True while commands that write have to be followed."""
        return bool(self._reasons)
