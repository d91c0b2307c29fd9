"""Precompressed siblings of files (``app.js.br`` beside ``app.js``): which there are.

Asking the file system for each costs three system calls a file, and more in the kernel for names that it has never
heard of. So the names of a directory in which several files were asked about are read once, a few at a time, and what
was found holds as long as the directory is the same version.
"""

from __future__ import annotations

import os
import threading
from itertools import islice
from typing import Any

from .encodings import EXTENSIONS
from .version import FileVersion, identity, is_settled

__all__ = ["Siblings"]

ASKED_BEFORE = 8
"""Files about which the file system is asked before the names in their directory are read."""

NAMES_AT_ONCE = 64
"""Names that are read for one request: 20 microseconds."""

MOST_DIRECTORIES = 1024
"""Of which something is known; when there are more, all are forgotten."""

MOST_SIBLINGS = 4096
"""Siblings that are remembered of one directory; if it has more, the file system is asked."""

_SUFFIXES = tuple((coding, suffix.encode()) for coding, suffix in EXTENSIONS.items())
_ENDINGS = tuple(suffix for _, suffix in _SUFFIXES)


class _Directory:
    """A version of a directory, and the siblings in it as far as they are known."""

    __slots__ = ("asked", "stems", "version")

    def __init__(self, version: FileVersion) -> None:
        self.version = version
        self.asked = 0
        """Files about which the file system was asked."""
        self.stems: frozenset[bytes] | None = None
        """The names that have a sibling perhaps, once all were read."""


class Siblings:
    """The precompressed siblings of the files of a site. For several threads."""

    def __init__(self) -> None:
        self._directories: dict[bytes, _Directory] = {}
        # The directory whose names are being read: one at a time, as it takes a descriptor.
        self._reading: _Directory | None = None
        self._names: Any = None  # of ``os.scandir``
        self._found: set[bytes] = set()
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if self._names is not None:
            self._names.close()

    def find(self, path: bytes) -> tuple[list[str], tuple[bytes, ...], FileVersion | None]:
        """Return the codings that the file at ``path`` has a sibling in, the suffixes of those that are not there, and
        the version of the directory for which that is so; None while a new name in it might leave it the same."""
        parent, _, name = path.rpartition(b"/")
        parent = parent or b"/"
        try:
            status = os.stat(parent)
        except OSError:  # the file was open before it was moved away
            return (*_look(path), None)
        version = identity(status)
        directory = self._directories.get(parent)
        if directory is None or directory.version[1] != version:
            if not is_settled(status):
                return (*_look(path), None)
            if len(self._directories) >= MOST_DIRECTORIES:
                self._directories.clear()
            directory = self._directories[parent] = _Directory(FileVersion((parent, version)))
        stems = directory.stems
        if stems is not None and name not in stems:
            return [], _ENDINGS, directory.version
        if stems is None:
            directory.asked += 1
            if directory.asked >= ASKED_BEFORE:
                self._read_on(directory)
        return (*_look(path), directory.version)

    def _read_on(self, wanted: _Directory) -> None:
        """Read some more names of the directory that is being read, or begin with ``wanted``."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._names is None:
                wanted.asked = 0  # should it fail
                self._names = os.scandir(wanted.version.path)
                self._reading, self._found = wanted, set()
            count = 0
            for entry in islice(self._names, NAMES_AT_ONCE):
                count += 1
                stem, dot, ending = entry.name.rpartition(b".")
                if dot + ending in _ENDINGS:
                    self._found.add(stem)
            if count < NAMES_AT_ONCE or len(self._found) > MOST_SIBLINGS:
                self._finish(complete=count < NAMES_AT_ONCE)
        except OSError:
            self._finish(complete=False)
        finally:
            self._lock.release()

    def _finish(self, *, complete: bool) -> None:
        names, directory = self._names, self._reading
        self._names = self._reading = None
        if names is not None:
            names.close()
        if complete and directory is not None and directory.version.is_current():
            directory.stems = frozenset(self._found)
        elif directory is not None:
            directory.asked = -MOST_SIBLINGS  # not again soon


def _look(path: bytes) -> tuple[list[str], tuple[bytes, ...]]:
    """Return the codings that ``path`` has a sibling in, and the suffixes of those that are not there."""
    there, absent = [], []
    for coding, suffix in _SUFFIXES:
        if os.access(path + suffix, os.F_OK):
            there.append(coding)
        else:
            absent.append(suffix)
    return there, tuple(absent)
