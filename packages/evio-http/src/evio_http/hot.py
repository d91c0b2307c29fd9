"""Whole answers in memory, looked at again before each use.

Operations: find, keep, renew; O(1). Goals: the bytes of an answer are one object that goes to the kernel as it is;
it is never sent when the file is not what it was; memory is bounded, whatever is asked for.

An answer is used between two looks:

- on every request, ``stat`` of each file it was made of (unless ``--revalidate`` allows a time without);
- once a second, when its Date is renewed: that what was not there (``app.css.br``) still is not.

Requests with different heads that get the very same answer share it. When an answer has to make room, ``wire`` is
emptied: those who still refer to it then see that it is gone.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from .paths import is_current
from .response import DATE_SIZE, Source

__all__ = ["HotAnswer", "HotCache"]

OVERHEAD = 1024
"""Bytes that an answer takes besides its own, by tracemalloc and rounded up: the objects of it, its key and its
source."""


class HotAnswer:
    """An answer and what it stands on."""

    __slots__ = (
        "checked_until",
        "ctime",
        "date_at",
        "device",
        "inode",
        "key",
        "length",
        "others",
        "path",
        "source",
        "status",
        "until",
        "wire",
    )

    def __init__(self, key: tuple[object, ...], source: Source, status: int, date_at: int, length: int) -> None:
        self.key = key
        self.source = source
        self.path, (self.inode, _, self.ctime, _, self.device) = source.files[0]
        self.others = source.files[1:]
        self.status = status
        self.length = length
        """Bytes of content."""
        self.date_at = date_at
        self.wire = b""
        """All of it; empty when it is no longer kept."""
        self.until = 0.0
        """Until when ``wire`` may be sent, provided that the files are the same; ``time.monotonic``."""
        self.checked_until = 0.0
        """Until when the files need not be looked at."""

    def is_current(self) -> bool:
        """Whether each file still is what it was."""
        return all(is_current(path, version) for path, version in self.source.files)


class HotCache:
    """Answers in at most MAX_BYTES. Those renewed least recently go first. It may be shared by threads."""

    def __init__(self, max_bytes: int, revalidate: float = 0.0) -> None:
        self._max_bytes = max_bytes
        self.revalidate = revalidate
        self._bytes = 0
        self._kept: OrderedDict[tuple[object, ...], HotAnswer] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, head: bytes, body: bytes, source: Source, status: int, date_at: int, until: float) -> HotAnswer:
        """The answer with this head and body, which was made of SOURCE just now."""
        # The head says all of the content (its ETag, its range) but whether it is left out, as it is for HEAD.
        key = (source.files, head[:date_at], head[date_at + DATE_SIZE :], len(body))
        with self._lock:
            answer = self._kept.get(key)
            if answer is None or answer.source != source:
                answer = HotAnswer(key, source, status, date_at, len(body))
            self._store(answer, head + body)
        answer.until = until
        return answer

    def _store(self, answer: HotAnswer, wire: bytes) -> None:
        before = self._kept.pop(answer.key, None)
        if before is not None:
            self._bytes -= len(before.wire) + OVERHEAD
            if before is not answer:
                before.wire, before.until = b"", 0.0
        answer.wire = wire
        self._kept[answer.key] = answer
        self._bytes += len(wire) + OVERHEAD
        while self._bytes > self._max_bytes:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.wire) + OVERHEAD
            gone.wire, gone.until = b"", 0.0

    def renew(self, answer: HotAnswer, date: bytes, until: float) -> bool:
        """Give an answer a new Date; False if it is no longer right, or no longer kept."""
        wire = answer.wire
        if not wire or any(map(os.path.lexists, answer.source.absent)) or not answer.is_current():
            self.drop(answer)
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
                del self._kept[answer.key]
                self._bytes -= len(answer.wire) + OVERHEAD
            answer.wire, answer.until = b"", 0.0

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            for answer in self._kept.values():
                answer.wire, answer.until = b"", 0.0
            self._kept.clear()
            self._bytes = 0
