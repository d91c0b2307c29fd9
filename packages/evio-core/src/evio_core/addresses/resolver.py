"""Looking names up off the loop: ``getaddrinfo`` may take seconds, and a program that dials a thousand names must not
have a thousand threads.

The threads are this process's, ``MOST_THREADS`` at most, and end when there is nothing left to look up. They are
daemons, as a look-up cannot be interrupted and nobody waits for it at the end of the program; the threads of
``concurrent.futures`` would hold that up.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from .address import Address
from .candidates import Candidate

__all__ = ["MOST_THREADS", "LookUp", "look_up_numeric", "resolve"]

MOST_THREADS = 32
"""Look-ups at a time. They wait rather than compute, and one name server that does not answer must not hold up the
names of others."""

Found: TypeAlias = "list[Candidate] | OSError"
"""The addresses of a name, or the reason why there are none."""


def look_up_numeric(address: Address, kind: int) -> list[Candidate] | None:
    """The addresses of a numeric host, at once; None for a name. ``kind``: ``SOCK_STREAM`` or ``SOCK_DGRAM``."""
    try:
        return _look_up(address, kind, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return None


def resolve(address: Address, kind: int, done: Callable[[Found], object]) -> LookUp:
    """Look the host up in a thread, which calls ``done`` with what it found."""
    look_up = LookUp(address, kind, done)
    _pool.add(look_up)
    return look_up


class LookUp:
    """A name that waits to be looked up, or is being."""

    __slots__ = ("_address", "_done", "_kind")

    def __init__(self, address: Address, kind: int, done: Callable[[Found], object]) -> None:
        self._address = address
        self._done: Callable[[Found], object] | None = done
        self._kind = kind

    @property
    def host(self) -> str:
        return self._address.host

    def cancel(self) -> None:
        """Look it up no more, if that has not begun, and tell nobody. From any thread."""
        self._done = None

    def run(self) -> None:
        """Look it up, unless it was cancelled."""
        if self._done is None:
            return
        found: Found
        try:
            found = _look_up(self._address, self._kind, 0)
        except OSError as error:
            found = error
        self.finish(found)

    def finish(self, found: Found) -> None:
        """Tell what was found."""
        done = self._done
        if done is not None:
            done(found)


def _look_up(address: Address, kind: int, flags: int) -> list[Candidate]:
    infos = socket.getaddrinfo(address.host, address.port, address.socket_family, kind, 0, flags)
    return [(info[0], info[4]) for info in infos]


class _Pool:
    """Threads for look-ups."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew: a forked child has the counts of its parent's threads, and none of these."""
        self._lock = threading.Lock()
        self._waiting: deque[LookUp] = deque()
        self._threads = 0

    def add(self, look_up: LookUp) -> None:
        with self._lock:
            self._waiting.append(look_up)
            if self._threads >= MOST_THREADS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="evio-resolve", daemon=True).start()
        except RuntimeError as error:  # the system gives no more of them
            with self._lock:
                self._threads -= 1
                if self._threads or look_up not in self._waiting:
                    return  # another one takes it
                self._waiting.remove(look_up)
            look_up.finish(OSError(errno.EAGAIN, f"cannot look up {look_up.host}: {error}"))

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                look_up = self._waiting.popleft()
            look_up.run()


_pool = _Pool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.clear)
