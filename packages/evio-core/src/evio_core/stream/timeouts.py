"""A stream connection's time-outs: its deadlines, its idle time, its rate of sending."""

from __future__ import annotations

from time import monotonic

from ..checks import not_negative
from ..errors import CloseTimeout, ConnectTimeout, DeadlineExceeded, HandshakeTimeout, IdleTimeout, SendTimeout
from ..loop.poller import WRITE
from .linger import in_flight
from .stream import NOT_POLLED, OPEN, OPENING, Stream

__all__ = ["TimedStream"]


class TimedStream(Stream):
    """A stream that ends when something takes too long. It has one timer, for whatever comes first."""

    __slots__ = ()

    def set_deadline(self, seconds: float | None) -> None:
        if self._phase == OPEN:
            self._set_deadline(0.0 if seconds is None else monotonic() + not_negative("a deadline", seconds))

    def limit_opening(self, seconds: float) -> None:
        """End the connection unless it opens in time."""
        self._set_deadline(monotonic() + seconds)

    def _set_deadline(self, when: float) -> None:
        self._deadline = when
        self._arm()

    def _start_idle_timer(self) -> None:
        if self.options.idle_timeout:
            self.seen = monotonic()
            self._arm()

    def _next_timer(self) -> float:
        """When to look again; 0 is never."""
        idle, when = self.options.idle_timeout, self._deadline
        if self._phase == OPEN:
            if idle and (not when or self.seen + idle < when):
                when = self.seen + idle
            if self._send_due and (not when or self._send_due < when):
                when = self._send_due
        return when

    def _arm(self) -> None:
        """See that a timer comes no later than is needed. One that comes too early is set again then: moving
        a deadline on, as is done for every request, is only an assignment."""
        when = self._next_timer()
        if when and (self._timer is None or self._timer[0] > when):
            if self._timer is not None:
                self.loop.cancel(self._timer)
            self._timer = self.loop.arm(self, when)

    def on_timer(self, now: float) -> None:
        self._timer = None
        if self._deadline and now >= self._deadline:
            self._deadline_passed()
        elif self._phase == OPEN and self.options.idle_timeout and now >= self.seen + self.options.idle_timeout:
            self.lost(IdleTimeout(f"idle for {self.options.idle_timeout:g} s"))
        elif self._phase == OPEN and self._send_due and now >= self._send_due:
            self._check_sending()
        else:
            self._arm()

    def _limit_sending(self) -> None:
        """Give the peer its time to take some of what waits. What the kernel has and the peer's has not counts as
        waiting, too: the kernel takes more only when much of that has left, which a slow peer needs minutes for."""
        options, behind = self.options, self._behind()
        self._taken = behind
        self._send_goal = min(self.pending + behind, max(1, options.min_send_rate * options.send_timeout))
        self._send_due = monotonic() + options.send_timeout
        self._arm()

    def _check_sending(self) -> None:
        taken = self._taken - self._behind()
        if taken >= self._send_goal:
            self._limit_sending()
        else:
            text = f"{taken} bytes taken in {self.options.send_timeout:g} s, {self._send_goal:g} are required"
            self.lost(SendTimeout(text), reset=True)

    def _behind(self) -> int:
        """Bytes that are queued no more, and not with the peer's kernel either."""
        return in_flight(self.fd) + self.pending - (self._out.pending if self._out is not None else 0)

    def _deadline_passed(self) -> None:
        if self._phase == OPEN:
            self.lost(DeadlineExceeded("deadline passed"))
        elif self._phase == OPENING:
            self.lost(self._opening_timeout())
        else:
            self.lost(CloseTimeout(f"{self.pending} bytes not taken by the peer"))

    def _opening_timeout(self) -> BaseException:
        if self._mask in (NOT_POLLED, WRITE):
            return ConnectTimeout("no answer in time")
        return HandshakeTimeout("handshake not complete in time")
