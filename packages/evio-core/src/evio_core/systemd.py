"""Messages to a service manager (sd_notify(3)): a unit of ``Type=notify`` is active once the server says so.

Nothing is sent unless ``NOTIFY_SOCKET`` is in the environment. What cannot be delivered is logged and no error of the
server's: it serves whether anybody hears of it or not.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from .logs import log

__all__ = ["ServiceManager"]


class ServiceManager:
    """The socket on which a service manager listens. Its methods may be called from any thread and from a signal
    handler."""

    __slots__ = ("_path", "watchdog")

    def __init__(self, path: str, watchdog: float = 0.0) -> None:
        self._path = path
        self.watchdog: float = watchdog
        """Seconds within which it has to hear that the server is alive; 0: it does not ask."""

    @classmethod
    def from_environment(cls) -> ServiceManager | None:
        """Return the one that started this process, or None: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``."""
        path = os.environ.get("NOTIFY_SOCKET", "")
        if not path or sys.platform == "win32":
            return None
        if path[0] not in "/@":
            log.warning("NOTIFY_SOCKET is %r, neither a path nor @name: the service manager is not told", path)
            return None
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))  # it is inherited, too
        asked = microseconds.isascii() and microseconds.isdigit() and mine
        return cls(path, int(microseconds) / 1e6 if asked else 0.0)

    def ready(self) -> None:
        """Say that the server accepts; also once a reload has ended."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is being read anew; ``ready`` has to follow. The time is what a unit of
        ``Type=notify-reload`` needs."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the server is about to end."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Say that the server is alive; due within ``watchdog`` seconds of the one before."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if sys.platform == "win32":
            return
        name = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        try:
            # A socket for each: there are few messages, and a program may close all descriptors that it does not know.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)  # a service manager that does not read is not to stop a loop
                sock.sendto(state.encode(), name)
        except OSError as error:
            log.warning("the service manager cannot be told %s: %s", state.partition("\n")[0], error.strerror)
