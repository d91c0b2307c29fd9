"""kqueue(2): macOS and the BSDs. Reading and writing are separate filters of a descriptor, which a turn puts
together into one mask."""

from __future__ import annotations

import select
from typing import Any

from .masks import HANGUP, MAX_EVENTS, READ, WRITE

__all__ = ["KqueuePoller"]


class KqueuePoller:
    """Level-triggered, as kqueue is without ``EV_CLEAR``."""

    def __init__(self) -> None:
        kernel: Any = select  # a type checker knows these names on the systems that have them, and on no other
        self._kqueue = kernel.kqueue()
        self._kevent = kernel.kevent
        self._add = kernel.KQ_EV_ADD
        self._delete = kernel.KQ_EV_DELETE
        self._eof = kernel.KQ_EV_EOF
        self._writable = kernel.KQ_FILTER_WRITE
        self._filters = ((READ, kernel.KQ_FILTER_READ), (WRITE, kernel.KQ_FILTER_WRITE))
        self._masks: dict[int, int] = {}
        self.close: Any = self._kqueue.close

    def register(self, fd: int, mask: int, exclusive: bool = False) -> None:
        self._masks[fd] = 0
        try:
            self.modify(fd, mask)
        except OSError:
            if self._masks.get(fd):
                self.modify(fd, 0)
            del self._masks[fd]
            raise

    def modify(self, fd: int, mask: int) -> None:
        differs = self._masks[fd] ^ mask
        for bit, filter_ in self._filters:
            if differs & bit:
                # One change a call, as an error does not say how many of several were made. There are seldom two.
                change = self._kevent(fd, filter_, self._add if mask & bit else self._delete)
                self._kqueue.control((change,), 0)
                self._masks[fd] ^= bit

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)
        del self._masks[fd]

    def poll(self, timeout: float | None, maxevents: int = MAX_EVENTS, /) -> list[tuple[int, int]]:
        ready: dict[int, int] = {}
        for event in self._kqueue.control(None, maxevents, timeout):
            if event.filter != self._writable:
                mask = READ  # also at the end of the input, or after an error: reading tells
            elif event.flags & self._eof:
                mask = WRITE | HANGUP  # the peer takes no more
            else:
                mask = WRITE
            ready[event.ident] = ready.get(event.ident, 0) | mask
        return list(ready.items())
