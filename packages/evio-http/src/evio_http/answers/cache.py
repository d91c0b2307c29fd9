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

from ..files.version import FileVersion
from ..message.response import DATE_SIZE

__all__ = ["HeldFile", "HotAnswer", "HotCache"]

OVERHEAD = 1024
"""Bytes that an answer takes besides its own, by tracemalloc and rounded up: the objects of it, its key and its
source."""


class HeldFile:
    """A part of an open file. It is closed when nobody refers to it: another thread may be about to send from it when
    the cache lets go of it, and must not find the number given to another file."""

    __slots__ = ("count", "fd", "offset")

    def __init__(self, fd: int, offset: int, count: int) -> None:
        """Duplicates FD. Raises ``OSError``."""
        self.offset = offset
        self.count = count
        self.fd = os.dup(fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class HotAnswer:
    """An answer: the bytes to send, and until when."""

    __slots__ = ("date_at", "file", "key", "length", "status", "until", "wire")

    def __init__(self, key: tuple[object, ...], status: int, date_at: int, length: int) -> None:
        self.key = key
        self.status = status
        self.length = length
        """Bytes of content."""
        self.date_at = date_at
        """Where in ``wire`` the value of Date is."""
        self.file: HeldFile | None = None
        """Where the content is, if not in ``wire``."""
        self.wire = b""
        """All of it; empty when it is no longer kept."""
        self.until = 0.0
        """Until when its Date is right; ``time.monotonic``."""


class HotCache:
    """Answers in at most MAX_BYTES, with at most MAX_FILES open. Those renewed least recently go first. For several
    threads."""

    def __init__(self, max_bytes: int, max_files: int) -> None:
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._bytes = self._files = 0
        self._kept: OrderedDict[tuple[object, ...], HotAnswer] = OrderedDict()
        self._lock = threading.Lock()

    def keep(
        self,
        head: bytes,
        body: bytes | HeldFile,
        files: tuple[FileVersion, ...],
        status: int,
        date_at: int,
        until: float,
    ) -> HotAnswer:
        """Return the answer with this head and body, which was made of FILES just now."""
        length = body.count if isinstance(body, HeldFile) else len(body)
        # The head says all of the content (its ETag, its range) but whether it is left out, as it is for HEAD.
        key = (files, head[:date_at], head[date_at + DATE_SIZE :], length)
        with self._lock:
            answer = self._kept.get(key)
            if answer is None:
                answer = HotAnswer(key, status, date_at, length)
            self._discard(key, answer)
            if isinstance(body, HeldFile):
                answer.file, answer.wire = body, head
            else:
                answer.wire = head + body
            self._kept[key] = answer
            self._bytes += len(answer.wire) + OVERHEAD
            self._files += answer.file is not None
            while self._bytes > self._max_bytes or self._files > self._max_files:
                self._discard(next(iter(self._kept)), None)
        answer.until = until if answer.wire else 0.0
        return answer

    def _discard(self, key: tuple[object, ...], successor: HotAnswer | None) -> None:
        gone = self._kept.pop(key, None)
        if gone is None:
            return
        self._bytes -= len(gone.wire) + OVERHEAD
        self._files -= gone.file is not None
        if gone is not successor:
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
            answer.wire = renewed
            self._kept.move_to_end(answer.key)
        answer.until = until
        return True

    def drop(self, answer: HotAnswer) -> None:
        """Keep it no longer."""
        with self._lock:
            if self._kept.get(answer.key) is answer:
                self._discard(answer.key, None)
            answer.until, answer.wire, answer.file = 0.0, b"", None
