"""epoll(7), Linux. Level-triggered: with edge-triggering each read would have to go on until ``EAGAIN``, one
system call more for every message."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

__all__ = ["EpollPoller"]

if sys.platform == "linux":

    class EpollPoller:
        """Its methods are those of ``select.epoll`` itself, without a call of ours in between."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.poll: Callable[..., list[tuple[int, int]]] = self._epoll.poll
            self.modify: Callable[[int, int], None] = self._epoll.modify
            self.unregister: Callable[[int], None] = self._epoll.unregister
            self.close: Callable[[], None] = self._epoll.close

        def register(self, fd: int, mask: int, exclusive: bool = False) -> None:
            self._epoll.register(fd, mask | select.EPOLLEXCLUSIVE if exclusive else mask)
