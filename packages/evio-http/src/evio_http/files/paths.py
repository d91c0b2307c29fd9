"""From the bytes of a request target to an open file below the root directory, and to nothing else.

``decode_target_path`` makes names of the bytes, once; ``Root.open`` makes a file or a directory of the
names. What a symbolic link, a FIFO or a race could do to the second is the business of ``resolve.py``.

What is opened has its version with it (``version.py``).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from . import resolve
from .version import FileVersion, identity, is_past

__all__ = [
    "BadPath",
    "Entry",
    "OpenedDirectory",
    "OpenedFile",
    "PermissionDenied",
    "Root",
    "decode_target_path",
    "decoded_path",
    "encode_path",
    "pread",
]

# RFC 3986 section 3.3 allows less; browsers send more ("|", "[", UTF-8). What is refused: control
# characters and space, "\" (a separator elsewhere), "?" and "#" (they end a path and cannot be in one).
_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f\\?#]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SEPARATORS = re.compile(rb"[\x00/\\]")
_PLAIN = re.compile(r"[^./\0][^/\0]*+(?:/[^./\0][^/\0]*+)*+")
"""Names none of which begins with a dot, joined: if there are no more of them than slashes and one."""

_READ: int = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_SEARCH: int = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)

_ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EXDEV, errno.ENXIO))
"""Errors of a path that leads to nothing which is ours to give."""


class BadPath(ValueError):
    """The path of a request target is malformed or leaves the root: 400."""


class PermissionDenied(PermissionError):
    """The file is there, and the operating system does not let us read it: 403."""


def decode_target_path(raw_path: bytes) -> list[str]:
    """The names in the path of a request target: percent-decoded exactly once, "." and ".." resolved
    (also as "%2e"), empty ones dropped. ``b"/"`` has none.

    Raises :class:`BadPath` for what does not begin with "/", NUL and other control characters, "\\", an
    encoded "/" or "\\", "?" and "#", an incomplete percent escape (RFC 3986 section 2.1), invalid or overlong
    UTF-8 (RFC 3629 section 3) and ".." above the root.
    """
    if raw_path[:1] != b"/":
        raise BadPath("the path does not begin with /")
    if _FORBIDDEN.search(raw_path):
        raise BadPath("the path has a character that is not allowed")
    if b"%" not in raw_path:
        if b"/." not in raw_path and raw_path.isascii():  # nothing to decode and nothing to resolve
            return list(filter(None, raw_path.decode("ascii").split("/")))
    elif _BAD_ESCAPE.search(raw_path):
        raise BadPath("the path has an incomplete percent escape")
    names: list[str] = []
    for piece in raw_path.split(b"/"):
        name = _decode_segment(piece)
        if name == "..":
            # RFC 3986 section 5.2.4 would stop at the root; whoever climbs above it is up to no good.
            if not names:
                raise BadPath("the path leaves the root")
            names.pop()
        elif name and name != ".":
            names.append(name)
    return names


def _decode_segment(piece: bytes) -> str:
    decoded = unquote_to_bytes(piece)
    if _SEPARATORS.search(decoded):
        raise BadPath("the path has an encoded separator or NUL")
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        raise BadPath("the path is not UTF-8") from None


def decoded_path(segments: list[str]) -> str:
    """The path of names as it is compared with patterns and shown, nothing in it encoded."""
    return "/" + "/".join(segments)


def encode_path(segments: list[str], *, directory: bool = False) -> str:
    """The path of a request target for names: the inverse of ``decode_target_path``, with "/" at the end
    for a directory.

    What a redirect must be made of, rather than of the path as it was received: "//host/.." names a
    directory, and sent back as a ``Location`` it would name another host (RFC 3986 section 4.2).
    """
    path = "".join("/" + quote(name, safe="!$&'()*+,:;=@~") for name in segments)
    return path + "/" if directory or not segments else path


class _Opened:
    """An owner of ``fd``. Whoever has it should close it; when it is dropped it does so by itself, as file objects do:
    an exception on the way to a peer, or a peer that has gone while a thread was at work, must not cost a
    descriptor."""

    __slots__ = ("fd",)

    fd: int

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


BEFORE_THE_WEB_NS = 631_152_000_000_000_000
"""1990, in ns since the epoch."""

SKEW_NS = 2_000_000_000
"""By how much an mtime that nobody has set may be later than ctime: what file systems round to."""


def _read_at(fd: int, size: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)


pread = getattr(os, "pread", _read_at)  # Windows has none


class OpenedFile(_Opened):
    """A regular file, open for reading; what it says is of the moment when it was found."""

    __slots__ = ("dated", "settled", "stat", "trusted", "version")

    def __init__(self, fd: int, status: os.stat_result, path: bytes) -> None:
        self.fd = fd
        self.stat: os.stat_result = status
        mtime, ctime, now = status.st_mtime_ns, status.st_ctime_ns, time.time_ns()
        self.version: FileVersion = FileVersion((path, identity(status)))
        self.settled: bool = is_past(ctime, now)
        """True if any write since is sure to have changed its version; see ``is_settled``."""
        self.dated: bool = BEFORE_THE_WEB_NS <= mtime <= ctime + SKEW_NS
        """True if its mtime may be when it was last written to."""
        self.trusted: bool = self.settled and (not self.dated or is_past(mtime, now))
        """True if any write since is sure to have changed its times, of which validators are made."""

    def snapshot(self) -> bytes | None:
        """Read the content, for keeping under ``version``; None when the file is being changed or has not settled, so
        that it cannot be sure to be that version. Raises ``OSError``."""
        if not self.settled:
            return None
        size = self.stat.st_size
        content: bytes = pread(self.fd, size + 1, 0)  # a byte more, to see whether it has grown
        while len(content) < size and (piece := pread(self.fd, size + 1 - len(content), len(content))):
            content += piece
        if len(content) != size or identity(os.fstat(self.fd)) != self.version[1]:
            return None
        return content


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory that can be requested: ``size`` in bytes, ``mtime`` in seconds since the epoch."""

    name: str
    is_directory: bool
    size: int
    mtime: float


