"""Validators of files: the entity tag and the date by which a client asks whether what it has is still right
(RFC 9110 section 8.8).

A tag is made of size and mtime, as nginx's is, so that copies of a site have the same (``cp -p``, ``rsync -t``, the
images of containers). That is only right as long as no two contents have had both in common, so

- a file whose times are so young that another write might leave them as they are has no validators yet, for some
  hundredths of a second (two seconds on file systems that count in seconds): section 8.8.1;
- one whose mtime says nothing, because it is earlier than the web (0 and 1 of reproducible builds, 1980 of ZIP) or in
  the future, has a tag made of its content, and no date;
- so has one that was another file of the same name, size and mtime when it was last asked for, as its ctime tells:
  written to with its mtime set back, or replaced by one with the same times.

What the last cannot see is a change while no server, or another worker, was there to notice it. ``content`` makes every
tag of the content; that costs reading each file once, and once more when its times change.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict

from .paths import OpenedFile
from .version import Identity, identity

__all__ = ["ETAGS", "NO_VALIDATORS", "READ_AT_ONCE", "ValidatorPair", "Validators"]

ETAGS = ("stat", "content", "off")
"""The choices of what entity tags are made of."""

READ_AT_ONCE = 128 * 1024
"""Bytes that may be read on a loop for a tag: a tenth of a millisecond."""

MOST_DIGESTS = 8 * 1024
"""Of versions of files; with its key, one takes 300 bytes."""

MOST_GIVEN = 16 * 1024
"""Tags that are remembered as given; one takes 150 bytes."""

_PIECE = 1 << 20


ValidatorPair = tuple[str, float | None]
"""The value of ETag, empty for none, and the time of Last-Modified in seconds since the epoch, None for none."""

NO_VALIDATORS: ValidatorPair = ("", None)
"""Those of a file that is not ``OpenedFile.trusted``."""


class Validators:
    """The validators of a site's files; ``kind`` is one of ``ETAGS``. For several threads."""

    def __init__(self, kind: str = "stat") -> None:
        if kind not in ETAGS:
            raise ValueError(f"etag is one of {', '.join(ETAGS)}, not {kind!r}")
        self._kind = kind
        self._digests: OrderedDict[Identity, str] = OrderedDict()
        # Hashes of what a tag was made of, and of the version that it was given for. Equal hashes of different files
        # would cost a needless digest.
        self._given: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def take_long(self, opened: OpenedFile) -> bool:
        """Tell whether ``find`` has to read more than a loop has time for."""
        return (
            opened.stat.st_size > READ_AT_ONCE
            and opened.trusted
            and opened.version.identity not in self._digests
            and (self._kind == "content" or (self._kind == "stat" and (not opened.dated or self._is_reused(opened))))
        )

    def find(self, opened: OpenedFile, coding: str | None = None) -> ValidatorPair:
        """Return the validators of a file's version, sent in this content coding: since its bytes differ, so does the
        tag (section 8.8.3.3). Raises ``OSError``."""
        if not opened.trusted:
            return NO_VALIDATORS
        status, suffix = opened.stat, f"-{coding}" if coding else ""
        plain = not self._is_reused(opened) and opened.dated
        if plain and self._kind == "stat":
            return f'"{status.st_mtime_ns:x}-{status.st_size:x}{suffix}"', status.st_mtime
        mtime = status.st_mtime if plain else None
        if self._kind == "off":
            return "", mtime
        digest = self._digest(opened)
        return (f'"{digest}{suffix}"', mtime) if digest else NO_VALIDATORS

    def _is_reused(self, opened: OpenedFile) -> bool:
        """Tell whether another version had the same name, size and mtime."""
        path, (inode, mtime, ctime, size, device) = opened.version
        key, version = hash((path, size, mtime)), hash((inode, ctime, device))
        with self._lock:
            given = self._given.get(key)
            if given is None:
                self._given[key] = version
                if len(self._given) > MOST_GIVEN:
                    self._given.popitem(last=False)
                return False
            self._given.move_to_end(key)
        return given != version

    def _digest(self, opened: OpenedFile) -> str:
        """Return a digest of the content; empty if the file is being changed."""
        version = opened.version.identity
        with self._lock:
            if version in self._digests:
                self._digests.move_to_end(version)
                return self._digests[version]
        state = hashlib.blake2b(digest_size=12)
        os.lseek(opened.fd, 0, os.SEEK_SET)
        while piece := os.read(opened.fd, _PIECE):
            state.update(piece)
        if identity(os.fstat(opened.fd)) != version:
            return ""
        with self._lock:
            self._digests[version] = state.hexdigest()
            if len(self._digests) > MOST_DIGESTS:
                self._digests.popitem(last=False)
        return state.hexdigest()
