"""One stream: a request on its way in, then its response on its way out (RFC 9113 section 5.1)."""

from __future__ import annotations

from typing import Protocol, final

from ..files.paths import pread
from ..message.request import Request
from ..message.response import FileBody
from .request import Asked

__all__ = ["FileSource", "MemorySource", "Source", "Stream"]

NEVER = float("inf")


class Source(Protocol):
    """Content that is sent as windows open."""

    left: int
    """Bytes that were not read yet."""

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, no more than are left. Raises ``OSError`` when they are not there."""

    def close(self) -> None:
        """Let go of what it is read from."""


@final
class MemorySource:
    """Content in memory: all of ``content`` from ``start``."""

    __slots__ = ("_content", "_place", "left")

    def __init__(self, content: bytes, start: int = 0) -> None:
        self._content = content
        self._place = start
        self.left: int = len(content) - start

    def read(self, size: int) -> bytes:
        """See :class:`Source`."""
        self._place += size
        self.left -= size
        return self._content[self._place - size : self._place]

    def close(self) -> None:
        """See :class:`Source`."""


@final
class FileSource:
    """Content out of a file, which is closed at the end."""

    __slots__ = ("_body", "_done", "_piece", "left")

    def __init__(self, body: FileBody) -> None:
        self._body = body
        self._piece = 0  # the one that is read
        self._done = 0  # bytes of it that were
        self.left: int = body.length

    def read(self, size: int) -> bytes:
        """See :class:`Source`."""
        parts: list[bytes] = []
        while size:
            piece, done = self._body.pieces[self._piece], self._done
            if isinstance(piece, bytes):
                part = piece[done : done + size]
                rest = len(piece) - done - len(part)
            else:
                part = pread(self._body.file.fd, min(size, piece[1] - done), piece[0] + done)
                if not part:
                    raise OSError("the file has become shorter")
                rest = piece[1] - done - len(part)
            parts.append(part)
            size -= len(part)
            self.left -= len(part)
            self._done += len(part)
            if not rest:
                self._piece += 1
                self._done = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """See :class:`Source`."""
        self._body.file.close()


@final
class Stream:
    """A stream that is open, or half-closed on one of its sides."""

    __slots__ = (
        "asked",
        "block",
        "content",
        "due",
        "ended",
        "held",
        "id",
        "moved",
        "received",
        "receive_window",
        "send_window",
        "sent",
        "source",
        "started",
        "status",
        "working",
    )

    @property
    def request(self) -> Request | None:
        """The request; None for what is refused."""
        return self.asked.request

    def __init__(self, number: int, asked: Asked, started: float, send_window: int, receive_window: int) -> None:
        self.id: int = number
        self.asked: Asked = asked
        self.started: float = started
        """The time of its head; ``time.monotonic``."""
        self.ended: bool = False
        """The client has sent all of its request."""
        self.content: list[bytes] = []
        """The request's content, if that is kept."""
        self.received: int = 0
        """Bytes of the request's content."""
        self.receive_window: int = receive_window
        self.send_window: int = send_window
        self.block: bytes | None = None
        """The response's field block, until it is sent."""
        self.source: Source | None = None
        """The response's content."""
        self.status: int = 0
        """The response's; 0 while there is none."""
        self.sent: int = 0
        """Bytes of the response's content."""
        self.working: bool = False
        """Another thread is at the response."""
        self.held: bool = False
        """The response waits for something that need not come soon."""
        self.due: float = NEVER
        """The time at which the client has to have moved on; ``time.monotonic``."""
        self.moved: int = 0
        """Bytes of content sent since the last look at that."""
