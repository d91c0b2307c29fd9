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
        self.long: bool = False
        """True while every command has to take the long way."""

        self.writes_followed: bool = False
        """True while commands that write have to be followed."""

        self.stale: str = ""  # the error reply while data is too old to be served
        self.loading: str = ""  # the error reply while keys are being loaded
        self.on_change: Callable[[], None] = lambda: None  # set by the dispatcher

    def hold(self, reason: str, writes_only: bool = False) -> None:
        """Have all commands take the long way until ``reason`` is released; with ``writes_only``, have commands that
        write followed: what they change is logged."""
        if self._reasons.get(reason) != writes_only:
            self._reasons[reason] = writes_only
            self._changed()

    def release(self, reason: str) -> None:
        """End a hold; nothing happens if there is none."""
        if self._reasons.pop(reason, None) is not None:
            self._changed()

    def _changed(self) -> None:
        self.long, self.writes_followed = not all(self._reasons.values()), bool(self._reasons)
        self.on_change()

    def refuse_writes(self, reason: str, error: str) -> None:
        """Have writes be refused with this error reply, until :meth:`accept_writes` is called for the reason. What only
        reads goes on as it does."""
        if self._refusals.get(reason) != error:
            self._refusals[reason] = error
            self.on_change()

    def accept_writes(self, reason: str) -> None:
        """End a refusal; nothing happens if there is none."""
        if self._refusals.pop(reason, None) is not None:
            self.on_change()

    def refuse_stale(self, error: str) -> None:
        """Have everything but commands that may run on old data be refused with this error; empty: no more."""
        self.stale = error
        if error:
            self.hold("stale data")
        else:
            self.release("stale data")

    def refuse_loading(self, error: str) -> None:
        """Have everything but commands that may run while keys are being loaded be refused with this error; empty: no
        more."""
        self.loading = error
        if error:
            self.hold("loading")
        else:
            self.release("loading")

    @property
    def refusal(self) -> str:
        """The error reply with which writes are refused; empty while they are not."""
        return next(iter(self._refusals.values()), "") if self._refusals else ""
