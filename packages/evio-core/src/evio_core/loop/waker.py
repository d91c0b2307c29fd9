"""Ending a poll from another thread."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from .polled import Polled

__all__ = ["Waker"]


class Waker(Polled):
    """A descriptor that makes ``poll`` return when another thread asks: an eventfd, or a pipe where there is none."""

    __slots__ = ("_lock", "_read_fd", "_woken", "_write_fd")

    def __init__(self) -> None:
        # Closing must not come between the look at the descriptor and the write: its number may be given to
        # somebody else at once. Re-entrant, as a signal handler may interrupt the very thread that holds it.
        self._lock = threading.RLock()
        self._woken = False
        if sys.platform == "linux":
            self._read_fd = self._write_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self._read_fd, self._write_fd = os.pipe()
            if sys.platform != "win32":  # where only the fallback's loops run, which wake by themselves
                os.set_blocking(self._read_fd, False)
                os.set_blocking(self._write_fd, False)

    def fileno(self) -> int:
        return self._read_fd

    def wake(self) -> None:
        """Have ``poll`` return. Work is queued before this is called, and the flag is cleared after the wake-up is
        taken and before the queue is drained: work is either seen by that drain or sees the flag cleared. A burst
        costs one wake-up."""
        if not self._woken:
            self._woken = True
            self.force()

    def force(self) -> None:
        """Have ``poll`` return, also if a wake-up is under way. Does nothing once the loop has ended."""
        with self._lock:
            if self._write_fd >= 0:
                with suppress(BlockingIOError):  # a full pipe is full of wake-ups: one more changes nothing
                    os.write(self._write_fd, b"\1\0\0\0\0\0\0\0")

    def on_event(self, mask: int) -> None:
        with suppress(BlockingIOError):
            while os.read(self._read_fd, 512) and self._read_fd != self._write_fd:
                pass
        self._woken = False  # not earlier: reading would take away a wake-up that came in between, and leave its flag

    def close_now(self) -> None:
        """Go on: it lives as long as the loop."""

    def close(self) -> None:
        """Close the descriptors; ``force`` does nothing from now on."""
        with self._lock:
            fds = {self._read_fd, self._write_fd}
            self._read_fd = self._write_fd = -1  # first: a signal handler may call `force` in between
            for fd in fds:
                os.close(fd)
