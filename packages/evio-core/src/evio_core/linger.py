"""Closing so that the peer receives what was sent.

Closing a TCP socket with unread input, or one that input then arrives for, makes the kernel send a reset,
and a reset can destroy data the peer has not read yet (RFC 1122 section 4.2.2.13; the lingering close of HTTP
servers, RFC 9112 section 9.6). So after our end-of-file the descriptor stays open and input is discarded until
the peer's own end-of-file, or until a time-out.
"""

from __future__ import annotations

import os
import sys

from .loop import READ_SIZE, Handler, Loop, Timer
from .poller import READ

__all__ = ["Linger", "nothing_in_flight"]

if sys.platform == "linux":
    import fcntl
    import struct
    import termios

    def nothing_in_flight(fd: int) -> bool:
        """Whether the peer's kernel has acknowledged everything that was sent (SIOCOUTQ, tcp(7))."""
        queued = fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0")
        return bool(struct.unpack("i", queued)[0] == 0)

else:

    def nothing_in_flight(fd: int) -> bool:
        """Unknown on this system."""
        return False


class Linger(Handler):
    """A descriptor whose connection has ended, waiting for the peer's end-of-file."""

    __slots__ = ("_fd", "_loop", "_timer")

    def __init__(self, loop: Loop, fd: int, deadline: float) -> None:
        self._loop = loop
        self._fd = fd
        self._timer: Timer | None = loop.arm(self, deadline)

    @classmethod
    def take_over(cls, loop: Loop, fd: int, deadline: float) -> None:
        """Replace the handler of a polled descriptor."""
        loop.handlers[fd] = cls(loop, fd, deadline)
        loop.poller.modify(fd, READ)

    def on_event(self, mask: int) -> None:
        try:
            if not os.read(self._fd, READ_SIZE):
                self.expire()
        except BlockingIOError:
            pass
        except OSError:
            self.expire()

    def on_timer(self, now: float) -> None:
        self._timer = None
        self.expire()

    def shut_down(self) -> None:
        if nothing_in_flight(self._fd):
            self.expire()

    def expire(self) -> None:
        """Close."""
        if self._timer is not None:
            self._loop.cancel(self._timer)
        self._loop.remove(self._fd)
        self._loop.bury(self._fd)
