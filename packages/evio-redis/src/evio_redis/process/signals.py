"""Signals to the process, as redis-server takes them, and the file that has its id.

``SIGTERM`` and ``SIGINT`` end it in good order (``shutdown-on-sigterm``, ``shutdown-on-sigint``), a second ``SIGINT``
at once; a server that cannot write its last snapshot goes on. ``SIGHUP`` reads the certificates anew.
``SIGUSR1`` does nothing: it has other servers reopen their logs, and ours is opened for every line.

https://redis.io/docs/latest/operate/oss_and_stack/reference/signals/
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from .running import Running

__all__ = ["install", "pid_file"]

log: logging.Logger = logging.getLogger("evio_redis")

AT_ONCE = 1
"""The exit status after a second SIGINT: what it was about to write is not written."""


def install(running: Running, end: Callable[[int], bool], abandon: Callable[[], None]) -> None:
    """Have the signals reach this server. ``end(number)`` is called on the loop, and returns False if the server cannot
    be stopped; ``abandon()`` before the process ends at once. Only for the main thread of a process that does nothing
    else."""
    stopping = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if not running.ready.is_set() and not stopping:
            stopping = True
            log.warning("Received shutdown signal during loading, exiting now.")
            if running.core is None:
                raise SystemExit(0)
            running.core.stop(0)
        if stopping and number == signal.SIGINT:
            log.warning("You insist... exiting now.")
            abandon()
            logging.shutdown()
            os._exit(AT_ONCE)
        if not stopping:
            stopping = True
            log.warning("Received %s scheduling shutdown...", signal.Signals(number).name)
            assert running.core is not None, "it is ready"
            running.core.call(lambda: try_to_end(number))

    def try_to_end(number: int) -> None:
        nonlocal stopping
        stopping = end(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if sys.platform != "win32":  # which has no SIGHUP
        signal.signal(signal.SIGHUP, lambda number, frame: running.reload_certificates())
        signal.signal(signal.SIGUSR1, lambda number, frame: None)  # not SIG_IGN, which children inherit


@contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Have the process's id in a file meanwhile, if one is wanted; an error in writing it is only logged."""
    written = False
    if path:
        try:
            Path(path).write_text(f"{os.getpid()}\n")
            written = True
        except OSError as error:
            log.warning("Failed to write PID file: %s", error.strerror or error)
    try:
        yield
    finally:
        if written:
            log.info("Removing the pid file.")
            with suppress(OSError):  # somebody was faster
                os.unlink(path)
