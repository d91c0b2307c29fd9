"""The time-outs of a stream connection: its deadline, its idle time, its rate of sending."""

from __future__ import annotations

from time import monotonic
from typing import Protocol, final

from ..errors import IdleTimeout, SendTimeout
from ..events import Options
from ..loop.loop import Loop, Timer
from ..loop.polled import Polled
from .linger import in_flight

__all__ = ["Timed", "Timeouts"]


class Timed(Protocol):
    """A connection as its time-outs see it."""

    fd: int
    loop: Loop
    options: Options
    seen: float
    """The moment when bytes last moved (``time.monotonic``)."""

    @property
    def is_open(self) -> bool:
        """True between ``opened`` and the decision to end."""

    @property
    def pending(self) -> int:
        """Bytes of output that the kernel has not taken."""

    @property
    def queued(self) -> int:
        """Those of them that are as the program wrote them: not encrypted, not in a transport."""

    def deadline_error(self) -> BaseException:
        """The error of a passed deadline in the connection's phase."""

    def drop(self, error: BaseException | None, reset: bool = False) -> None:
        """End at once for the reason ``error``."""


@final
class Timeouts(Polled):
    """Ends a connection when something takes too long. It has one timer, for whatever comes first. A connection has
    this object only while a time-out is set."""

    __slots__ = ("_deadline", "_send_goal", "_stream", "_timer", "send_due", "taken")

    def __init__(self, stream: Timed) -> None:
        self._stream = stream
        self._deadline = 0.0  # of the phase: the handshake's, the user's own, or the closing's; 0 is none
        self._timer: Timer | None = None
        self._send_goal: float = 0
        self.send_due: float = 0.0
        """The moment when the peer has to have taken its share of the output; 0: nothing waits, or there is no such
        limit."""
        self.taken: int = 0
        """Bytes that the kernel has taken, counted while ``send_due`` is set."""

    @property
    def has_deadline(self) -> bool:
        """True if a deadline is set."""
        return self._deadline > 0

    def set_deadline(self, when: float) -> None:
        """End the connection at ``when`` (``time.monotonic``); 0 takes the deadline back."""
        self._deadline = when
        self.arm()

    def cancel(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._stream.loop.cancel(self._timer)
            self._timer = None

    def next(self) -> float:
        """Return the moment of the next look (``time.monotonic``); 0 is never."""
        stream, when = self._stream, self._deadline
        if stream.is_open:
            idle = stream.options.idle_timeout
            if idle and (not when or stream.seen + idle < when):
                when = stream.seen + idle
            if self.send_due and (not when or self.send_due < when):
                when = self.send_due
        return when

    def arm(self) -> None:
        """See that a timer comes no later than is needed. One that comes too early is set again then: moving
        a deadline on, as is done for every request, is only an assignment."""
        when = self.next()
        if when and (self._timer is None or self._timer[0] > when):
            loop = self._stream.loop
            if self._timer is not None:
                loop.cancel(self._timer)
            self._timer = loop.arm(self, when)

    def on_timer(self, now: float) -> None:
        self._timer = None
        stream = self._stream
        idle = stream.options.idle_timeout
        if self._deadline and now >= self._deadline:
            stream.drop(stream.deadline_error())
        elif stream.is_open and idle and now >= stream.seen + idle:
            stream.drop(IdleTimeout(f"idle for {idle:g} s"))
        elif stream.is_open and self.send_due and now >= self.send_due:
            self._check_sending()
        else:
            self.arm()

    def limit_sending(self) -> None:
        """Give the peer its time to take some of what waits. What the kernel has and the peer's has not counts as
        waiting, too: the kernel takes more only when much of that has left, which a slow peer needs minutes for."""
        stream, behind = self._stream, self._behind()
        options = stream.options
        self.taken = behind
        self._send_goal = min(stream.pending + behind, max(1, options.min_send_rate * options.send_timeout))
        self.send_due = monotonic() + options.send_timeout
        self.arm()

    def _check_sending(self) -> None:
        taken = self.taken - self._behind()
        if taken >= self._send_goal:
            self.limit_sending()
        else:
            stream = self._stream
            text = f"{taken} bytes taken in {stream.options.send_timeout:g} s, {self._send_goal:g} are required"
            stream.drop(SendTimeout(text), reset=True)

    def _behind(self) -> int:
        """Bytes that are queued no more, and not with the peer's kernel either."""
        stream = self._stream
        return in_flight(stream.fd) + stream.pending - stream.queued
