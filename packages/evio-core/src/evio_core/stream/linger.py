"""Closing so that the peer receives what was sent.

Closing a TCP socket with unread input, or one that input then arrives for, makes the kernel send a reset,
and a reset can destroy data the peer has not read yet (RFC 1122 section 4.2.2.13; the lingering close of HTTP
servers, RFC 9112 section 9.6). So after our end-of-file the descriptor stays open and input is discarded until
the peer's own end-of-file, or until a time-out.
"""

from __future__ import annotations

import os
import socket
import sys
from time import monotonic

from ..addresses.sockopt import borrowed
from ..loop.loop import READ_SIZE, Loop, Timer
from ..loop.polled import Polled
from ..loop.poller import READ

__all__ = ["Linger", "in_flight", "nothing_in_flight", "unread"]

DISCARD_LIMIT = 16 * 1024 * 1024
"""Bytes of input that are discarded for a connection; a peer that sends more is reset."""

RECHECK = 0.01
"""Seconds between looks at what is in flight while the server stops; the kernel has no event for that."""

if sys.platform != "win32":
    import fcntl
    import struct
    import termios

    def unread(fd: int) -> int:
        """Bytes of input that the kernel holds (FIONREAD, tcp(7))."""
        waiting = fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", waiting)[0])

else:

    def unread(fd: int) -> int:
        """Unknown on this system: as if there were none."""
        return 0


if sys.platform == "linux":

    def in_flight(fd: int) -> int:
        """Bytes that the kernel was given and the peer's has not acknowledged (SIOCOUTQ, tcp(7))."""
        queued = fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0")
        return int(struct.unpack("i", queued)[0])

    def nothing_in_flight(fd: int) -> bool:
        """Tell whether everything that was sent is with the peer's kernel, where it survives our closing; what goes
        into a unix socket is there at once."""
        with borrowed(fd) as sock:
            if sock.family == socket.AF_UNIX:
                return True
        return in_flight(fd) == 0

else:

    def in_flight(fd: int) -> int:
        """Unknown on this system: as if everything had arrived."""
        return 0

    def nothing_in_flight(fd: int) -> bool:
        """Unknown on this system."""
        return False


class Linger(Polled):
    """A descriptor whose connection has ended, waiting for the peer's end-of-file. A server that stops waits only
    until the peer's kernel has everything: a client that keeps its end open must not hold it up."""

    __slots__ = ("_deadline", "_discarded", "_fd", "_loop", "_timer")

    def __init__(self, loop: Loop, fd: int, deadline: float) -> None:
        self._loop = loop
        self._fd = fd
        self._deadline = deadline
        self._discarded = 0
        self._timer: Timer | None = None

    @classmethod
    def take_over(cls, loop: Loop, fd: int, mask: int, deadline: float) -> None:
        """Replace the handler of a descriptor that is polled for ``mask``."""
        loop.handlers[fd] = linger = cls(loop, fd, deadline)
        loop.stats.lingering += 1
        if mask != READ:
            loop.poller.modify(fd, READ)
        linger._wait()

    def on_event(self, mask: int) -> None:
        try:
            self.discard(len(os.read(self._fd, READ_SIZE)))
        except BlockingIOError:
            pass
        except OSError:
            self.close_now()

    def discard(self, size: int) -> None:
        """Take note of so many bytes of input, 0 at its end."""
        self._discarded += size
        if not size or self._discarded > DISCARD_LIMIT:
            self.close_now()

    def _wait(self) -> None:
        when = min(self._deadline, monotonic() + RECHECK) if self._loop.stopping else self._deadline
        self._timer = self._loop.arm(self, when)

    def on_timer(self, now: float) -> None:
        self._timer = None
        if now >= self._deadline or nothing_in_flight(self._fd):
            self.close_now()
        else:
            self._wait()

    def shut_down(self) -> None:
        if nothing_in_flight(self._fd):
            self.close_now()
        else:
            if self._timer is not None:
                self._loop.cancel(self._timer)
            self._wait()

    def close_now(self) -> None:
        """Close."""
        if self._timer is not None:
            self._loop.cancel(self._timer)
            self._timer = None
        self._loop.remove(self._fd)
        self._loop.close_later(self._fd)
        self._loop.stats.lingering -= 1
