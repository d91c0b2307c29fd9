"""The stage before a connection in which a PROXY header is read."""

from __future__ import annotations

import socket

from ..addresses.proxy_header import Network, ProxyParser, check_sender
from ..addresses.sockopt import borrowed
from ..errors import ProxyProtocolError
from ..loop.poller import READ
from .connection import Connection
from .half_open import HalfOpen

__all__ = ["ProxyStage"]

PEEK_SIZE = 4096


class ProxyStage(HalfOpen):
    """Reads exactly the header: input is looked at first (``MSG_PEEK``) and only then taken, so that what
    follows, a TLS handshake perhaps, is still in the socket for the connection itself."""

    __slots__ = ("_networks", "_parser")

    def __init__(self, conn: Connection, networks: tuple[Network, ...]) -> None:
        super().__init__(conn)
        self._networks = networks
        self._parser = ProxyParser()

    def begin(self) -> None:
        """Wait for the header. Raises ``OSError`` when the descriptor cannot be polled."""
        self._conn.loop.add(self._conn.fd, self, READ)
        self._conn.use_descriptor(self._conn.fd, READ)
        try:
            check_sender(self._conn.remote_addr, self._networks)
        except ProxyProtocolError as error:
            self._conn.drop(error)

    def on_event(self, mask: int) -> None:
        conn = self._conn
        try:
            with borrowed(conn.fd) as sock:
                chunk = sock.recv(PEEK_SIZE, socket.MSG_PEEK)
                if not chunk:
                    raise ProxyProtocolError("connection ended before the PROXY header did")
                parsed = self._parser.feed(chunk)
                sock.recv(len(chunk) if parsed is None else len(chunk) - len(parsed[1]))
            if parsed is not None:
                conn.set_addresses(parsed[0].remote, parsed[0].local)
                conn.begin()
        except BlockingIOError:
            pass
        except (OSError, ProxyProtocolError) as error:
            conn.drop(error)
