"""A stream connection's state: what it is in the middle of, and what it is polled for.

The states and what leads from one to the next::

    OPENING ──opened──> OPEN ──CLOSE, end of input──> CLOSING ──flushed──> GONE (the descriptor lingers)
       │                 ├─────DETACH─────────────> DETACHING ──flushed──> GONE (the descriptor is the caller's)
       └────failed───────┴────error, time-out, abort──────────────────────> GONE

A connection is ``plain`` while it is open, is being read and has nothing queued; the loop then serves it
by itself. Every other situation comes through ``on_event`` and ``flush``, and ``_update`` decides after
each change what to poll for and whether the connection is plain again.

What is done in these states is in the layers above, each a class of its own: time-outs (:mod:`.stream_timers`), output
(:mod:`.stream_output`), the end (:mod:`.stream_ending`), input and what callers see (:mod:`.connection`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..buffers.output import FileSpan, Output
from ..events import Options, Reply, SocketAddress
from ..loop.loop import READ_SIZE, Handler, Loop, Timer
from ..loop.poller import READ, WRITE

if TYPE_CHECKING:
    from .listener import Origin

__all__ = ["Stream"]

OPENING, OPEN, CLOSING, DETACHING, GONE = range(5)

# Reasons not to read; input is wanted while there is none.
PAUSED_BY_USER, PAUSED_BY_OUTPUT, INPUT_ENDED, DETACHED, CLOSE_WHEN_OPEN = 1, 2, 4, 8, 16

NOT_POLLED = -1
"""The interest of a descriptor that is taken out of the poller for now."""


class Stream(Handler):
    """The state of a tcp or unix stream."""

    __slots__ = (
        "_deadline",
        "_dirty",
        "_file",
        "_local",
        "_mask",
        "_not_reading",
        "_origin",
        "_out",
        "_phase",
        "_reason",
        "_remote",
        "_send_due",
        "_send_goal",
        "_taken",
        "_timer",
        "_wake_drained",
        "_waking",
        "context",
        "fd",
        "loop",
        "options",
        "plain",
        "read_size",
        "seen",
    )

    def __init__(self, loop: Loop, fd: int, origin: Origin, remote: SocketAddress, context: Any = None) -> None:
        self.loop = loop
        self.fd = fd
        self.context = context
        self.options: Options = origin.options
        self.plain = False
        self.read_size = READ_SIZE
        self.seen = 0.0  # when bytes last moved; kept only while the loop has timers
        self._origin = origin
        self._remote = remote
        self._local: SocketAddress = None
        self._phase = OPENING
        self._mask = NOT_POLLED
        self._not_reading = 0
        self._out: Output | None = None
        self._dirty = False
        self._file: FileSpan | None = None  # the head of the queue, if that is one and `_send_more` may serve it
        self._waking = False
        self._wake_drained = False
        self._deadline = 0.0  # of the phase: handshake, the user's own, or closing; 0 is none
        self._send_due = 0.0  # when the peer has to have taken `_send_goal` bytes; 0: nothing waits, or no such limit
        self._send_goal: float = 0
        self._taken = 0
        self._timer: Timer | None = None
        self._reason: BaseException | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._origin.name} from {self._remote!r}>"

    @property
    def pending(self) -> int:
        return self._out.pending if self._out is not None else 0

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._phase == GONE

    # -- reading or not

    def _stop_reading(self, why: int) -> None:
        self._not_reading |= why
        self._update()

    def _read_again(self, why: int) -> None:
        self._not_reading &= ~why
        self._update()

    def _update(self) -> None:
        """Poll for what is wanted now."""
        phase = self._phase
        if phase == OPENING or phase == GONE:
            return
        # A closing connection reads on, to discard: its peer may have to finish sending before it receives.
        blockers = self._not_reading & INPUT_ENDED if phase == CLOSING else self._not_reading
        want = (0 if blockers else READ) | (0 if self._out is None or self._dirty else WRITE)
        if want != self._mask:
            if self._mask != NOT_POLLED:
                self.loop.poller.modify(self.fd, want)
                self._mask = want
            elif want:
                self.loop.poller.register(self.fd, want)
                self._mask = want
        self.plain = self._is_plain() and want == READ and phase == OPEN and not self._dirty

    def _is_plain(self) -> bool:
        """Whether the loop's own read and write would be right for this connection."""
        return not self.options.reuse_input_buffer

    # -- what the layers above see to, and those below them ask for

    def lost(self, error: BaseException | None, reset: bool = False) -> None:
        """Close at once, for the reason ``error``; with ``reset`` the peer is sent a reset."""
        raise NotImplementedError

    def reply(self, reply: Reply) -> None:
        """Do what a callback returned. Raises ``TypeError`` if it is nothing a callback may return."""
        raise NotImplementedError

    def _finish_close(self) -> None:
        """All output is with the kernel: say so to the peer, and close when it has."""
        raise NotImplementedError

    def _finish_detach(self) -> None:
        """All output is with the kernel: hand the descriptor over."""
        raise NotImplementedError
