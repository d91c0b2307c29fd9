"""Whole answers in memory.

Operations: find, keep, renew; O(1). Goals: the bytes of an answer are one object that goes to the kernel as it is;
memory is bounded, whatever is asked for. Whether an answer is still right is for whoever refers to it
(``by_request.py``).

A file that is not small is not in memory but held open: ``wire`` is the head, and the kernel copies the rest.

Requests with different heads that get the very same answer share it. When an answer has to make room, ``wire`` is
emptied: those who still refer to it then see that it is gone.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import NamedTuple

from ..files.version import FileVersion
from ..message.response import DATE_SIZE

__all__ = ["HeldFile", "HotAnswer", "HotCache", "Span"]

OVERHEAD = 1024
"""Bytes that an answer takes besides its own, by tracemalloc and rounded up: the objects of it, its key and its
source."""


HELD_SECONDS = 60.0
"""After which a held file that nobody asked for is closed, when another is asked for."""


class Span(NamedTuple):
    """A part of an open file, in bytes."""

    fd: int
    offset: int
    length: int


class Descriptor:
    """A file held open. It is closed when nobody refers to it: another thread may be about to send from it when the
    cache lets go of it, and must not find the number given to another file."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        """Duplicates ``fd``. Raises ``OSError``."""
        self.fd: int = os.dup(fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class HeldFile:
    """A part of a file that is held open."""

    __slots__ = ("_descriptor", "count", "fd", "offset")

    def __init__(self, descriptor: Descriptor, offset: int, count: int) -> None:
        self._descriptor = descriptor
        self.fd: int = descriptor.fd
        self.offset: int = offset
        self.count: int = count


class _Holding:
    """A held file, and the answers that are made of it."""

    __slots__ = ("descriptor", "keys", "until")

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.keys: set[tuple[object, ...]] = set()
        self.until = 0.0
        """The moment of its last use, as ``HotAnswer.until``."""


class HotAnswer:
    """An answer: the bytes to send, and until when."""

    __slots__ = ("date_at", "file", "files", "http2", "key", "length", "status", "until", "wire")

    def __init__(
        self, key: tuple[object, ...], files: tuple[FileVersion, ...], status: int, date_at: int, length: int
    ) -> None:
        self.key: tuple[object, ...] = key
        self.files: tuple[FileVersion, ...] = files
        """The files that it was made of."""
        self.status: int = status
        self.length: int = length
        """Bytes of content."""
        self.date_at: int = date_at
        """The position of the value of Date in ``wire``."""
        self.file: HeldFile | None = None
        """The content, if it is not in ``wire``."""
        self.wire: bytes = b""
        """All of it; empty when it is no longer kept."""
        self.until: float = 0.0
        """Until when its Date is right; ``time.monotonic``."""
        self.http2: tuple[bytes, bytes, bytes, int] | None = None
        """The same for HTTP/2, once it was asked for so: ``wire`` from which that was made, what stands before and
        behind the stream's number in the first frames, and the place of the content in ``wire``."""


class HotCache:
    """Answers in at most ``max_bytes``, with at most ``max_files`` open: one descriptor for all answers that are made
    of one version of a file. Those renewed least recently go first. For several threads."""

    def __init__(self, max_bytes: int, max_files: int) -> None:
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._bytes = 0
        self._kept: OrderedDict[tuple[object, ...], HotAnswer] = OrderedDict()
        self._held: OrderedDict[tuple[FileVersion, ...], _Holding] = OrderedDict()
        self._lock = threading.Lock()

    def keep(
        self,
        head: bytes,
        body: bytes | Span,
        files: tuple[FileVersion, ...],
        status: int,
        date_at: int,
        until: float,
    ) -> HotAnswer:
        """Return the answer with this head and body, which was made of ``files`` just now. Raises ``OSError`` when
        there is no descriptor for it."""
        length = body.length if isinstance(body, Span) else len(body)
        # The head says all of what is made of files (its ETag, its range) but whether it is left out, as it is for
        # HEAD. Pages for errors differ from site to site, and the heads of two may be the same.
        key = (files, head[:date_at], head[date_at + DATE_SIZE :], length if files else body)
        with self._lock:
            file = self._hold(files, body, key, until) if isinstance(body, Span) else None
            answer = self._kept.get(key)
            if answer is None:
                answer = HotAnswer(key, files, status, date_at, length)
            else:
                self._bytes -= len(answer.wire) + OVERHEAD
                self._kept.move_to_end(key)
            answer.file, answer.wire = file, head if isinstance(body, Span) else head + body
            self._kept[key] = answer
            self._bytes += len(answer.wire) + OVERHEAD
            while self._bytes > self._max_bytes:
                self._discard(next(iter(self._kept)))
            while len(self._held) > self._max_files:
                self._let_go(next(iter(self._held)))
        answer.until = until if answer.wire else 0.0
        return answer

    def _hold(self, files: tuple[FileVersion, ...], span: Span, key: tuple[object, ...], until: float) -> HeldFile:
        while self._held:
            oldest = next(iter(self._held))
            if self._held[oldest].until + HELD_SECONDS > until:
                break
            self._let_go(oldest)
        holding = self._held.get(files)
        if holding is None:
            holding = self._held[files] = _Holding(Descriptor(span.fd))
        holding.keys.add(key)
        holding.until = until
        self._held.move_to_end(files)
        return HeldFile(holding.descriptor, span.offset, span.length)

    def _let_go(self, files: tuple[FileVersion, ...]) -> None:
        for key in list(self._held[files].keys):
            self._discard(key)

    def _discard(self, key: tuple[object, ...]) -> None:
        gone = self._kept.pop(key, None)
        if gone is None:
            return
        self._bytes -= len(gone.wire) + OVERHEAD
        if gone.file is not None:
            holding = self._held[gone.files]
            holding.keys.discard(key)
            if not holding.keys:
                del self._held[gone.files]
        gone.http2 = None
        gone.until, gone.wire, gone.file = 0.0, b"", None  # in this order: see ``http_events``

    def renew(self, answer: HotAnswer, date: bytes, until: float) -> bool:
        """Give an answer a new Date; False if it is no longer kept."""
        wire = answer.wire
        if not wire:
            return False
        renewed = wire[: answer.date_at] + date + wire[answer.date_at + DATE_SIZE :]
        with self._lock:
            if answer.key not in self._kept:
                return False
            answer.wire, answer.http2 = renewed, None
            self._kept.move_to_end(answer.key)
            if answer.file is not None:
                self._held[answer.files].until = until
                self._held.move_to_end(answer.files)
        answer.until = until
        return True

    def drop(self, answer: HotAnswer) -> None:
        """Keep it no longer."""
        with self._lock:
            if self._kept.get(answer.key) is answer:
                self._discard(answer.key)
            answer.http2 = None
            answer.until, answer.wire, answer.file = 0.0, b"", None

    def release(self) -> bool:
        """Let go of all files; False if none was held."""
        if not self._held:
            return False
        with self._lock:
            while self._held:
                self._let_go(next(iter(self._held)))
        return True
