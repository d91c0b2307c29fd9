"""Signals that come at the wrong moment.

Python runs a signal's handler between two bytecodes of the main thread. One that arrives after the last bytecode and
before the kernel waits would be handled only after the next event, perhaps never. So the interpreter writes to a pipe
as well, at once (``signal.set_wakeup_fd``), which ends the wait.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from .loop import Loop
from .polled import Polled
from .poller import READ

__all__ = ["SignalPipe"]


class SignalPipe(Polled):
    """The pipe, polled by a loop as long as it lives. To be made and closed in the main thread."""

    __slots__ = ("_before", "_read_fd", "_write_fd")

    is_descriptor = True

    def __init__(self, loop: Loop) -> None:
        self._read_fd, self._write_fd = os.pipe()
        if sys.platform != "win32":  # whose event loop has such a pipe itself
            os.set_blocking(self._read_fd, False)
            os.set_blocking(self._write_fd, False)
        loop.keep(self._read_fd, self, READ)
        self._before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)

    def on_event(self, mask: int) -> None:
        # This is Python code even where the loop is compiled: handlers run when it is entered, at the latest.
        with suppress(BlockingIOError):  # read before, by a callback that served others
            os.read(self._read_fd, 4096)

    def close_now(self) -> None:
        """Go on: it lives as long as the loop, as a second signal means something, too."""

    def close(self) -> None:
        """Put back what was before; the loop has ended."""
        signal.set_wakeup_fd(self._before)
        os.close(self._read_fd)
        os.close(self._write_fd)
