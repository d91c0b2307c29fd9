"""The parts of :class:`evio_core.events.Conn` that are the same for all connections of datagrams."""

from __future__ import annotations

import ssl
from typing import BinaryIO

from ..events import PeerCredentials
from ..loop.turns import own_turns

__all__ = ["DatagramConn"]


class DatagramConn:
    """A connection whose output is datagrams, each of which is complete in itself."""

    __slots__ = ()

    @property
    def turn(self) -> int:
        return next(own_turns)  # datagrams of one poll share nothing that would be worth looking up once

    @property
    def scheme(self) -> str:
        return "udp"

    @property
    def peer_credentials(self) -> PeerCredentials | None:
        return None

    @property
    def tls(self) -> ssl.SSLObject | None:
        return None

    @property
    def server_name(self) -> str | None:
        return None

    def send_file(self, file: int | BinaryIO, offset: int = 0, count: int | None = None, *, head: bytes = b"") -> None:
        raise TypeError("a datagram cannot be sent from a file")

    def start_tls(self, context: ssl.SSLContext | None = None, *, server_hostname: str | None = None) -> None:
        raise TypeError("datagrams are not encrypted by TLS")

    def shutdown_write(self) -> None:
        """Nothing to end: a datagram is complete in itself."""

    def wake(self) -> None:
        """Have ``woken`` called soon."""
        raise NotImplementedError

    def wake_when_drained(self) -> None:
        self.wake()
