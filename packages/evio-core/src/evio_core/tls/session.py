"""TLS without sockets: a session over memory buffers (``ssl.MemoryBIO``)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable

from ..events import Buffer

__all__ = ["NamedSSLObject", "TLSSession", "reason"]

RECORD_SIZE = 16 * 1024
"""The most plaintext in a record (RFC 8446 section 5.1), and so the most that one read returns."""


def reason(error: Exception) -> str:
    """The text of an error, without OpenSSL's file names and line numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return re.sub(r"^\[\w+\] | \(_ssl\.c:\d+\)$", "", error.strerror)
    return str(error)


class NamedSSLObject(ssl.SSLObject):
    """An ``ssl.SSLObject`` that remembers what its client said: the host name it asked for, and, where ``hello`` is not
    None, all that was received until the answer to it."""

    server_name: str | None = None
    hello: bytes | None = None
    refusal = ""
    """The reason why the handshake is refused."""


class TLSSession:
    """One connection's TLS: ciphertext in, plaintext out, and the reverse.

    What is to be sent to the peer gathers in ``outgoing``, also after ``handshake`` and ``receive``.
    All methods raise ``ssl.SSLError``.
    """

    __slots__ = ("_read", "_whole", "ended", "incoming", "object", "outgoing", "send", "server_side")

    def __init__(self, context: ssl.SSLContext, server_side: bool, server_hostname: str | None = None) -> None:
        self.incoming: ssl.MemoryBIO = ssl.MemoryBIO()
        self.outgoing: ssl.MemoryBIO = ssl.MemoryBIO()
        self.object: ssl.SSLObject = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self.server_side: bool = server_side
        # Past the methods of SSLObject, which only hand on to these: 1 % of a small request.
        inner = getattr(self.object, "_sslobj", self.object)
        self.send: Callable[[Buffer], int] = inner.write
        self._read = inner.read
        self._whole = False  # OpenSSL has all of every record that it has begun
        self.ended: bool = False
        """The peer sent ``close_notify``: no more plaintext will come."""

    @property
    def server_name(self) -> str | None:
        """The name the client asked for (SNI, RFC 6066 section 3)."""
        return getattr(self.object, "server_name", None)

    def handshake(self, ciphertext: Buffer) -> bool:
        """Go on with the handshake; True when it is done."""
        self.incoming.write(ciphertext)
        sslobject = self.object
        if isinstance(sslobject, NamedSSLObject) and sslobject.hello is not None:
            sslobject.hello += ciphertext
        try:
            sslobject.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            if isinstance(sslobject, NamedSSLObject) and sslobject.refusal:
                error.reason = sslobject.refusal  # OpenSSL says no more than "callback failed"
            raise
        if isinstance(sslobject, NamedSSLObject):
            sslobject.hello = None
        return True

    def receive(self, ciphertext: Buffer) -> bytes:
        """All plaintext that can be had now, ``b""`` if a record is not complete."""
        incoming, read = self.incoming, self._read
        incoming.write(ciphertext)
        parts: list[bytes] = []
        # ``read`` allocates what it is asked for, and there is less plaintext than ciphertext.
        most = len(ciphertext) if self._whole and len(ciphertext) < RECORD_SIZE else RECORD_SIZE
        self._whole = False
        try:
            # All of a record: OpenSSL keeps nothing back. Without more input, asking again would only raise
            # SSLWantReadError, which is not cheap.
            while plaintext := read(most):
                if not incoming.pending:
                    self._whole = True
                    if not parts:
                        return plaintext
                    parts.append(plaintext)
                    break
                parts.append(plaintext)
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)

    def close(self) -> None:
        """Put ``close_notify`` into ``outgoing`` (RFC 8446 section 6.1)."""
        try:
            self.object.unwrap()
        except ssl.SSLError:
            return  # it is written; unwrap would also wait for the peer's
