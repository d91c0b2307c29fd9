"""The address that a datagram was sent to, where the socket is bound to all of them (ip(7), ipv6(7)).

Without it the kernel answers from the address of the route back, which a client that asked another one of the machine's
addresses takes for a stranger's.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from ..events import SocketAddress

__all__ = ["ANCILLARY_SIZE", "Ancillary", "PacketInfo", "Path"]

IP_PKTINFO: int | None = getattr(socket, "IP_PKTINFO", 8 if sys.platform == "linux" else None)
"""The option and its control message; Python names it from 3.12 on."""

IPV6_PKTINFO: int | None = getattr(socket, "IPV6_PKTINFO", None)
IPV6_RECVPKTINFO: int | None = getattr(socket, "IPV6_RECVPKTINFO", None)

ANCILLARY_SIZE = 64
"""Bytes of control messages, of which there is one."""

KEPT = 1024
"""Addresses of which the parsed form is kept: a machine has few, unless whole networks are routed to it."""

Ancillary = list[tuple[int, int, bytes]]
"""Control messages as ``sendmsg`` takes them."""

Path = tuple[SocketAddress, Ancillary]
"""Our end of a datagram, and what makes an answer leave from there."""


class PacketInfo:
    """Asks a socket's kernel for the address that each datagram was sent to, and reads what it says."""

    __slots__ = ("_known", "_port", "_six")

    def __init__(self, sock: socket.socket, port: int) -> None:
        """Raises ``OSError``."""
        self._known: dict[bytes, Path] = {}
        self._port = port
        self._six = sock.family == socket.AF_INET6
        if self._six:
            assert IPV6_RECVPKTINFO is not None
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        else:
            assert IP_PKTINFO is not None
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)

    @classmethod
    def of(cls, sock: socket.socket) -> PacketInfo | None:
        """For a socket bound to all addresses, where the system can tell them apart; else None."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or not hasattr(sock, "recvmsg"):
            return None
        host, port = sock.getsockname()[:2]
        if host not in ("0.0.0.0", "::"):
            return None
        supported = IP_PKTINFO if sock.family == socket.AF_INET else IPV6_RECVPKTINFO
        return (
            None if supported is None or (sock.family == socket.AF_INET6 and IPV6_PKTINFO is None) else cls(sock, port)
        )

    def path(self, ancillary: list[Any]) -> Path | None:
        """Our end in the control messages of a datagram; None if they do not say it."""
        if not ancillary:
            return None
        info: bytes = ancillary[0][2]
        path = self._known.get(info)
        if path is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            path = self._known[info] = self._parse(info)
        return path

    def _parse(self, info: bytes) -> Path:
        if self._six:
            # struct in6_pktinfo (RFC 3542 section 6): address, interface
            packed, interface = info[:16], struct.unpack_from("@I", info, 16)[0]
            link_local = packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
            scope = interface if link_local else 0
            local = (socket.inet_ntop(socket.AF_INET6, packed), self._port, 0, scope)
            if packed[0] == 0xFF:
                return local, []  # a group, which nothing can be sent from
            assert IPV6_PKTINFO is not None
            return local, [(socket.IPPROTO_IPV6, IPV6_PKTINFO, packed + struct.pack("@I", scope))]
        # struct in_pktinfo (ip(7)): interface, our address (for a group or a broadcast, too), destination. Without the
        # interface the route decides on that.
        assert IP_PKTINFO is not None
        answer = bytes(4) + info[4:8] + bytes(4)
        local4 = (socket.inet_ntoa(info[4:8]), self._port)
        return local4, [(socket.IPPROTO_IP, IP_PKTINFO, answer)]
