"""Rewriting the append-only file: a child process writes the keyspace as it is now, while the server goes on.

The child is a fork: the kernel gives it the keyspace as of that moment and copies only pages that either side changes
after it. It does nothing but write a file and exit.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .encode import commands_of, encode

if TYPE_CHECKING:
    from ..server import Server

__all__ = ["Rewrite"]

log = logging.getLogger("evio_redis")

CHUNK = 1 << 20
"""Bytes written at once."""


class Rewrite:
    """The rewrite under way, if any."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pid = 0
        self._begun = 0.0
        self._last_seconds = -1
        self._last_ok = True
        self._count = 0
        self.path = Path()

    @property
    def active(self) -> bool:
        """Whether one is under way."""
        return self._pid != 0

    def begin(self, path: Path) -> None:
        """Fork a child that writes the keyspace to ``path``. Raises ``OSError``."""
        if sys.platform == "win32":
            raise OSError("this system cannot fork")
        self.path = path
        self._begun = time.monotonic()
        with warnings.catch_warnings():
            # Python warns of forking with threads about; this child runs none of their code and takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.write(path)
                status = 0
            except BaseException:
                os.write(2, f"rewriting the append-only file: {traceback.format_exc()}".encode())
            finally:
                os._exit(status)
        self._pid = pid
        self._server.total_forks += 1
        self._server.latest_fork_usec = int((time.monotonic() - self._begun) * 1e6)
        log.info("Background append only file rewriting started by pid %d", pid)

    def write(self, path: Path) -> None:
        """Write the keyspace to a file, and sync it. Raises ``OSError``."""
        with open(path, "wb", buffering=CHUNK) as file:
            for args in commands_of(self._server.keyspace.databases):
                file.write(encode(args))
            file.flush()
            os.fsync(file.fileno())

    def poll(self) -> bool | None:
        """Whether it succeeded; None while it goes on."""
        if sys.platform == "win32":
            return None
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return None
        self._pid = 0
        self._last_seconds = int(time.monotonic() - self._begun)
        self._last_ok = status == 0
        self._count += self._last_ok
        if status:
            self.path.unlink(missing_ok=True)
        return self._last_ok

    def abandon(self) -> None:
        """End it without result."""
        if sys.platform != "win32" and self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
            self.path.unlink(missing_ok=True)

    def info(self) -> dict[str, Any]:
        """Fields of ``INFO persistence``."""
        return {
            "aof_rewrite_in_progress": int(self.active),
            "aof_last_rewrite_time_sec": self._last_seconds,
            "aof_current_rewrite_time_sec": int(time.monotonic() - self._begun) if self.active else -1,
            "aof_last_bgrewrite_status": "ok" if self._last_ok else "err",
            "aof_rewrites": self._count,
        }
