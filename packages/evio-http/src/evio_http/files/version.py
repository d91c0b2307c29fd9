"""Versions of files: what tells one from any other, and what a response was made of.

One :class:`FileVersion` is made when a file is opened and goes with it through choosing a representation, making the
response and keeping it in memory.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

__all__ = [
    "FileSource",
    "FileVersion",
    "Identity",
    "identity",
    "is_current",
    "is_missing",
    "is_past",
    "is_settled",
]

Identity = tuple[int, int, int, int, int]
"""The marks of a version of a file: inode, mtime and ctime (ns), size, device."""

_TICK_NS = 50_000_000  # local file systems stamp with the kernel's coarse clock: 10 ms at CONFIG_HZ=100
_COARSE_NS = 2_000_000_000  # FAT; ext3 and HFS+ have 1 s


def identity(status: os.stat_result) -> Identity:
    """Return the identity of a file's present version."""
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_dev


def is_settled(status: os.stat_result, now_ns: int | None = None) -> bool:
    """Tell whether any write after now (``time.time_ns``) is sure to change the identity of a file, because its
    ctime is older than the file system's granularity. A time in whole seconds means a coarse file system.
    """
    return is_past(status.st_ctime_ns, time.time_ns() if now_ns is None else now_ns)


def is_past(ctime_ns: int, now_ns: int) -> bool:
    """Tell whether a file's time of change is older than the granularity in which the file system counts."""
    return ctime_ns + (_TICK_NS if ctime_ns % 1_000_000_000 else _COARSE_NS) <= now_ns


def is_current(path: bytes, version: Identity) -> bool:
    """Tell whether ``path`` (of ``Root.locate``) still leads to this version of a file: one ``stat``.

    Why that is enough to answer from memory: ``version`` was read through a safe ``Root.open``, and the path
    leads to the same inode with the same size and times, so a fresh read would give the same bytes. A file
    that is replaced has another inode; one that is written to has another mtime; one that is chmod-ed,
    renamed, linked over, or has its mtime set back has another ctime, which nobody can set; one that is
    deleted or behind a directory that may no longer be searched has none. Only a version that
    ``is_settled`` may be kept, or a second write within the clock's granularity would go unseen.

    A program that writes through a shared mapping shows in no time until the kernel writes back (mmap(2)).

    ``stat`` follows links, and that is no way out: the worst that a link to the outside can do is to lead
    back to the inode whose bytes were readable inside, unchanged.
    """
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_dev) == version


def is_missing(path: bytes) -> bool:
    """Tell whether ``path`` leads to nothing: one ``stat``. False if the system does not say so plainly."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


class FileVersion:
    """The version of the file at ``path`` that ``status`` is of. Equal are versions of the same file at the same
    path."""

    __slots__ = ("_settled", "identity", "path")

    def __init__(self, path: bytes, status: os.stat_result) -> None:
        self.path = path
        self.identity = identity(status)
        self._settled = False

    @property
    def settled(self) -> bool:
        """True if it may be kept in memory; see ``is_settled``. Once so, it remains so."""
        if not self._settled:
            self._settled = is_past(self.identity[2], time.time_ns())
        return self._settled

    def is_current(self) -> bool:
        """Tell whether ``path`` still leads to this version."""
        return is_current(self.path, self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileVersion) and (other.identity, other.path) == (self.identity, self.path)

    def __hash__(self) -> int:
        return hash((self.identity, self.path))

    def __repr__(self) -> str:
        return f"FileVersion({self.path!r}, {self.identity!r})"


@dataclass(slots=True)
class FileSource:
    """The files that a response was made of: it is still right as long as each of ``files`` is current, none of the
    paths ``missing`` exists, and none of the paths ``absent``, which is so as long as ``directory``, if known, is
    current.

    ``missing`` is for what would have been served instead, and looked at before each use; ``absent`` is for what would
    have been preferred, and looked at once a second. ``etag``, ``mtime`` (seconds since the epoch) and
    ``modified``, which is that as an HTTP date, are the validators of the representation, as far as it has any.
    """

    files: tuple[FileVersion, ...]
    absent: tuple[bytes, ...] = ()
    directory: FileVersion | None = None
    missing: tuple[bytes, ...] = ()
    etag: str = ""
    mtime: float | None = None
    modified: str = ""

    def is_current(self) -> bool:
        """Tell whether each file still is what it was, and what was missing still is: one ``stat`` each."""
        return all(version.is_current() for version in self.files) and all(map(is_missing, self.missing))

    def has_appeared(self) -> bool:
        """Tell whether there is something now that was not there."""
        if self.directory is not None and self.directory.is_current():
            return False
        return any(os.access(path, os.F_OK) for path in self.absent)
