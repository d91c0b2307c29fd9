"""A stand-in for ``select.kqueue`` over epoll, for systems without one: the filters that a poller of sockets needs,
after kqueue(2) of FreeBSD and macOS.

What it follows:

- A change adds, replaces, deletes, enables or disables an event, known by descriptor and filter. Deleting what is not
  there is ``ENOENT``, a descriptor that is not open ``EBADF``. The error of a change becomes an event with ``EV_ERROR``
  and its number in ``data`` if there is room for events, and else ends the call before the changes that follow;
  ``EV_RECEIPT`` makes such an event of a success, too. When there are any, the call does not wait, nor
  return others.
- Events are level-triggered; with ``EV_CLEAR`` each is reported once until there is news, with ``EV_ONESHOT`` once,
  with ``EV_DISPATCH`` once until it is enabled again.
- ``EVFILT_READ`` has in ``data`` the bytes to read, of a listening socket the connections to accept; ``EV_EOF`` when
  there will be no more, which says nothing about how many there are still. ``EVFILT_WRITE`` has the room in the buffer;
  ``EV_EOF`` when the peer takes no more, or when we have shut down our side (of TCP; Linux does not tell of others).
- An event vanishes with the descriptor that it was made with, though others may stand for the same socket, and the
  number be another one's by now.

What it cannot do: Linux gives a socket's error only to one who takes it away, so ``fflags`` has none with ``EV_EOF``;
``EVFILT_READ`` of a datagram socket counts the next datagram alone; files and devices are not supported.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

__all__ = ["NAMES", "Kevent", "Kqueue", "install"]

READ, WRITE = -1, -2

ADD, DELETE, ENABLE, DISABLE = 0x0001, 0x0002, 0x0004, 0x0008
ONESHOT, CLEAR, RECEIPT, DISPATCH = 0x0010, 0x0020, 0x0040, 0x0080
EOF, ERROR = 0x8000, 0x4000

NAMES = {
    "KQ_FILTER_READ": READ,
    "KQ_FILTER_WRITE": WRITE,
    "KQ_EV_ADD": ADD,
    "KQ_EV_DELETE": DELETE,
    "KQ_EV_ENABLE": ENABLE,
    "KQ_EV_DISABLE": DISABLE,
    "KQ_EV_ONESHOT": ONESHOT,
    "KQ_EV_CLEAR": CLEAR,
    "KQ_EV_EOF": EOF,
    "KQ_EV_ERROR": ERROR,
}
"""Names that ``select`` has where there is kqueue (``EV_RECEIPT`` and ``EV_DISPATCH`` have none in Python)."""

EPOLL = {READ: select.EPOLLIN | select.EPOLLRDHUP, WRITE: select.EPOLLOUT}
FAILED = select.EPOLLHUP | select.EPOLLERR

SHUT = {4, 5, 6, 7, 9, 11}
"""States of TCP after our end-of-file was sent, from FIN_WAIT1 on (tcp_states.h)."""

BACKLOG_OFFSET = 24
"""Of ``tcpi_unacked`` in ``struct tcp_info``: the connections to accept, if the socket listens."""


@dataclass
class Kevent:
    """An event, or a change of one; as ``select.kevent``."""

    ident: int
    filter: int = READ
    flags: int = ADD
    fflags: int = 0
    data: int = 0
    udata: int = 0


@dataclass
class _Note:
    """An event that is waited for."""

    flags: int
    udata: int
    identity: tuple[int, int]
    enabled: bool = True


class Kqueue:
    """As ``select.kqueue``."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._edges: dict[int, select.epoll] = {}  # for EV_CLEAR, by filter; made when the first one is asked for
        self._notes: dict[tuple[int, int], _Note] = {}
        self.calls = 0

    @property
    def closed(self) -> bool:
        return self._epoll.closed

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        for each in (self._epoll, *self._edges.values()):
            each.close()
        self._notes.clear()

    @property
    def interests(self) -> set[tuple[int, int]]:
        """Descriptors and filters that are waited for."""
        return {key for key in self._notes if self._is_current(*key)}

    def control(
        self, changelist: Iterable[Kevent] | None, max_events: int, timeout: float | None = None, /
    ) -> list[Kevent]:
        self.calls += 1
        if self.closed:
            raise ValueError("I/O operation on closed kqueue object")
        if max_events < 0:
            raise ValueError(f"Length of eventlist must be 0 or positive, got {max_events}")
        if timeout is not None and not timeout >= 0:
            raise ValueError("timeout must be positive or None")
        said: list[Kevent] = []
        for change in changelist or ():
            if not isinstance(change, Kevent):
                raise TypeError("changelist must be an iterable of select.kevent objects")
            code = self._change(change)
            if code or change.flags & RECEIPT:
                if len(said) < max_events:
                    said.append(Kevent(change.ident, change.filter, change.flags | ERROR, 0, code, change.udata))
                elif code:
                    raise OSError(code, os.strerror(code))
        return said if said or not max_events else self._wait(max_events, timeout)

    # -- changes

    def _change(self, change: Kevent) -> int:
        """Make a change; returns its error, or 0."""
        key = change.ident, change.filter
        if change.filter not in EPOLL:
            return errno.EINVAL
        try:
            identity = _identity(change.ident)
        except OSError as error:
            self._notes.pop(key, None)
            return error.errno or errno.EBADF
        note = self._notes.get(key)
        if note is not None and note.identity != identity:
            self._rebuild()
            note = None
        if note is None and not change.flags & ADD:
            return errno.ENOENT
        if change.flags & DELETE:
            self._delete(*key)
            return 0
        if note is None:
            note = _Note(change.flags, change.udata, identity)
        elif change.flags & ADD:
            self._delete(*key)
            note = _Note(change.flags, change.udata, identity, note.enabled)
        if change.flags & (ENABLE | DISABLE):
            note.enabled = bool(change.flags & ENABLE)
        self._notes[key] = note
        try:
            self._poll_for(*key)
        except OSError as error:
            del self._notes[key]
            return error.errno or errno.EINVAL
        return 0

    def _delete(self, ident: int, filter_: int) -> None:
        del self._notes[ident, filter_]
        self._poll_for(ident, filter_)

    def _poll_for(self, ident: int, filter_: int) -> None:
        """Have epoll know what is waited for of a descriptor, by this filter."""
        note = self._notes.get((ident, filter_))
        edge = self._edges.get(filter_)
        if note is not None and note.flags & CLEAR and edge is None:
            edge = self._edges[filter_] = select.epoll()
            self._epoll.register(edge, select.EPOLLIN)
        if edge is not None:
            wanted = note is not None and note.enabled and bool(note.flags & CLEAR)
            _set(edge, ident, EPOLL[filter_] | select.EPOLLET if wanted else 0)
        mask = 0
        for each, bits in EPOLL.items():
            other = self._notes.get((ident, each))
            if other is not None and other.enabled and not other.flags & CLEAR:
                mask |= bits
        _set(self._epoll, ident, mask)

    def _rebuild(self) -> None:
        """Forget events whose descriptors are closed. epoll goes on reporting them while there are copies, and takes
        no order for a closed one."""
        self._notes = {key: note for key, note in self._notes.items() if self._is_current(*key)}
        fresh = select.epoll()
        os.dup2(fresh.fileno(), self._epoll.fileno(), inheritable=False)
        fresh.close()
        for edge in self._edges.values():
            edge.close()
        self._edges.clear()
        for key in self._notes:
            self._poll_for(*key)

    def _is_current(self, ident: int, filter_: int) -> bool:
        """False if the descriptor was closed since, whatever its number stands for now."""
        try:
            return self._notes[ident, filter_].identity == _identity(ident)
        except OSError:
            return False

    # -- events

    def _wait(self, most: int, timeout: float | None) -> list[Kevent]:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = -1 if end is None else max(0.0, end - time.monotonic())
            found: list[Kevent] = []
            stale = False
            edges = {epoll.fileno(): filter_ for filter_, epoll in self._edges.items()}
            for ident, mask in self._epoll.poll(left, most):
                if ident in edges:
                    filter_ = edges[ident]
                    for of_edge, edge_mask in self._edges[filter_].poll(0, max(1, most - len(found))):
                        stale |= not self._report(of_edge, filter_, edge_mask, found)
                else:
                    for filter_ in EPOLL:
                        note = self._notes.get((ident, filter_))
                        if note is not None and note.enabled and not note.flags & CLEAR:
                            stale |= not self._report(ident, filter_, mask, found)
            if stale:
                self._rebuild()
            if found or (end is not None and time.monotonic() >= end):
                return found[:most]

    def _report(self, ident: int, filter_: int, mask: int, found: list[Kevent]) -> bool:
        """Add an event to those found; False if its descriptor is closed."""
        key = ident, filter_
        if not self._is_current(*key):
            return False
        if not mask & (EPOLL[filter_] | FAILED):
            return True  # it was the other filter's
        event = self._event(ident, filter_, mask)
        note = self._notes[key]
        event.udata = note.udata
        found.append(event)
        if note.flags & ONESHOT:
            self._delete(*key)
        elif note.flags & DISPATCH:
            note.enabled = False
            self._poll_for(*key)
        return True

    @staticmethod
    def _event(ident: int, filter_: int, mask: int) -> Kevent:
        event = Kevent(ident, filter_, 0)
        if filter_ == READ:
            event.data = _to_read(ident)
            if mask & (select.EPOLLRDHUP | select.EPOLLHUP):
                event.flags |= EOF
        else:
            event.data = _room(ident)
            if mask & FAILED or _tcp_state(ident) in SHUT:
                event.flags |= EOF
        return event


