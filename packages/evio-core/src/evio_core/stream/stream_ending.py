"""How a stream connection ends: in good order, by handing its descriptor over, or at once."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from ..addresses.sockopt import borrowed, half_close
from ..errors import Aborted, CloseTimeout
from ..events import Action
from ..loop.loop import log
from .linger import Linger, nothing_in_flight
from .stream import CLOSE_WHEN_OPEN, CLOSING, GONE, INPUT_ENDED, NOT_POLLED, OPEN, OPENING
from .stream_output import WritingStream

__all__ = ["EndingStream"]


class EndingStream(WritingStream):
    """A stream that comes to an end."""

    __slots__ = ()

    def close(self) -> None:
        self._in_loop(self._close)

    def abort(self) -> None:
        self._in_loop(self._abort)

    def _close(self, _: object) -> None:
        if self._phase == OPENING and self._out is not None:
            self._not_reading |= CLOSE_WHEN_OPEN  # dialled, written to and closed: the output is to arrive
        else:
            self._begin_close()

    def _begin_close(self) -> None:
        """Send what is queued, then close."""
        if self._phase == OPEN:
            self._phase = CLOSING
            if not self.loop.stopping:  # then the time that the whole server has is everybody's
                self._limit_closing()
            self._mark()
        elif self._phase == OPENING:
            self.lost(None)

    def _limit_closing(self) -> None:
        self._set_deadline(monotonic() + self.options.close_timeout)

    def _finish_close(self) -> None:
        """All output is with the kernel: say so to the peer, and close when it has."""
        in_flight = not self._not_reading & INPUT_ENDED and not (self.loop.stopping and nothing_in_flight(self.fd))
        if in_flight:
            self._linger(self._reason)
        else:
            self.lost(self._reason)

    def _linger(self, reason: BaseException | None) -> None:
        """End the connection, but let the peer receive what was sent before the descriptor is closed."""
        # Taken out of the poller, the peer has hung up: there is nobody to receive anything.
        if self._mask != NOT_POLLED and self._half_close():
            Linger.take_over(self.loop, self.fd, self._mask, monotonic() + self.options.close_timeout)
            self._end(reason)
        else:
            self.lost(reason)

    def _half_close(self) -> bool:
        """Send end-of-file. False if the peer is gone already."""
        try:
            half_close(self.fd)
        except OSError:
            return False
        return True

    def _finish_detach(self) -> None:
        self._leave()
        sock = self._detach_socket()
        self._end(None, fire=False)
        detached: Callable[..., object] | None = self.loop.events.detached
        if detached is None:
            sock.close()
            return
        try:
            if detached(self, sock) is Action.SHUTDOWN:
                self.loop.request_stop()
        except BaseException as error:
            sock.close()
            self.loop.callback_failed(self, error)

    def _detach_socket(self) -> socket.socket:
        """The descriptor as a blocking socket."""
        sock = socket.socket(fileno=self._hand_over())
        sock.setblocking(True)
        return sock

    def _hand_over(self) -> int:
        """The descriptor, which is no longer ours."""
        return self.fd

    def _abort(self, _: object = None) -> None:
        self.lost(Aborted("aborted by the program"), reset=True)

    def lost(self, error: BaseException | None, reset: bool = False) -> None:
        """Close at once, for the reason ``error``; with ``reset`` the peer is sent a reset."""
        if self._phase == GONE:
            return
        if reset and self.fd >= 0:
            with borrowed(self.fd) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._leave():
            self.loop.bury(self.fd)
        self._end(error)

    def _leave(self) -> bool:
        """Take the descriptor out of the loop. False if there is none, as while a name is looked up."""
        if self._mask == NOT_POLLED:
            self.loop.handlers.pop(self.fd, None)
        else:
            self.loop.remove(self.fd)
        return self.fd >= 0

    def _end(self, error: BaseException | None, fire: bool = True) -> None:
        opened = self._phase != OPENING
        self._phase = GONE
        self.plain = False
        if self._timer is not None:
            self.loop.cancel(self._timer)
            self._timer = None
        self.loop.ended += 1
        if not opened and self._origin.index >= 0:
            log.info("%r dropped before it opened: %s", self, error)
        elif fire and self.loop.events.closed is not None:
            self._fire_closed(self.loop.events.closed, error)
        if self._out is not None:  # until now ``pending`` said what did not leave
            self._out.clear()
            self._out = None

    def _fire_closed(self, closed: Callable[..., object], error: BaseException | None) -> None:
        try:
            if closed(self, error) is Action.SHUTDOWN:
                self.loop.request_stop()
        except BaseException as failure:
            self.loop.callback_failed(self, failure)

    def retire(self) -> None:
        if self._phase == OPEN and self.loop.events.retiring is not None:
            self._fire(self.loop.events.retiring)

    def close_if_quiet(self, since: float) -> None:
        if self._phase == OPEN and self._out is None and self.seen <= since:
            self.shut_down()

    def expire(self) -> None:
        self.lost(CloseTimeout(f"server stopped with {self.pending} bytes pending") if self.pending else None)

    def _in_loop(self, function: Callable[[Any], None]) -> None:
        if threading.get_ident() == self.loop.ident:
            function(None)
        else:
            self.loop.submit(function)