@dataclass(slots=True)
class OpenedDirectory(_Opened):
    """A directory; it need not be readable as long as ``entries`` is not asked."""

    fd: int
    stat: os.stat_result
    _root: Root = field(repr=False)
    _segments: list[str] = field(repr=False)

    def entries(self) -> list[Entry]:
        """List what can be requested below it, in no order: one ``stat`` each. Left out is what ``Root.open`` would
        not give: hidden names, names that are not UTF-8, links that leave the root, devices.

        Raises :class:`PermissionDenied` when the directory may not be read, and ``OSError``.
        """
        try:
            fd = os.open(b".", _READ, dir_fd=self.fd)
        except PermissionError as error:
            raise PermissionDenied(error.errno, error.strerror) from None
        try:
            with os.scandir(fd) as found:
                return [made for entry in found if (made := self._entry(entry)) is not None]
        finally:
            os.close(fd)

    def _entry(self, entry: os.DirEntry[str]) -> Entry | None:
        try:
            name = os.fsencode(entry.name).decode()
            if "\\" in name or self._root.hides([*self._segments, name]):
                return None
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = self._root.open([*self._segments, name])
                if target is None:
                    return None
                target.close()
                status = target.stat
        except (UnicodeDecodeError, FileNotFoundError, PermissionDenied):
            return None
        if stat.S_ISDIR(status.st_mode):
            return Entry(name, True, 0, status.st_mtime)
        return Entry(name, False, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None


class Root:
    """A directory whose files may be requested.

    It is looked up anew by its path on each ``open``: a deployment that swaps the link which the path is
    takes effect at once. Raises ``OSError`` when it is not a directory that can be searched.

    ``follow_symlinks``: also follow links that leave it. ``dotfiles``: also give names that begin with ".";
    "/.well-known" (RFC 8615) is always given. ``hidden``: names in the directory itself that are not.
    """

    def __init__(
        self,
        directory: str,
        *,
        follow_symlinks: bool = False,
        dotfiles: bool = False,
        hidden: Collection[str] = (),
    ) -> None:
        self.directory: str = os.path.abspath(directory)
        self._path = os.fsencode(self.directory)
        self._prefix = self._path.rstrip(b"/") + b"/"
        self._follow_symlinks = follow_symlinks
        self._dotfiles = dotfiles
        self._hidden = frozenset(hidden)
        try:
            os.close(os.open(os.path.join(self._path, b"."), _SEARCH))
        except OSError as error:
            error.filename = self._path
            raise

    def hides(self, segments: list[str]) -> bool:
        """Tell whether a name begins with "." and is not to be given, or is hidden by name."""
        if self._hidden and len(segments) == 1 and segments[0] in self._hidden:
            return True
        if self._dotfiles:
            return False
        for depth, name in enumerate(segments):  # noqa: SIM110 (a generator would cost a call for each name)
            if name[0] == "." and (depth or name != ".well-known"):
                return True
        return False

    def locate(self, segments: list[str]) -> bytes:
        """Return the path of the file of these names, for ``is_current``."""
        _check_names(segments)
        return self._prefix + "/".join(segments).encode() if segments else self._path

    def open(self, segments: list[str]) -> OpenedFile | OpenedDirectory | None:
        """The regular file or directory that the names of ``decode_target_path`` lead to. None: there is
        none, it is something else, it is hidden, or a link on the way leaves the root.

        Raises :class:`PermissionDenied` when the operating system refuses, ``OSError`` when it cannot say
        (no descriptors left, a disk error) and ``ValueError`` for names that are none.
        """
        joined = "/".join(segments)
        # Most paths have no name that begins with a dot, be it a hidden one or none at all: seen by one expression.
        if not _PLAIN.fullmatch(joined) or joined.count("/") >= len(segments) or self._hidden:
            _check_names(segments)
            if self.hides(segments):
                return None
        relative = joined.encode()
        try:
            return self._open(relative, self._prefix + relative if segments else self._path, segments)
        except PermissionError as error:
            raise PermissionDenied(error.errno, error.strerror) from None
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise

    def _open(self, relative: bytes, path: bytes, segments: list[str]) -> OpenedFile | OpenedDirectory | None:
        # What is a regular file by its name is opened at once. A look by name says nothing about where it leads, and
        # what is there a moment later may be something else: ``read_beneath`` sees to both.
        try:
            regular = stat.S_ISREG(os.stat(path).st_mode)
        except PermissionError:
            regular = False
        root = os.open(self._path, _SEARCH)
        try:
            held = resolve.read_beneath(root, relative) if regular and not self._follow_symlinks else None
            if held is not None:
                return OpenedFile(*held, path)
            names = relative.split(b"/") if relative else []
            if self._follow_symlinks:
                fd, status = resolve.follow(root, names)
            else:
                fd, status = resolve.beneath(root, names) or resolve.walk(root, names, self._aliases)
        finally:
            os.close(root)
        if stat.S_ISREG(status.st_mode):
            return OpenedFile(resolve.reopen(fd), status, path)
        if stat.S_ISDIR(status.st_mode):
            return OpenedDirectory(fd, status, self, list(segments))
        if fd >= 0:
            os.close(fd)
        return None

    def _aliases(self) -> tuple[bytes, ...]:
        return self._path, os.path.realpath(self._path)


def _check_names(segments: list[str]) -> None:
    """Raise ``ValueError`` for names that are none."""
    for name in segments:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"not the name of a file: {name!r}")