def install(patch: pytest.MonkeyPatch) -> None:
    """Let ``select`` have a kqueue."""
    patch.setattr(select, "kqueue", Kqueue, raising=False)
    patch.setattr(select, "kevent", Kevent, raising=False)
    for name, value in NAMES.items():
        patch.setattr(select, name, value, raising=False)


def _set(epoll: select.epoll, fd: int, mask: int) -> None:
    """Register, modify or unregister."""
    if not mask:
        with contextlib.suppress(OSError):
            epoll.unregister(fd)
        return
    try:
        epoll.modify(fd, mask)
    except FileNotFoundError:
        epoll.register(fd, mask)


def _identity(fd: int) -> tuple[int, int]:
    """The identity of a socket or a pipe, which another one that has its number later does not share."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _option(fd: int, level: int, name: int, size: int = 0) -> bytes | int | None:
    """A socket's option; None if the descriptor is no socket or has no such one."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        return sock.getsockopt(level, name, size) if size else sock.getsockopt(level, name)
    except OSError:
        return None
    finally:
        sock.detach()


def _tcp_info(fd: int) -> bytes:
    info = _option(fd, socket.IPPROTO_TCP, socket.TCP_INFO, 64)
    return info if isinstance(info, bytes) else b""


def _tcp_state(fd: int) -> int:
    info = _tcp_info(fd)
    return info[0] if info else 0


def _to_read(fd: int) -> int:
    if _option(fd, socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        info = _tcp_info(fd)
        return int(struct.unpack_from("I", info, BACKLOG_OFFSET)[0]) if info else 1
    return _count(fd, termios.FIONREAD)


def _room(fd: int) -> int:
    size = _option(fd, socket.SOL_SOCKET, socket.SO_SNDBUF)
    return max(0, size - _count(fd, termios.TIOCOUTQ)) if isinstance(size, int) else 1


def _count(fd: int, request: int) -> int:
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, request, b"\0\0\0\0"))[0])
    except OSError:
        return 0
