"""The kernel's own channel: what a connection sends and receives is what the kernel does."""

from __future__ import annotations

import os
import socket
from typing import final

from ..buffers.output import Output
from ..events import Buffer

__all__ = ["PLAIN", "PlainChannel"]


@final
class PlainChannel:
    """Implements :class:`evio_core.loop.channel.Channel` and ``Wire``. It has no state, so all connections share
    one."""

    __slots__ = ()

    native = True
    reads = True
    due = False
    ended = False
    pending = 0
    tls = None
    server_name = None

    write: staticmethod[[int, Buffer], int] = staticmethod(os.write)

    def open(self, data: Buffer) -> bool:
        return True

    def decode(self, data: Buffer) -> Buffer:
        return data

    def end_of_input(self) -> BaseException | None:
        return None

    def send_now(self, fd: int, data: bytes) -> int:
        try:
            return os.write(fd, data)
        except BlockingIOError:
            return 0

    def send(self, fd: int, out: Output, last: bool) -> int:
        return out.send(fd)

    def flush(self, fd: int) -> None:
        """Nothing is ever pending."""

    def finish(self) -> bool:
        return False

    def wait_for_room(self, fd: int) -> None:
        """The poller reports room."""

    def discard(self) -> None:
        """Nothing is ever pending."""

    def hand_over(self, fd: int) -> int:
        return fd

    def detach(self, fd: int) -> socket.socket:
        sock = socket.socket(fileno=fd)
        sock.setblocking(True)
        return sock


PLAIN = PlainChannel()
"""The channel of all plain connections."""
