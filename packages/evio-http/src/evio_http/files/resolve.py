"""From names below a directory to a descriptor, so that nothing outside it can be reached.

Checking a path and then opening it leaves a gap in which a component may be replaced by a symbolic link.
So nothing here is checked by name: every way below takes hold of what it is going to look at first.

- ``beneath`` and ``read_beneath``: Linux 5.6's ``openat2`` with ``RESOLVE_BENEATH``: the kernel resolves the whole path
  and refuses to leave the directory at any step. One system call.
- ``walk``: one component at a time, each relative to the descriptor of the one before and never following
  a link; a link's target is read and walked by the same rules. For kernels (and sandboxes) without
  ``openat2``, and for absolute links that lead back inside, which ``RESOLVE_BENEATH`` refuses.
- ``follow``: for a site that may link anywhere: the kernel resolves as it always does.

Where the platform has ``O_PATH``, what is held is not yet opened: a FIFO or a device is recognised without
disturbing whoever is on its other side, and ``reopen`` opens exactly what was recognised. ``read_beneath`` spares that
for what was a regular file a moment ago.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterable

__all__ = ["Held", "beneath", "follow", "read_beneath", "reopen", "walk"]

Held = tuple[int, os.stat_result]
"""A descriptor that its receiver must close, and what ``fstat`` says of it."""

MAX_LINKS = 40
"""Symbolic links in one resolution before it counts as a loop: Linux's own bound (path_resolution(7))."""

# os.open makes every descriptor close-on-exec by itself (PEP 446); openat2 has to be asked.
_O_PATH: int = getattr(os, "O_PATH", 0)
_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
# O_NONBLOCK: should a FIFO take the file's place in the last moment, open does not wait for its writer.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)

# An O_PATH descriptor can only be opened for reading through /proc; without it (a bare chroot, macOS) the
# kind is looked at by name, the file opened without blocking, and its kind looked at again.
_HOLDS = bool(_O_PATH) and os.path.isdir("/proc/self/fd")


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_SYS_OPENAT2 = 437  # the same on every architecture of Linux but Alpha, which CPython does not support
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_how = _OpenHow(_O_PATH | _CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
_how_to_read = _OpenHow(_READ | _CLOEXEC | getattr(os, "O_LARGEFILE", 0), 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
_how_address, _how_to_read_address = ctypes.addressof(_how), ctypes.addressof(_how_to_read)
_HOW_SIZE = ctypes.sizeof(_OpenHow)


def _syscall() -> Callable[[int, int, bytes, int, int], int] | None:
    """libc's ``syscall``, where ``openat2`` exists and is let through (old container runtimes answer EPERM)."""
    if not _HOLDS:
        return None
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = ctypes.c_long
    root = os.open(b"/", _O_PATH)
    try:
        fd: int = function(_SYS_OPENAT2, root, b".", _how_address, ctypes.sizeof(_OpenHow))
    finally:
        os.close(root)
    if fd < 0:
        return None
    os.close(fd)
    return function


_openat2 = _syscall()


def beneath(root: int, names: list[bytes]) -> Held | None:
    """Resolve ``names`` below the directory ``root`` in the kernel. None: it cannot say, ask ``walk``.

    Raises ``OSError`` as ``openat2`` does.
    """
    fd = _open_beneath(root, b"/".join(names) or b".", _how_address)
    return None if fd is None else _measured(fd)


def read_beneath(root: int, path: bytes) -> Held | None:
    """Open for reading what ``path`` leads to below the directory ``root``, a regular file a moment ago: whatever has
    taken its place, opening it does not wait for anything. None: the kernel cannot say, or it is none any more; ask
    ``beneath``, then ``walk``.

    Raises ``OSError`` as ``openat2`` does.
    """
    fd = _open_beneath(root, path, _how_to_read_address)
    if fd is None:
        return None
    held = fd, os.fstat(fd)
    if stat.S_ISREG(held[1].st_mode):
        return held
    os.close(fd)
    return None


def _open_beneath(root: int, path: bytes, how: int) -> int | None:
    if _openat2 is None:
        return None
    while (fd := _openat2(_SYS_OPENAT2, root, path, how, _HOW_SIZE)) < 0:
        number = ctypes.get_errno()
        # EXDEV: a step leaves ROOT, or a link is absolute. EAGAIN: something was renamed meanwhile, and the
        # kernel cannot tell whether ".." stayed inside.
        if number in (errno.EXDEV, errno.EAGAIN):
            return None
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return fd


def walk(root: int, names: list[bytes], aliases: Callable[[], Iterable[bytes]]) -> Held:
    """Resolve ``names`` below the directory ``root`` one component at a time. ``aliases`` gives the absolute paths of
    ``root``: an absolute link that begins with one of them leads back inside.

    Raises ``OSError``: ``EXDEV`` for what leaves ``root``, ``ELOOP`` for too many links, and as ``open`` does.
    """
    pending = names[::-1] or [b"."]
    held = [root]  # from ROOT down to where we are: ".." is the one before, whatever was renamed meanwhile
    fd, links = -1, 0
    try:
        while True:
            name = pending.pop() or b"."
            if name == b"..":
                if len(held) == 1:
                    raise OSError(errno.EXDEV, "leaves the root")
                os.close(held.pop())
                name = b"."
            fd, status = _hold(name, held[-1])
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = _target(fd, name, held[-1])
                if target.startswith(b"/"):
                    target = _inside(target, aliases())
                    while len(held) > 1:
                        os.close(held.pop())
                pending += target.split(b"/")[::-1]
            elif not pending:
                result, fd = fd, -1
                return result, status
            elif not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            elif name != b".":
                held.append(fd)
                continue
            if fd >= 0:
                os.close(fd)
                fd = -1
    finally:
        for descriptor in {fd, *held[1:]} - {-1}:
            os.close(descriptor)


def follow(root: int, names: list[bytes]) -> Held:
    """Resolve ``names`` from the directory ``root``, links to anywhere included. Raises ``OSError`` as ``open``
    does."""
    return _hold(b"/".join(names) or b".", root, 0)


def reopen(fd: int) -> int:
    """Open for reading the very file that ``fd`` holds, and close ``fd``. Raises ``OSError`` as ``open`` does."""
    if not _HOLDS:
        return fd
    try:
        return os.open(b"/proc/self/fd/%d" % fd, _READ)
    finally:
        os.close(fd)


def _hold(name: bytes, directory: int, nofollow: int = _NOFOLLOW) -> Held:
    if _HOLDS:
        return _measured(os.open(name, _O_PATH | nofollow, dir_fd=directory))
    status = os.stat(name, dir_fd=directory, follow_symlinks=not nofollow)
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return _measured(os.open(name, _READ | nofollow, dir_fd=directory))
    return -1, status


def _measured(fd: int) -> Held:
    try:
        return fd, os.fstat(fd)
    except OSError:
        os.close(fd)
        raise


def _target(fd: int, name: bytes, directory: int) -> bytes:
    """Return where the link leads; of the very link that is held, if it can be held."""
    if fd >= 0:
        return os.readlink(b"", dir_fd=fd)
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.EINVAL:  # replaced by something that is no link: gone, as far as we know
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        raise


def _inside(target: bytes, aliases: Iterable[bytes]) -> bytes:
    for alias in aliases:
        prefix = alias.rstrip(b"/") + b"/"
        if (target + b"/").startswith(prefix):
            return target[len(prefix) :]
    raise OSError(errno.EXDEV, "leaves the root")
