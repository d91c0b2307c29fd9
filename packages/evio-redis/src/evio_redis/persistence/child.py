"""The child process that writes the keyspace to a file while the server goes on.

It is a fork: the kernel gives it the keyspace as of that moment and copies only pages that either side changes after
it. It does nothing but write a file and exit.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..model.services import Services
from ..stats.latency_monitor import Latency
from ..stats.totals import Totals

__all__ = ["Child"]

HIGHEST_FD = 1 << 20
"""``fs.nr_open`` of an ordinary Linux: no descriptor is higher."""


REPORTED = 5.0
"""Seconds between two lines of the log that say how far it is."""

log: logging.Logger = logging.getLogger("evio_redis")


class Child:
    """The child, if there is one. ``seconds`` is how long the last one took."""

    def __init__(self, services: Services, task: str) -> None:
        self._task = task  # what it does, for the log
        self._totals = services[Totals]
        self._latency = services[Latency]
        self._begun = 0.0
        self._reported = 0.0  # when the log last said how far it is
        self.pid: int = 0
        self.path: Path = Path()
        self.seconds: int = -1

    @property
    def active(self) -> bool:
        """True while a child is at work."""
        return self.pid != 0

    @property
    def age(self) -> int:
        """Seconds since it was begun; -1 if there is none."""
        return int(time.monotonic() - self._begun) if self.pid else -1

    def begin(self, path: Path | Callable[[int], Path], write: Callable[[Path], None], kept: int = HIGHEST_FD) -> None:
        """Fork one that calls ``write(path)``; the path may depend on the child's process id. The descriptor ``kept``
        stays open in it. Raises ``OSError``."""
        if sys.platform == "win32":
            raise OSError("this system cannot fork")
        self._begun = self._reported = time.monotonic()
        with warnings.catch_warnings(), _signals_blocked():
            # Python warns of forking with threads about; this child runs none of their code and takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
            if pid == 0:
                self._run(path(os.getpid()) if callable(path) else path, write, kept)
        self.pid = pid
        self.path = path(pid) if callable(path) else path
        self._totals.total_forks += 1
        taken = time.monotonic() - self._begun
        self._totals.latest_fork_usec = int(taken * 1e6)
        self._latency.sample("fork", taken)

    def _run(self, path: Path, write: Callable[[Path], None], kept: int) -> None:
        status = 1
        try:
            _leave_the_server(kept)
            write(path)
            status = 0
        except OSError as error:
            os.write(2, f"{self._task}: {error.strerror or error}\n".encode())
        except BaseException:
            os.write(2, f"{self._task}: {traceback.format_exc()}".encode())
        finally:
            os._exit(status)

    def poll(self, wait: bool = False) -> int | None:
        """Return its end: 0 for well, its exit status, minus the number of the signal that killed it; None while it
        goes on, unless that is waited for. What it wrote is removed unless it ended well."""
        if sys.platform == "win32":
            return None
        pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
        if pid:
            return self._ended(os.waitstatus_to_exitcode(status))
        now = time.monotonic()
        if now >= self._reported + REPORTED:
            self._reported = now
            with suppress(FileNotFoundError):  # it has only begun
                size = self.path.stat().st_size
                log.info("%s: %.1f MB in %d s so far", self._task.capitalize(), size / 1e6, now - self._begun)
        return None

    def kill(self) -> None:
        """End it without result."""
        if sys.platform != "win32" and self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._ended(-signal.SIGKILL)

    def _ended(self, code: int) -> int:
        self.pid = 0
        self.seconds = int(time.monotonic() - self._begun)
        if code:
            self.path.unlink(missing_ok=True)
        return code


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Until the child has let go of the server's handlers, none of them may run in it."""
    if sys.platform == "win32":
        raise NotImplementedError("there is no fork on Windows")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_the_server(kept: int) -> None:
    """Let go of what is the server's: signals, which would reach it twice through the pipe that both have, and
    sockets, which would keep the port and the clients after the server's death. One descriptor is kept."""
    if sys.platform == "win32":
        raise NotImplementedError("there is no fork on Windows")
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to both; the server decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    gc.disable()  # it writes to the header of every object, so that the kernel would copy all pages
    os.closerange(3, kept)
    os.closerange(kept + 1, HIGHEST_FD)
