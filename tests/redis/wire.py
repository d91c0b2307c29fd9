"""Clients that see every byte, and a real redis-server to compare with."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from evio_redis.persistence.aof.encode import encode
from evio_redis.protocol.inline import split_inline
from tests.core.harness import needs
from tests.ports import free_port

__all__ = ["TIMEOUT", "Wire", "redis_server", "typed", "words"]

TIMEOUT = 20.0
"""Seconds that anything may take before a test fails instead of hanging."""


def words(command: str | bytes | list[Any]) -> bytes:
    """A command as it goes over the wire: a text of words, a list of arguments, or bytes that are sent as they are."""
    if isinstance(command, bytes):
        return command
    parts = command.split() if isinstance(command, str) else command
    return encode([part if isinstance(part, bytes) else str(part).encode() for part in parts])


def typed(line: bytes) -> bytes:
    """A command as redis-cli sends a line that is typed, which may have quotes. Lines that are sent as they are take
    another way through the server than what client libraries send."""
    arguments = split_inline(line)
    return encode(arguments) if arguments else line + b"\r\n"


class Wire:
    """A connection, whose replies are shown as they came."""

    def __init__(self, address: int | str | socket.socket) -> None:
        if isinstance(address, socket.socket):
            self.sock = address
        elif isinstance(address, int):
            self.sock = socket.create_connection(("127.0.0.1", address), TIMEOUT)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(address)
        self.sock.settimeout(TIMEOUT)
        self._received = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def send(self, *commands: str | bytes | list[Any]) -> None:
        """Send commands in one piece."""
        self.sock.sendall(b"".join(map(words, commands)))

    def ask(self, command: str | bytes | list[Any]) -> bytes:
        """Send a command and return its reply."""
        self.send(command)
        return self.reply()

    def reply(self) -> bytes:
        """The next reply or push, as it came."""
        line = self.line()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            return line + self._take(int(rest) + 2)
        if kind in b"*~>%" and rest != b"-1":
            return line + b"".join(self.reply() for _ in range(int(rest) * (2 if kind == b"%" else 1)))
        return line

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        received = self._received
        with contextlib.suppress(ConnectionResetError):
            while piece := self.sock.recv(1 << 16):
                received += piece
        self._received = b""
        return received

    def line(self) -> bytes:
        """The next line, which may be the head of a longer reply."""
        while b"\r\n" not in self._received:
            self._receive()
        return self._take(self._received.index(b"\r\n") + 2)

    def skip(self, size: int) -> None:
        """Receive so many bytes and keep none of them."""
        while len(self._received) < size:
            size -= len(self._received)
            self._received = b""
            self._receive()
        self._received = self._received[size:]

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _receive(self) -> None:
        piece = self.sock.recv(1 << 16)
        assert piece, f"closed after {self._received!r}"
        self._received += piece


@contextlib.contextmanager
def redis_server(*arguments: str, config: str = "") -> Iterator[int]:
    """Run a real redis-server on a free port, perhaps with a file; skips the test where none is installed."""
    command = needs("redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:  # where it leaves its files if it is not told otherwise
        process = subprocess.Popen(
            [command, *filter(None, [config]), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *arguments],
            cwd=directory,
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until it answers, be it with an error: it listens before it has loaded and opened its files."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", port), TIMEOUT) as peer,
        ):
            peer.sendall(b"PING\r\n")
            if peer.recv(100)[:8] not in (b"", b"-LOADING"):
                return
        time.sleep(0.01)
    raise AssertionError("redis-server does not start")
