"""Numbers that the processes of a server count together.

Each process adds to a region of its own, in memory that all of them map; whoever wants to know adds the regions up. A
region is a process's for as long as it holds a lock on it (fcntl(2)), which the kernel takes back however the process
ends. The next process to start goes on with the numbers that it finds there, so sums never go down, not even when a
worker is killed.
"""

from __future__ import annotations

import mmap
import os
import sys
from array import array
from collections.abc import Sequence

__all__ = ["Counters", "SharedCounters"]

NUMBER = 8
"""Bytes of a number, a C double: whole up to 2**53."""


class Counters:
    """The numbers of one process, in ``cells``."""

    def __init__(self, size: int) -> None:
        self.cells: memoryview[float] = memoryview(array("d", bytes(size * NUMBER)))

    def claim(self) -> None:
        """Begin to count in this process."""

    def regions(self) -> list[tuple[Sequence[float], bool]]:
        """Return the numbers of each process, and whether it runs."""
        return [(self.cells, True)]

    def close(self) -> None:
        """Let go of what the processes share; they may go on counting."""


if sys.platform != "win32":
    import fcntl

    class SharedCounters(Counters):
        """Numbers that are made before processes are forked. Each of those has to ``claim`` its region first.

        Raises ``OSError`` where no temporary file can be made.
        """

        def __init__(self, size: int) -> None:
            import tempfile  # only workers wait for it

            super().__init__(size)
            self._size = size
            granularity = mmap.ALLOCATIONGRANULARITY
            self._length = -(-size * NUMBER // granularity) * granularity  # of a region, in bytes
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the server
            self._own = -1

        def claim(self) -> None:
            fd, length = self._file.fileno(), self._length
            region = 0
            while not self._lock(region, fcntl.LOCK_EX):
                region += 1
            start = region * length
            # Written once, so that there is room for it: a page that cannot be had later would be SIGBUS.
            os.pwrite(fd, os.pread(fd, length, start).ljust(length, b"\0"), start)
            self._own = region
            self.cells = memoryview(mmap.mmap(fd, length, offset=start)).cast("d")[: self._size]

        def regions(self) -> list[tuple[Sequence[float], bool]]:
            length, fd = self._length, self._file.fileno()
            found: list[tuple[Sequence[float], bool]] = []
            for region in range(os.fstat(fd).st_size // length):
                data = os.pread(fd, self._size * NUMBER, region * length)
                found.append((array("d", data), region == self._own or self._is_running(region)))
            return found

        def close(self) -> None:
            self._file.close()

        def _lock(self, region: int, how: int) -> bool:
            try:
                fcntl.lockf(self._file, how | fcntl.LOCK_NB, 1, region * self._length)
            except (BlockingIOError, PermissionError):  # which of the two, POSIX leaves to the system
                return False
            return True

        def _is_running(self, region: int) -> bool:
            # A process that starts meanwhile finds the region taken, and takes the next one.
            if not self._lock(region, fcntl.LOCK_SH):
                return True
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, region * self._length)
            return False
