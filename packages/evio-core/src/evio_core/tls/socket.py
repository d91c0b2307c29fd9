"""The socket that ``detached`` gets for a TLS connection: a blocking one that goes on with the session."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

from .session import TLSSession

__all__ = ["TLSSocket"]

RECEIVE_SIZE = 64 * 1024


class TLSSocket(socket.socket):
    """A socket whose ``recv``, ``recv_into``, ``send``, ``sendall``, ``makefile``, ``shutdown`` and ``close``
    carry the plaintext of a TLS session that began elsewhere; ``ssl.SSLSocket`` can only begin one itself.
    One thread may receive while another sends."""

    def __init__(self, fd: int, session: TLSSession) -> None:
        super().__init__(fileno=fd)
        self._session = session
        self._plaintext = b""
        self._lock = threading.Lock()  # an SSL object must not be used by two threads at once

    @property
    def tls(self) -> ssl.SSLObject:
        """The session: ``version()``, ``getpeercert()`` and so on."""
        return self._session.object

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Up to ``bufsize`` bytes, ``b""`` at the end. Flags are not supported (``ValueError``)."""
        if flags:
            raise ValueError("flags are not allowed in recv() on a TLS socket")
        while not self._plaintext and not self._session.ended and bufsize:
            ciphertext = super().recv(RECEIVE_SIZE)
            if not ciphertext:
                return b""
            with self._lock:
                self._plaintext = self._session.receive(ciphertext)
                super().sendall(self._session.outgoing.read())  # an answer of TLS itself, mostly empty
        chunk, self._plaintext = self._plaintext[:bufsize], self._plaintext[bufsize:]
        return chunk

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As ``recv``, into a buffer."""
        view = memoryview(buffer).cast("B")
        chunk = self.recv(nbytes or len(view), flags)
        view[: len(chunk)] = chunk
        return len(chunk)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send all of ``data``; returns its size."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of ``data``. Flags are not supported (``ValueError``)."""
        if flags:
            raise ValueError("flags are not allowed in sendall() on a TLS socket")
        view = memoryview(data).cast("B")
        for at in range(0, len(view), RECEIVE_SIZE):
            with self._lock:
                self._session.send(view[at : at + RECEIVE_SIZE])
                super().sendall(self._session.outgoing.read())

    def shutdown(self, how: int) -> None:
        """Shut down one or both directions, with ``close_notify`` when sending ends."""
        if how != socket.SHUT_RD:
            self._notify()
        super().shutdown(how)

    def close(self) -> None:
        """Send ``close_notify`` if it can be sent, and close."""
        if self.fileno() >= 0:
            self._notify()
        super().close()

    def _notify(self) -> None:
        try:
            with self._lock:
                self._session.close()
                super().sendall(self._session.outgoing.read())
        except OSError:
            pass  # the peer is gone, and with it who would have wanted to know
