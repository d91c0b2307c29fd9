"""kqueue(2): macOS and the BSDs. Reading and writing are separate filters of a descriptor, which a turn puts
together into one mask."""

from __future__ import annotations

import sys

from .masks import ERROR, HANGUP, MAX_EVENTS, READ, WRITE

__all__ = ["KqueuePoller"]

if sys.platform != "linux" and sys.platform != "win32":
    from select import (
        KQ_EV_ADD,
        KQ_EV_DELETE,
        KQ_EV_EOF,
        KQ_EV_ERROR,
        KQ_FILTER_READ,
        KQ_FILTER_WRITE,
        kevent,
        kqueue,
    )

    class KqueuePoller:
        """Level-triggered, as kqueue is without ``EV_CLEAR``."""

        def __init__(self) -> None:
            self._kqueue = kqueue()
            self._masks: dict[int, int] = {}
            self.close = self._kqueue.close

        def register(self, fd: int, mask: int, exclusive: bool = False) -> None:
            self._masks[fd] = 0
            try:
                self.modify(fd, mask)
            except OSError:
                del self._masks[fd]
                raise

        def modify(self, fd: int, mask: int) -> None:
            before = self._masks[fd]
            changes = []
            for bit, filter_ in ((READ, KQ_FILTER_READ), (WRITE, KQ_FILTER_WRITE)):
                if (before ^ mask) & bit:
                    changes.append(kevent(fd, filter_, KQ_EV_ADD if mask & bit else KQ_EV_DELETE))
            if changes:
                self._kqueue.control(changes, 0)
            self._masks[fd] = mask

        def unregister(self, fd: int) -> None:
            self.modify(fd, 0)
            del self._masks[fd]

        def poll(self, timeout: float | None, maxevents: int = MAX_EVENTS, /) -> list[tuple[int, int]]:
            ready: dict[int, int] = {}
            for event in self._kqueue.control(None, maxevents, timeout):
                mask = READ if event.filter == KQ_FILTER_READ else WRITE
                if event.flags & KQ_EV_ERROR:
                    mask |= ERROR
                # End of file on the read filter is the peer's half-close: reading tells. On the write filter
                # the connection is gone; fflags then holds its error.
                if event.flags & KQ_EV_EOF and event.filter == KQ_FILTER_WRITE:
                    mask |= HANGUP
                ready[event.ident] = ready.get(event.ident, 0) | mask
            return list(ready.items())
