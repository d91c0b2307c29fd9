"""Socket options, and using a descriptor as a socket for a moment."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..events import Options, PeerCredentials
from .address import Address

__all__ = [
    "apply_address",
    "apply_options",
    "bind_own_end",
    "borrowed",
    "half_close",
    "join_groups",
    "peer_credentials",
]

IP_BIND_ADDRESS_NO_PORT: int | None = getattr(
    socket, "IP_BIND_ADDRESS_NO_PORT", 24 if sys.platform == "linux" else None
)
"""Leaves the choice of a port to connect(2) (ip(7)), which may then use one number for several peers; Python names the
option from 3.12 on."""

_NONE = Options(tcp_nodelay=False)


LOCAL_PEERCRED, LOCAL_PEERPID = 1, 2
"""Of macOS (sys/un.h); Python names neither."""


@contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object over a descriptor that stays ours."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def half_close(fd: int) -> None:
    """Send end-of-file (shutdown(2)). Raises ``OSError``."""
    # shutdown(2) does not ask what kind of socket it is. Nor shall Python, by three system calls for each closing.
    sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, fd)
    try:
        sock.shutdown(socket.SHUT_WR)
    finally:
        sock.detach()


def apply_options(sock: socket.socket, options: Options, before: Options = _NONE) -> None:
    """Set what differs from ``before``. Set on a listening socket, connections inherit it."""
    tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    if tcp and options.tcp_nodelay != before.tcp_nodelay:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, options.tcp_nodelay)
    if tcp and _probing(options) != _probing(before):
        _set_keepalive(sock, options)
    if sys.platform == "linux" and tcp and options.tcp_user_timeout != before.tcp_user_timeout:
        milliseconds = math.ceil(options.tcp_user_timeout * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    if options.tos != before.tos:
        _set_tos(sock, options.tos)
    if options.send_buffer and options.send_buffer != before.send_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
    if options.receive_buffer and options.receive_buffer != before.receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)


def _probing(options: Options) -> tuple[float, ...]:
    return options.tcp_keepalive, options.tcp_keepalive_interval, options.tcp_keepalive_count


def _set_keepalive(sock: socket.socket, options: Options) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, bool(options.tcp_keepalive))
    if not options.tcp_keepalive:
        return
    idle = math.ceil(options.tcp_keepalive)  # the kernel counts in seconds, and takes 0 for an error
    # macOS calls the idle time TCP_KEEPALIVE; some systems have neither and keep their own
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE"):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), idle)
            break
    if hasattr(socket, "TCP_KEEPINTVL"):
        interval = math.ceil(options.tcp_keepalive_interval) or idle
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    if options.tcp_keepalive_count:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, options.tcp_keepalive_count)


def _set_tos(sock: socket.socket, tos: int) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
        with suppress(OSError):  # for peers of IPv4; a system without that takes IPv6's for both
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    elif sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)


def peer_credentials(fd: int) -> PeerCredentials | None:
    """The process at the other end of a unix socket, as of when it connected; None for other sockets, and where the
    system does not say."""
    with borrowed(fd) as sock:
        if sock.family != getattr(socket, "AF_UNIX", None):
            return None
        if sys.platform == "linux":
            ucred = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # unix(7)
            return PeerCredentials(*struct.unpack("@iII", ucred))
        if sys.platform == "darwin":
            # struct xucred: version, user, number of groups, groups (sys/un.h, sys/ucred.h; level SOL_LOCAL)
            _, user, _, group = struct.unpack_from("@IIhI", sock.getsockopt(0, LOCAL_PEERCRED, 76))
            return PeerCredentials(sock.getsockopt(0, LOCAL_PEERPID), user, group)
    return None


def apply_address(sock: socket.socket, address: Address) -> None:
    """Set what the options of an address say, before it is bound or connected. Raises ``OSError``."""
    interface = address.multicast_interface
    if sys.platform == "linux":  # on other systems such an address is refused
        if address.bind_to_device:
            name = os.fsencode(address.bind_to_device)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        if address.defer_accept:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, address.defer_accept)
    if address.fast_open:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, address.fast_open)
    if sock.family == socket.AF_INET6:
        if address.multicast_ttl is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, address.multicast_ttl)
        if not address.multicast_loop:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        if interface and not interface[0].isdigit():  # else it is an address, and for IPv4
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(interface))
    elif sock.family == socket.AF_INET:
        if address.multicast_ttl is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, address.multicast_ttl)
        if not address.multicast_loop:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        if interface:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _interface4(interface, b""))


def join_groups(sock: socket.socket, address: Address) -> None:
    """Join the groups of the socket's family. Raises ``OSError``."""
    interface = address.multicast_interface
    for group in address.multicast:
        if sock.family == socket.AF_INET6 and ":" in group:
            index = socket.if_nametoindex(interface) if interface else 0
            membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)  # struct ipv6_mreq
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        elif sock.family == socket.AF_INET and ":" not in group:
            membership = _interface4(interface, socket.inet_aton(group))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


def _interface4(interface: str, group: bytes) -> bytes:
    """The interface after the group, as ``struct ip_mreq`` has it; without a group the address alone (``in_addr``). A
    name is for ``ip_mreqn``, which always has a group (ip(7))."""
    if not interface:
        return group + bytes(4)
    with suppress(ValueError):
        return group + ipaddress.IPv4Address(interface).packed
    return (group or bytes(4)) + bytes(4) + struct.pack("@i", socket.if_nametoindex(interface))


def bind_own_end(sock: socket.socket, address: Address) -> None:
    """Bind a socket that is to be connected, if the address says where. Raises ``OSError``."""
    if address.bind is None:
        return
    host, port = address.bind
    if (sock.family == socket.AF_INET6) != (":" in host):
        raise OSError(errno.EAFNOSUPPORT, f"cannot bind {host} to reach an address of another family")
    if port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # while an earlier connection is in TIME_WAIT
    elif IP_BIND_ADDRESS_NO_PORT is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((host, port))
