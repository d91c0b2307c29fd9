"""A stream connection that speaks TLS.

Queued output stays plaintext until the socket has room for it: encrypting ahead would only cost memory.
``_cipher`` is what has been encrypted and not sent, at most one piece of ``PIECE_SIZE``.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..buffers.output import TURN_SIZE, Output
from ..errors import TLSError, TLSTruncated
from ..events import Buffer, SocketAddress
from ..loop.loop import READ_SIZE, Loop
from ..loop.poller import ERROR, HANGUP, READ, WRITE
from ..stream.connection import Connection
from ..stream.stream import CLOSING, GONE, INPUT_ENDED, OPEN, OPENING
from .credentials import TLSSession, reason
from .socket import TLSSocket

if TYPE_CHECKING:
    from ..stream.listener import Origin

__all__ = ["TLSConnection"]

PIECE_SIZE = 64 * 1024

REQUEST = re.compile(rb"[A-Za-z]+ ")
"""How plain HTTP begins."""


class TLSConnection(Connection):
    """A ``tls://`` connection; ``opened`` fires when its handshake is done."""

    __slots__ = ("_cipher", "_notified", "_session")

    def __init__(
        self,
        loop: Loop,
        fd: int,
        origin: Origin,
        remote: SocketAddress,
        session: TLSSession,
        context: Any = None,
    ) -> None:
        super().__init__(loop, fd, origin, remote, context)
        self._session = session
        self._cipher: Buffer = b""
        self._notified = False

    @property
    def pending(self) -> int:
        return super().pending + len(self._cipher)

    @property
    def tls(self) -> ssl.SSLObject | None:
        return self._session.object

    @property
    def server_name(self) -> str | None:
        return self._session.server_name

    def _is_plain(self) -> bool:
        return False

    # -- handshake

    def begin(self) -> None:
        self._poll()
        if not self._deadline:
            self.limit_opening(self.options.handshake_timeout)
        if not self._session.server_side:
            self._handshake(b"")  # a client speaks first

    def _handshake(self, ciphertext: bytes) -> None:
        try:
            done = self._session.handshake(ciphertext)
        except ssl.SSLError as error:
            self._tls_failed(error, ciphertext)
            return
        self._send_handshake()
        if done and self._phase == OPENING:
            self._opened()
            if self._phase == OPEN and self._session.incoming.pending:
                self._decrypt(b"")  # data that came together with the end of the handshake

    def _send_handshake(self) -> None:
        """Send what the handshake produced, waiting for room if a peer takes it in small bits."""
        self._cipher = bytes(self._cipher) + self._session.outgoing.read()
        try:
            self._send_cipher()
        except OSError as error:
            self.lost(error)
            return
        want = READ | WRITE if self._cipher else READ
        if self._phase == OPENING and want != self._mask:
            self._mask = want
            self.loop.poller.modify(self.fd, want)

    # -- input

    def on_event(self, mask: int) -> None:
        if mask == READ == self._mask:
            self._on_readable()
        elif self._phase == OPENING:
            if mask & WRITE:
                self._send_handshake()
            if mask & (READ | ERROR | HANGUP) and self._phase != GONE:
                self._on_readable()
        else:
            super().on_event(mask)

    def _on_readable(self) -> None:
        try:
            ciphertext = os.read(self.fd, READ_SIZE)
        except OSError as error:
            self.read_failed(error)
            return
        if not ciphertext:
            self.feed_end()
        elif self._phase == OPENING:
            self._handshake(ciphertext)
        else:
            self._decrypt(ciphertext)

    def feed(self, chunk: Buffer) -> None:
        if self._phase == OPENING:
            self._handshake(bytes(chunk))
        else:
            self._decrypt(bytes(chunk))

    def _decrypt(self, ciphertext: bytes) -> None:
        session, loop = self._session, self.loop
        try:
            plaintext = session.receive(ciphertext)
        except ssl.SSLError as error:
            self._tls_failed(error)
            return
        if plaintext:
            loop.stats.bytes_in += len(plaintext)
            self.seen = loop.now
            data = loop.events.data
            if data is not None and self._phase == OPEN:
                chunk: Buffer = memoryview(plaintext) if self.options.reuse_input_buffer else plaintext
                try:
                    output = data(self, chunk)
                    if type(output) is bytes and self._out is None and self._phase == OPEN and loop.direct and output:
                        self._send_now(output)
                    elif output is not None:
                        self.reply(output)
                except BaseException as error:
                    loop.callback_failed(self, error)
                    return
        if session.outgoing.pending and self._phase != GONE:  # an answer of TLS itself, to a key update say
            self._queue()
            self._mark()
        if session.ended and self._phase != GONE:
            self.input_ended()

    def feed_end(self) -> None:
        """End of file; a good end is announced by ``close_notify`` before."""
        if self._phase == OPENING:
            self.lost(TLSError("connection ended during the handshake"))
        elif self._phase == CLOSING or self._session.ended:
            self.input_ended()
        else:
            self._reason = TLSTruncated("connection ended without close_notify")
            self._not_reading |= INPUT_ENDED
            self._begin_close()

    def _tls_failed(self, error: ssl.SSLError, handshake: bytes = b"") -> None:
        """Tell the peer, if it listens, and end; ``handshake`` is what could not be one."""
        self._cipher = bytes(self._cipher) + self._session.outgoing.read()  # the alert
        # OpenSSL knows a request by its method, if that is one of the usual four; no record begins with a letter.
        if self.options.plain_http_answer and (error.reason == "HTTP_REQUEST" or REQUEST.match(handshake)):
            self._cipher = self.options.plain_http_answer
        with suppress(OSError):  # the reason to report is the TLS error
            self._send_cipher()
        failure = TLSError(reason(error))
        failure.__cause__ = error
        self._linger(failure)  # a reset could overtake the alert

    # -- output

    def _send_now(self, output: bytes) -> None:
        """The common case: a reply and nothing before it. Raises nothing but what ``lost`` takes."""
        session, done, size = self._session, 0, len(output)
        while done < size:
            session.send(output if size <= PIECE_SIZE else output[done : done + PIECE_SIZE])
            done += PIECE_SIZE
            cipher = session.outgoing.read()
            try:
                sent = self._write_some(cipher)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.lost(error)
                return
            if sent < len(cipher):
                self._cipher = memoryview(cipher)[sent:]
                out = self._queue()
                if done < size:
                    out.append_rest(output, done)
                self.loop.stats.bytes_out += min(done, size)
                self._blocked(self.pending)
                return
        self.loop.stats.bytes_out += size

    def _send(self, out: Output) -> int:
        sent = 0
        self._send_cipher()
        while not self._cipher and sent < TURN_SIZE:
            piece = out.take(PIECE_SIZE)
            if piece:
                self._session.send(piece)
                sent += len(piece)
            if not out.pending and self._phase == CLOSING:
                self._notify()
            self._cipher = self._session.outgoing.read()
            if not self._cipher:
                break
            self._send_cipher()
        return sent

    def _send_cipher(self) -> None:
        """Hand ciphertext to the kernel, keeping what it does not take."""
        if self._cipher:
            try:
                sent = self._write_some(self._cipher)
            except BlockingIOError:
                return
            self._cipher = memoryview(self._cipher)[sent:] if sent < len(self._cipher) else b""

    def _write_some(self, data: Buffer) -> int:
        return os.write(self.fd, data)

    # -- ending

    def _notify(self) -> None:
        """Let ``close_notify`` follow; with the last output, where that is sent after the decision to close."""
        if not self._notified:
            self._notified = True
            self._session.close()

    def _finish_close(self) -> None:
        if not self._notified:
            self._notify()
            self._queue()
            self.flush()  # comes back here once it has left
        else:
            super()._finish_close()

    def _end(self, error: BaseException | None, fire: bool = True) -> None:
        self._cipher = b""  # what did not leave is pending no more
        super()._end(error, fire)

    def _detach_socket(self) -> socket.socket:
        sock = TLSSocket(self._hand_over(), self._session)
        sock.setblocking(True)
        return sock
