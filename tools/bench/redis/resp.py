"""Commands as clients send them, and the counting of replies (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

import hiredis

from ..load import connected
from ..server import BenchError, Server

__all__ = ["Replies", "command", "fill"]

READ_SIZE = 1 << 18
FILLED_AT_ONCE = 1_000
"""Commands that are sent before their replies are waited for."""


def command(*words: bytes | str | int | float) -> bytes:
    """A command with these arguments."""
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n%b" % (len(encoded), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded))


class Replies:
    """Counts a connection's replies: so many are due for each batch."""

    def __init__(self, due: int) -> None:
        reader = hiredis.Reader()
        self._feed, self._gets = reader.feed, reader.gets
        self._due = self._missing = due

    def sent(self, batch: bytes) -> None:
        """Nothing has to be noted: what is due is known."""

    def received(self, chunk: bytes) -> bool:
        """Take what has arrived. Returns True with the last reply that is due. Raises :class:`BenchError` for an error
        reply: no value that is sent here begins with a dash."""
        if chunk[0] == 45 or b"\r\n-" in chunk:  # a dash
            raise BenchError(f"an error among the replies: {chunk[max(0, chunk.find(b'-')) :][:100]!r}")
        self._feed(chunk)
        gets, missing = self._gets, self._missing
        while gets() is not False:
            missing -= 1
        self._missing = missing or self._due
        if missing < 0:
            raise BenchError(f"{-missing} replies too many")
        return not missing


def exchange(sock: socket.socket, commands: Sequence[bytes]) -> None:
    """Send ``commands`` and read their replies."""
    replies = Replies(len(commands))
    sock.sendall(b"".join(commands))
    while True:
        chunk = sock.recv(READ_SIZE)
        if not chunk:
            raise BenchError("the server closed the connection")
        if replies.received(chunk):
            return


def fill(server: Server, commands: Iterable[bytes]) -> None:
    """Send ``commands``, which have a reply each, over one connection and wait for the replies. Raises
    :class:`BenchError` for a server that replies with an error or not at all."""
    with connected(server.port) as sock:
        batch: list[bytes] = []
        for each in commands:
            batch.append(each)
            if len(batch) == FILLED_AT_ONCE:
                exchange(sock, batch)
                batch.clear()
        if batch:
            exchange(sock, batch)
