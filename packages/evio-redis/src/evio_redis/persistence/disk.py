"""Operations that may take as long as the disk likes: syncing, closing and removing files, in a thread of its own."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["DiskThread", "datasync", "sync_directory"]


def datasync(fd: int) -> None:
    """Have the content of a file on the disk. Raises ``OSError``, once for each failure: what could not be written may
    be gone from the kernel's cache, and the next call knows nothing of it (fsync(2), "Errors")."""
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory survive a crash, too (fsync(2), "Description"). Raises ``OSError``."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class DiskThread:
    """Runs one job after the other; the thread exists from the first job on until :meth:`close`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._syncing = False
        self.error: OSError | None = None  # of a sync; whoever takes it sets it to None
        self.delayed: int = 0  # syncs that were due while the one before was not over

    @property
    def syncing(self) -> bool:
        """True while a file is being synced."""
        return self._syncing

    def sync(self, fd: int) -> bool:
        """Sync a file; False if the last time is not over yet."""
        if self._syncing:
            self.delayed += 1
            return False
        self._syncing = True
        self._submit(lambda: self._sync(fd))
        return True

    def sync_and_close(self, fd: int) -> None:
        """Sync a file and close it, after what was asked for before."""

        def job() -> None:
            self._sync(fd)
            os.close(fd)

        self._submit(job)

    def close_file(self, fd: int) -> None:
        """Close a file without a name, which frees it: 0.3 s a gigabyte."""
        self._submit(lambda: os.close(fd))

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files; large ones take their time (ext4 frees block by block)."""
        for path in paths:
            self._submit(lambda path=path: _remove(path))  # type: ignore[misc]

    def close(self) -> None:
        """Do what is left and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _submit(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="evio-redis-disk", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _sync(self, fd: int) -> None:
        try:
            datasync(fd)
        except OSError as error:
            self.error = error
        finally:
            self._syncing = False


def _remove(path: Path) -> None:
    with suppress(OSError):  # it stays, which does no harm: no manifest names it
        path.unlink()
