"""Versions of files: what tells one from any other, and what a response was made of.

One :class:`FileVersion` is made when a file is opened and goes with it through choosing a representation, making the
response and keeping it in memory.
"""

from __future__ import annotations

import os
import time
from typing import ClassVar

__all__ = [
    "FileSource",
    "FileVersion",
    "Identity",
    "identity",
    "is_current",
    "is_missing",
    "is_past",
    "is_settled",
    "nearest_directory",
    "settled_version",
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


class FileVersion(tuple[bytes, Identity]):
    """A version of a file at a path: ``FileVersion((path, identity))``. Equal are versions of the same file at the same
    path."""

    __slots__ = ()

    @property
    def path(self) -> bytes:
        """The path where it was found, as in ``Root.locate``."""
        return self[0]

    @property
    def identity(self) -> Identity:
        """The marks that tell it from other versions."""
        return self[1]

    def is_current(self) -> bool:
        """Tell whether ``path`` still leads to this version."""
        return is_current(*self)


def settled_version(path: bytes) -> FileVersion | None:
    """Return the version of the directory at ``path``; None while a new name in it might leave its times as they are,
    and when it cannot be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileVersion((path, identity(status))) if is_settled(status) else None


def nearest_directory(path: bytes) -> FileVersion | None:
    """Return what has to change before there can be something at ``path``, where nothing is: the directory in which the
    first name that is missing would be. None if that cannot be said: it has changed just now, or that name is a link
    which leads nowhere."""
    while True:
        parent = path.rpartition(b"/")[0] or b"/"
        found = settled_version(parent)
        if found is not None:
            return None if os.path.lexists(path) else found
        if parent == b"/" or not is_missing(parent):
            return None
        path = parent


class FileSource:
    """The files that a response was made of: it is still right as long as each of ``files`` is current and nothing is
    at any of the paths ``missing``, nor at the path of the first file with any of the suffixes ``absent``. Nothing is
    at either as long as ``directory``, if known, is current.

    ``missing`` is for what would have been served instead, and looked at before each use; ``absent`` is for what would
    have been preferred, and looked at once a second. ``etag``, ``mtime`` (seconds since the epoch) and
    ``modified``, which is that as an HTTP date, are the validators of the representation, as far as it has any.
    """

    __slots__ = ("absent", "directory", "etag", "files", "missing", "modified", "mtime")

    def __init__(
        self,
        files: tuple[FileVersion, ...],
        absent: tuple[bytes, ...] = (),
        directory: FileVersion | None = None,
        missing: tuple[bytes, ...] = (),
    ) -> None:
        self.files: tuple[FileVersion, ...] = files
        self.absent: tuple[bytes, ...] = absent
        self.directory = directory
        self.missing: tuple[bytes, ...] = missing
        self.etag: str = ""
        self.mtime: float | None = None
        self.modified: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileSource) and self._parts() == other._parts()

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # it changes

    def _parts(self) -> tuple[object, ...]:
        return self.files, self.absent, self.directory, self.missing, self.etag, self.mtime

    def watched(self) -> FileVersion | None:
        """Return the version that is current as long as the source is, if there is one such."""
        if self.missing:
            return None if self.files else self.directory
        return self.files[0] if len(self.files) == 1 else None

    def is_current(self) -> bool:
        """Tell whether each file still is what it was, and what was missing still is: one ``stat`` each."""
        if not all(version.is_current() for version in self.files):
            return False
        if not self.missing or (self.directory is not None and self.directory.is_current()):
            return True
        # What has come into the directory may be something else.
        self.directory = nearest_directory(self.missing[0]) if len(self.missing) == 1 else None
        return all(map(is_missing, self.missing))

    def has_appeared(self) -> bool:
        """Tell whether there is something now that was not there."""
        if not self.absent or (self.directory is not None and self.directory.is_current()):
            return False
        path = self.files[0].path
        return any(os.access(path + suffix, os.F_OK) for suffix in self.absent)
