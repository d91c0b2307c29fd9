"""Output that the kernel has not taken yet.

Operations: append bytes or a span of a file, send as much as the socket takes, know how much is left.
Goals: order is kept whatever the mix; small pieces leave in few system calls; a large piece is never
copied again and again while it trickles out; a file is never read into memory (``os.sendfile``).
Complexity: append O(1); sending is linear in the bytes sent, each small piece being copied once more to be
joined with its neighbours.

A connection has an ``Output`` only while something is queued, so an idle one costs nothing.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, final

from ..events import Buffer

__all__ = ["FileSpan", "Output"]

JOIN_SIZE = 64 * 1024
"""Small pieces are joined up to this size: one copy is cheaper than one system call."""

TURN_SIZE = 1024 * 1024
"""No more than about this is sent at a time, so that a fast reader does not starve other connections."""

FILE_TURN_SIZE = 2 * TURN_SIZE
"""The same for a file, which is not copied: with each wake-up paying for more, one that is sent to many fast readers
costs a tenth less than with half of it, and no less with twice of it."""


_seeking = threading.Lock()


def seek_and_read(fd: int, size: int, offset: int) -> bytes:
    """Read from there, as ``os.pread``, where there is no such call. Copies of a descriptor have one position, which
    this moves."""
    with _seeking:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)


read_at: Callable[[int, int, int], bytes]
if sys.platform == "win32":
    read_at = seek_and_read
else:
    read_at = os.pread


@final
class FileSpan:
    """``count`` bytes of a file from ``offset``; owns a duplicate of the descriptor."""

    __slots__ = ("count", "fd", "offset")

    def __init__(self, file: int | BinaryIO, offset: int, count: int | None) -> None:
        if offset < 0 or (count is not None and count < 0):
            raise ValueError(f"offset and count must be 0 or more, not {offset} and {count}")
        fd = file if isinstance(file, int) else file.fileno()
        if count is None:
            count = max(0, os.fstat(fd).st_size - offset)
        self.fd: int = os.dup(fd)
        self.offset: int = offset
        self.count: int = count

    def read(self, size: int) -> bytes:
        """The next bytes, for outputs that cannot use ``sendfile`` (TLS, the fallback)."""
        return read_at(self.fd, min(self.count, size), self.offset)

    def close(self) -> None:
        os.close(self.fd)


Piece = bytes | memoryview | FileSpan


class Output:
    """A queue of pieces; ``pending`` is its size in bytes."""

    __slots__ = ("_first", "_pieces", "pending", "sending")

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._first = 0  # index of the oldest piece: popping from the front of a list would move the rest
        self.pending: int = 0
        self.sending: FileSpan | None = None
        """The oldest piece, if it is a span of which more may be sent without looking at anything else."""

    @property
    def file(self) -> FileSpan | None:
        """The oldest piece, if it is a span."""
        piece = self._pieces[self._first] if self.pending else None
        return piece if type(piece) is FileSpan else None

    def append(self, data: Buffer) -> None:
        """Queue bytes; anything mutable is copied."""
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        self._pieces.append(data)
        self.pending += len(data)

    def append_rest(self, data: bytes, sent: int) -> None:
        """Queue all but the first ``sent`` bytes, without a copy."""
        self._pieces.append(memoryview(data)[sent:])
        self.pending += len(data) - sent

    def append_file(self, span: FileSpan) -> None:
        """Queue a span, which is ours to close from now on."""
        if span.count:
            self._pieces.append(span)
            self.pending += span.count
        else:
            span.close()

    def send(self, fd: int, write: Callable[[int, Buffer], int] = os.write) -> int:
        """Write to a non-blocking descriptor until all is sent, it takes no more, or ``TURN_SIZE`` is
        reached; returns the bytes sent. Raises ``OSError`` when the connection or a file fails."""
        if sys.platform == "win32":
            raise NotImplementedError("native loops need a POSIX system")
        total = 0
        try:
            while self.pending and total < TURN_SIZE:
                piece = self._pieces[self._first]
                if type(piece) is FileSpan:
                    # Straight on: a large file has driven all this out of the processor's caches each time.
                    size = piece.count if piece.count < FILE_TURN_SIZE else FILE_TURN_SIZE
                    sent = os.sendfile(fd, piece.fd, piece.offset, size)
                    self._consumed_file(piece, sent)
                else:
                    piece = self._head(piece)
                    size = len(piece)
                    sent = write(fd, piece)
                    self._consumed(piece, sent)
                total += sent
                if sent < size and type(piece) is not FileSpan:
                    break  # the socket buffer is full: asking again would only say EAGAIN
                # A file may go on: the pages that left before are mostly acknowledged by now.
        except BlockingIOError:
            pass
        return total

    def take(self, size: int) -> Buffer:
        """Remove and return the next 1 to ``size`` bytes; ``b""`` when nothing is left."""
        if not self.pending:
            return b""
        piece = self._pieces[self._first]
        if type(piece) is FileSpan:
            chunk = piece.read(size)
            self._consumed_file(piece, len(chunk))
            return chunk
        piece = self._head(piece)
        part = piece if len(piece) <= size else memoryview(piece)[:size]
        self._consumed(piece, len(part))
        return part

    def clear(self) -> None:
        """Drop everything, closing files."""
        for piece in self._pieces[self._first :]:
            if isinstance(piece, FileSpan):
                piece.close()
        self._pieces.clear()
        self._first = self.pending = 0

    def _head(self, head: bytes | memoryview) -> bytes | memoryview:
        """The oldest piece, small neighbours joined to it."""
        pieces, first = self._pieces, self._first
        if len(head) >= JOIN_SIZE:
            return head
        size = 0
        end = first
        while end < len(pieces) and size < JOIN_SIZE:
            piece = pieces[end]
            if isinstance(piece, FileSpan) or len(piece) >= JOIN_SIZE:
                break
            size += len(piece)
            end += 1
        if end - first > 1:
            head = b"".join(pieces[first:end])  # type: ignore[arg-type]  # no span among them
            pieces[first] = head
            del pieces[first + 1 : end]
        return head

    def _consumed(self, piece: bytes | memoryview, sent: int) -> None:
        self.pending -= sent
        if sent == len(piece):
            self._drop_head()
        else:
            self._pieces[self._first] = memoryview(piece)[sent:]

    def _consumed_file(self, span: FileSpan, sent: int) -> None:
        if not sent:
            raise OSError(errno.EIO, f"file ended {span.count} bytes before what was announced")
        self.pending -= sent
        span.offset += sent
        span.count -= sent
        if not span.count:
            self.drop_file(span)

    def drop_file(self, span: FileSpan) -> None:
        """All of ``span``, the oldest piece, has left."""
        span.close()
        self._drop_head()

    def _drop_head(self) -> None:
        self._pieces[self._first] = b""
        self._first += 1
        if self._first > 32 and self._first * 2 > len(self._pieces):
            del self._pieces[: self._first]
            self._first = 0
