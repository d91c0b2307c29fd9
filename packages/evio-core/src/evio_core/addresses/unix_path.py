"""The file of a unix socket: who may bind it, and who may remove it.

A socket file stays when its server dies, and binding to it then fails. It is replaced only if it is a socket
that nobody answers on; anything else at the path is left alone, always.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from typing import NamedTuple

__all__ = ["UnixPath", "bind_unix"]


class UnixPath(NamedTuple):
    """A socket file that we made; its identity tells it from one that somebody else puts in its place."""

    path: str
    device: int
    inode: int

    def remove(self) -> None:
        """Remove the file if it is still ours."""
        if _identity(self.path) == (self.device, self.inode):
            os.unlink(self.path)


def bind_unix(sock: socket.socket, path: str, mode: int | None) -> UnixPath | None:
    """Bind to a path, replacing a stale socket file; None for an abstract name, which has no file.

    Raises ``OSError``: ``EADDRINUSE`` if a server is listening there or the path is something else than a
    socket, or whatever the kernel says.
    """
    if path.startswith("\0"):
        sock.bind(path)
        return None
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _remove_stale(path)
        sock.bind(path)
    device, inode = _identity(path)
    ours = UnixPath(path, device, inode)
    if mode is not None:
        os.chmod(path, mode)  # nobody can connect yet: the socket does not listen
    return ours


def _remove_stale(path: str) -> None:
    if sys.platform == "win32":
        raise NotImplementedError("native loops need a POSIX system")
    before = os.lstat(path)
    if not stat.S_ISSOCK(before.st_mode):
        raise OSError(errno.EADDRINUSE, "the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(path)
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        # EAGAIN: a full backlog, so somebody is listening; EPROTOTYPE: a socket of another type
        raise OSError(errno.EADDRINUSE, "a server is listening on it")
    if _identity(path) == (before.st_dev, before.st_ino):
        os.unlink(path)


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return -1, -1
    return status.st_dev, status.st_ino
