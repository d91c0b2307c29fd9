"""TLS over another channel.

Queued output stays plaintext until the socket has room for it: encrypting ahead would only cost memory. ``_cipher`` is
what has been encrypted and not sent, at most one piece of ``PIECE_SIZE``.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import final

from ..buffers.output import TURN_SIZE, Output
from ..errors import TLSError, TLSTruncated
from ..events import Buffer
from ..loop.channel import Wire
from .session import TLSSession, reason
from .socket import TLSSocket

__all__ = ["TLSChannel"]

PIECE_SIZE = 64 * 1024
"""Plaintext that is encrypted at a time."""

HANDSHAKE = 22
"""The first byte of a record that a session may begin with: its content type (RFC 8446 section 5.1)."""

HEADER_SIZE = 5
"""Bytes of a record's header, which OpenSSL waits for before it says that they are none."""


@final
class TLSChannel:
    """Implements :class:`evio_core.loop.channel.Channel` for one connection."""

    __slots__ = ("_cipher", "_first", "_not_tls", "_notified", "_opened", "_session", "_wire", "_write", "due")

    native = False

    def __init__(
        self,
        session: TLSSession,
        wire: Wire,
        not_tls: Callable[[bytes], bytes | None] | None = None,
        before: Buffer = b"",
    ) -> None:
        """``not_tls``: see :class:`evio_core.events.Events`; ``before``: bytes to send before the handshake, in
        plain."""
        self._session = session
        self._wire = wire
        self._write = wire.write
        self._not_tls = not_tls
        self._cipher: Buffer = before
        self._first = b""  # input, until that is enough to be a record's header
        self._opened = False
        self._notified = False
        self.due: bool = False

    @property
    def reads(self) -> bool:
        return self._wire.reads

    @property
    def ended(self) -> bool:
        return self._session.ended

    @property
    def pending(self) -> int:
        return len(self._cipher) + self._session.outgoing.pending + self._wire.pending

    @property
    def tls(self) -> ssl.SSLObject | None:
        return self._session.object

    @property
    def server_name(self) -> str | None:
        return self._session.server_name

    # -- input

    def open(self, data: Buffer) -> bool:
        session = self._session
        if not data and session.server_side:
            return False  # a client speaks first
        if len(self._first) < HEADER_SIZE:
            self._first += bytes(data)
        try:
            self._opened = session.handshake(data)
        except ssl.SSLError as error:
            self._answer_not_tls()
            raise TLSError(reason(error)) from error
        if self._opened:
            self._first = b""
            self._not_tls = None
        return self._opened

    def _answer_not_tls(self) -> None:
        """If the client speaks another protocol, send what the program says rather than OpenSSL's alert."""
        if self._not_tls is not None and self._first[:1] != bytes([HANDSHAKE]):
            answer = self._not_tls(self._first)
            if answer:
                self._session.outgoing.read()
                self._cipher = answer

    def decode(self, data: Buffer) -> Buffer:
        session = self._session
        if not data and not session.incoming.pending:
            return b""
        try:
            plaintext = session.receive(data)
        except ssl.SSLError as error:
            raise TLSError(reason(error)) from error
        self.due = session.ended or session.outgoing.pending > 0
        return plaintext

    def end_of_input(self) -> BaseException | None:
        if not self._opened:
            return TLSError("connection ended during the handshake")
        return None if self._session.ended else TLSTruncated("connection ended without close_notify")

    # -- output

    def send_now(self, fd: int, data: bytes) -> int:
        session, size = self._session, len(data)
        if size <= PIECE_SIZE:
            session.send(data)
            self._send_cipher(fd, session.outgoing.read())
            return size
        done = 0
        while done < size and not self._cipher:
            session.send(data[done : done + PIECE_SIZE])
            done += PIECE_SIZE
            self._send_cipher(fd, session.outgoing.read())
        return min(done, size)

    def _send_cipher(self, fd: int, cipher: bytes) -> None:
        try:
            sent = self._write(fd, cipher)
        except BlockingIOError:
            sent = 0
        if sent < len(cipher):
            self._cipher = memoryview(cipher)[sent:]
            self.due = True

    def send(self, fd: int, out: Output, last: bool) -> int:
        sent = 0
        session = self._session
        self.flush(fd)
        while not self._cipher and sent < TURN_SIZE:
            piece = out.take(PIECE_SIZE)
            if piece:
                session.send(piece)
                sent += len(piece)
            if last and not out.pending and not self._notified:
                self._notified = True
                session.close()
            if not session.outgoing.pending:
                break
            self.flush(fd)
        return sent

    def flush(self, fd: int) -> None:
        outgoing = self._session.outgoing
        if outgoing.pending:
            self._cipher = bytes(self._cipher) + outgoing.read() if self._cipher else outgoing.read()
        cipher = self._cipher
        if cipher:
            try:
                sent = self._write(fd, cipher)
            except BlockingIOError:
                return
            self._cipher = memoryview(cipher)[sent:] if sent < len(cipher) else b""

    def finish(self) -> bool:
        """Announce the end with ``close_notify`` (RFC 8446 section 6.1)."""
        if self._notified:
            return False
        self._notified = True
        self._session.close()
        return True

    def wait_for_room(self, fd: int) -> None:
        self._wire.wait_for_room(fd)

    def discard(self) -> None:
        self._cipher = b""
        self._session.outgoing.read()

    def detach(self, fd: int) -> socket.socket:
        sock = TLSSocket(self._wire.hand_over(fd), self._session)
        sock.setblocking(True)
        return sock
