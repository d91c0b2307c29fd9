"""The errors evio raises or hands to ``closed``.

::

    EvioError
    ├── AddressError          (ValueError)   an address string that means nothing to us
    ├── ListenError           (OSError)      an address that could not be bound
    ├── WorkerError           (RuntimeError) workers that do not come up
    └── ConnError                            why a connection ended, given to ``closed(conn, error)``
        ├── TimeoutExpired    (TimeoutError)
        │   ├── IdleTimeout       no byte moved for ``idle_timeout`` seconds
        │   ├── DeadlineExceeded  ``set_deadline`` passed
        │   ├── ConnectTimeout    ``dial`` found no answer in time
        │   ├── HandshakeTimeout  TLS or PROXY header not complete in time
        │   ├── SendTimeout       the peer took output more slowly than it has to
        │   └── CloseTimeout      output not taken by the peer in time after a close or a shutdown
        ├── Aborted                       the program called ``abort``
        ├── ServerStopped     (RuntimeError)  output of a dialled connection was lost as the server stopped
        ├── OutputLimitExceeded           more than ``max_pending`` bytes queued
        ├── InputLimitExceeded            a line or frame larger than an ``InputStream`` allows
        ├── ProxyProtocolError (ValueError)  malformed PROXY header
        └── TLSError                      certificate, handshake or record failure
            └── TLSTruncated              the peer ended without ``close_notify``

Errors of the kernel stay what they are: ``closed`` gets the ``ConnectionResetError`` itself.
"""

from __future__ import annotations

__all__ = [
    "Aborted",
    "AddressError",
    "CloseTimeout",
    "ConnError",
    "ConnectTimeout",
    "DeadlineExceeded",
    "EvioError",
    "HandshakeTimeout",
    "IdleTimeout",
    "InputLimitExceeded",
    "ListenError",
    "OutputLimitExceeded",
    "ProxyProtocolError",
    "SendTimeout",
    "ServerStopped",
    "TLSError",
    "TLSTruncated",
    "TimeoutExpired",
    "WorkerError",
]


class EvioError(Exception):
    """Base of every error of this package."""


class AddressError(EvioError, ValueError):
    """An address string, or an option in it, is not understood; the text says what is allowed."""


class ListenError(EvioError, OSError):
    """An address could not be bound.

    ``errno`` and ``strerror`` are the kernel's, ``filename`` is the address as it was given.
    """

    @property
    def address(self) -> str:
        """The address as it was given."""
        return str(self.filename)

    def __str__(self) -> str:
        return f"cannot listen on {self.address.partition('?')[0]}: {self.strerror}"


class WorkerError(EvioError, RuntimeError):
    """Worker processes could not be started, or die as soon as they start."""


class ConnError(EvioError):
    """Why a connection ended."""


class TimeoutExpired(ConnError, TimeoutError):
    """A time-out of a connection passed."""


class IdleTimeout(TimeoutExpired):
    """No byte was received or sent for ``Options.idle_timeout`` seconds."""


class SendTimeout(TimeoutExpired):
    """The peer took less of the waiting output than ``Options.send_timeout`` and ``Options.min_send_rate`` ask for."""


class DeadlineExceeded(TimeoutExpired):
    """The moment set with ``Conn.set_deadline`` passed."""


class ConnectTimeout(TimeoutExpired):
    """A dialled connection was not established in time."""


class HandshakeTimeout(TimeoutExpired):
    """The TLS handshake or the PROXY header was not complete within ``Options.handshake_timeout``."""


class CloseTimeout(TimeoutExpired):
    """Pending output could not be delivered in time after a close or a shutdown."""


class Aborted(ConnError):
    """The program itself reset the connection with ``Conn.abort``."""


class ServerStopped(ConnError, RuntimeError):
    """The server stops or has stopped: raised by ``Server.dial``, and the reason of a dialled connection that was
    written to and had not opened. One that leaves a callback ends its connection and is not logged as a failure."""


class OutputLimitExceeded(ConnError):
    """More than ``Options.max_pending`` bytes were queued for a peer that does not read them."""


class InputLimitExceeded(ConnError):
    """More input to keep than the limit of an :class:`evio_core.InputStream` allows. One that leaves a callback ends
    its connection and is not logged as a failure."""


class ProxyProtocolError(ConnError, ValueError):
    """A connection to a ``proxy_protocol`` address did not begin with a well-formed PROXY header."""


class TLSError(ConnError):
    """TLS failed: a certificate, the handshake or a record."""


class TLSTruncated(TLSError):
    """The peer ended the connection without ``close_notify``: data may be missing at the end."""
