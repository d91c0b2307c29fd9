"""``--reload``: a process that watches a directory with ``watchfiles`` and has a supervisor replace its workers.

It is a process and not a thread because the supervisor forks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

__all__ = ["start", "watch"]

LOOK = 1000
"""Milliseconds between looks whether the supervisor is still there."""


def start(directory: str) -> subprocess.Popen[bytes]:
    """Watch a directory for this process. Raises ``ImportError`` without ``watchfiles``."""
    import watchfiles  # noqa: F401  # here, where there is somebody to tell

    command = [sys.executable, "-m", "evio_core.run.changes", directory, str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def watch(directory: str, supervisor: int) -> None:
    """Send SIGHUP to the supervisor whenever a Python file below the directory has changed, until it is gone."""
    import watchfiles

    if sys.platform == "win32":
        raise NotImplementedError("there is no SIGHUP on Windows")
    for number in (signal.SIGINT, signal.SIGHUP):  # of a terminal, which are the supervisor's
        signal.signal(number, signal.SIG_IGN)
    changes = watchfiles.watch(
        directory,
        watch_filter=watchfiles.PythonFilter(),
        rust_timeout=LOOK,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    for found in changes:
        if os.getppid() != supervisor:
            return
        if found:
            os.kill(supervisor, signal.SIGHUP)


if __name__ == "__main__":
    watch(sys.argv[1], int(sys.argv[2]))
