"""select(2): everywhere, slow with many descriptors, and limited to those below ``FD_SETSIZE``."""

from __future__ import annotations

import errno
import select

from .masks import ERROR, MAX_EVENTS, READ, WRITE

__all__ = ["SelectPoller"]

FD_SETSIZE = 1024
"""Of glibc, macOS and the BSDs; Python refuses larger descriptors in ``select`` with a ``ValueError``."""


class SelectPoller:
    """Two sets of descriptors. Hang-ups and errors show as readiness to read or write."""

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def register(self, fd: int, mask: int, exclusive: bool = False) -> None:
        if fd >= FD_SETSIZE:
            raise OSError(errno.EMFILE, f"descriptor {fd} is beyond what select can watch ({FD_SETSIZE})")
        self.modify(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        (self._readers.add if mask & READ else self._readers.discard)(fd)
        (self._writers.add if mask & WRITE else self._writers.discard)(fd)

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)

    def poll(self, timeout: float | None, maxevents: int = MAX_EVENTS, /) -> list[tuple[int, int]]:
        readable, writable, failed = select.select(self._readers, self._writers, self._writers, timeout)
        ready = dict.fromkeys(readable, READ)
        for fd in writable:
            ready[fd] = ready.get(fd, 0) | WRITE
        for fd in failed:  # how Windows reports a connect that failed
            ready[fd] = ready.get(fd, 0) | ERROR
        return list(ready.items())

    def close(self) -> None:
        self._readers.clear()
        self._writers.clear()
