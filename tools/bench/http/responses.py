"""Reading responses: over blocking sockets, and counted for a load. No more of HTTP than the two servers send."""

from __future__ import annotations

import re
import socket

from ..server import BenchError

__all__ = ["Response", "Responses", "read"]

READ_SIZE = 1 << 18
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
END = b"\r\n\r\n"


class Response:
    """A response without its content."""

    __slots__ = ("head", "status")

    def __init__(self, head: bytes) -> None:
        """From its head. Raises :class:`BenchError` for what is none."""
        if not head.startswith(b"HTTP/1.1 "):
            raise BenchError(f"not a response: {head[:100]!r}")
        self.head, self.status = head, int(head[9:12])

    @property
    def length(self) -> int:
        """Bytes of content that follow the head. Raises :class:`BenchError` for one that does not say."""
        if self.status == 304:
            return 0
        found = LENGTH.search(self.head)
        if found is None:
            raise BenchError(f"no Content-Length: {self.head!r}")
        return int(found[1])

    def field(self, name: bytes) -> bytes | None:
        """The value of a field."""
        found = re.search(rb"\r\n%b: *([^\r]*)" % re.escape(name), self.head, re.IGNORECASE)
        return found[1] if found else None


def read(sock: socket.socket) -> Response:
    """The next response, with its content read and left.

    Raises :class:`BenchError` when the server closes the connection or answers anything else.
    """
    received = b""
    while END not in received:
        chunk = sock.recv(READ_SIZE)
        if not chunk:
            raise BenchError(f"the server closed the connection after {received!r}")
        received += chunk
    head, _, content = received.partition(END)
    response = Response(head)
    missing = response.length - len(content)
    while missing > 0:
        chunk = sock.recv(min(missing, READ_SIZE))
        if not chunk:
            raise BenchError(f"the server closed the connection; {missing} bytes of content are missing")
        missing -= len(chunk)
    if missing < 0:
        raise BenchError("more came than was asked for")
    return response


class Responses:
    """Counts a connection's responses: one is due for each request. All have one of ``statuses``."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = statuses
        self._head, self._missing = b"", 0

    def sent(self, batch: bytes) -> None:
        """Nothing has to be noted: what is due is known."""

    def received(self, chunk: bytes) -> bool:
        """Take what has arrived. Returns True when the response is whole. Raises :class:`BenchError` for another status
        than is expected."""
        if self._missing:
            self._missing -= len(chunk)
            return not self._missing
        head, end, content = (self._head + chunk).partition(END)
        if not end:
            self._head = head
            return False
        self._head = b""
        response = Response(head)
        if response.status not in self._statuses:
            raise BenchError(f"status {response.status}, not one of {self._statuses}: {head!r}")
        self._missing = response.length - len(content)
        return not self._missing
