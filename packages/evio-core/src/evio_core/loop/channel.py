"""The interface between a connection and the kernel.

A connection has a channel: the kernel's own (:mod:`evio_core.stream.plain_channel`), one over a transport of asyncio
(:mod:`evio_core.fallback.channel`), or TLS over either of them (:mod:`evio_core.tls.channel`). A channel knows no
connection and calls nobody: it turns input into plain bytes and queued output into what is sent.
"""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

from ..buffers.output import Output
from ..events import Buffer

__all__ = ["Channel", "Wire"]


class Wire(Protocol):
    """The way of bytes to the kernel and, with a socket, out of the loop's hands."""

    @property
    def reads(self) -> bool:
        """False where somebody else reads the descriptor and hands the input over."""

    @property
    def pending(self) -> int:
        """Bytes that were taken from the caller and not yet by the kernel."""

    def write(self, fd: int, data: Buffer, /) -> int:
        """Write; returns the number of bytes taken. Raises ``OSError``, ``BlockingIOError`` if there is no room."""

    def wait_for_room(self, fd: int) -> None:
        """See that a ``WRITE`` event comes where the poller does not report one by itself."""

    def hand_over(self, fd: int) -> int:
        """A descriptor of the connection that is the caller's from now on."""


class Channel(Protocol):
    """The translation between a connection's bytes and the kernel's."""

    @property
    def native(self) -> bool:
        """True where both are the same: the loop may read and write by itself, and files go by ``os.sendfile``."""

    @property
    def reads(self) -> bool:
        """False where somebody else reads the descriptor and calls ``Connection.feed``."""

    @property
    def due(self) -> bool:
        """True after ``decode`` and ``send_now`` if ``ended`` or ``pending`` have to be looked at."""

    @property
    def ended(self) -> bool:
        """True when the peer has announced the end of its input."""

    @property
    def pending(self) -> int:
        """Bytes ready to be sent that the kernel has not taken."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session, if there is one."""

    @property
    def server_name(self) -> str | None:
        """The host name that a TLS client asked for."""

    def open(self, data: Buffer) -> bool:
        """Go on opening with this input, ``b""`` to begin; True when that is done. Raises :class:`TLSError`, and
        whatever ``Events.not_tls`` raises."""

    def decode(self, data: Buffer) -> Buffer:
        """The connection's bytes in this input, ``b""`` if they are not complete. Raises :class:`TLSError`."""

    def end_of_input(self) -> BaseException | None:
        """The error in it that the kernel has no more input now, or None where the end was announced or needs no
        announcement."""

    def send_now(self, fd: int, data: bytes) -> int:
        """Send a reply to what was decoded, with nothing queued before; returns the number of bytes taken, of which
        some may be ``pending``. Raises ``OSError``."""

    def send(self, fd: int, out: Output, last: bool) -> int:
        """Send from a queue until it is empty, the kernel takes no more, or a turn's share has left; returns the bytes
        taken from the queue. With ``last`` the end is announced after them. Raises ``OSError``."""

    def flush(self, fd: int) -> None:
        """Send what is ``pending``, as far as the kernel takes it. Raises ``OSError``."""

    def finish(self) -> bool:
        """Announce the end of the output; True if ``send`` has to be called for that."""

    def wait_for_room(self, fd: int) -> None:
        """See that a ``WRITE`` event comes where the poller does not report one by itself."""

    def discard(self) -> None:
        """Forget what is ``pending``: the connection has ended."""

    def detach(self, fd: int) -> socket.socket:
        """A blocking socket that goes on with the connection, and is the caller's."""
