"""From addresses to bound sockets: all of them, or none.

A name that stands for several addresses (``localhost``, an empty host) gets a socket for each, with one port.
With ``reuseport=true`` there is such a set for each loop, and the kernel spreads connections over them.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ListenError
from ..events import Options, SocketAddress
from .address import Address
from .sockopt import apply_address, apply_options, join_groups
from .unix_path import UnixPath, bind_unix

__all__ = ["BoundAddress", "bind_all"]

DEFAULT_BACKLOG = 65535
"""The kernel cuts it to ``net.core.somaxconn`` (listen(2)); less would make clients retry their SYN when many
connect at once."""

PORT_ATTEMPTS = 20
"""Attempts to find a port that is free in every family."""

FIRST_SYSTEMD_FD = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)


@dataclass(slots=True)
class BoundAddress:
    """An address and its sockets: a list for each loop with ``reuseport``, else a single list."""

    address: Address
    sets: list[list[socket.socket]] = field(default_factory=list)
    paths: list[UnixPath] = field(default_factory=list)

    @property
    def name(self) -> SocketAddress:
        """The bound address; the first of several."""
        return self.sets[0][0].getsockname()

    @property
    def scheme(self) -> str:
        """The kind of its sockets, whatever the address is called: ``tcp``, ``udp`` or ``unix``."""
        sock = self.sets[0][0]
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return "unix"
        return "udp" if sock.type == socket.SOCK_DGRAM else "tcp"

    def close(self, unlink: bool = True) -> None:
        """Close what is still open and remove our socket files."""
        if unlink:
            for path in self.paths:
                path.remove()
        for sock in (sock for sockets in self.sets for sock in sockets):
            sock.close()


def bind_all(addresses: Sequence[Address], options: Options, loops: int) -> list[BoundAddress]:
    """Bind every address. Raises :class:`ListenError`, and then nothing stays bound."""
    bound: list[BoundAddress] = []
    try:
        for address in addresses:
            bound.append(BoundAddress(address))
            _bind(bound[-1], options, loops if address.reuseport else 1)
    except OSError as error:
        for each in bound:
            each.close()
        if isinstance(error, ListenError):
            raise
        raise ListenError(error.errno or 0, error.strerror or str(error), bound[-1].address.text) from error
    return bound


def _bind(bound: BoundAddress, options: Options, count: int) -> None:
    address = bound.address
    for _ in range(count):
        sockets: list[socket.socket] = []
        bound.sets.append(sockets)
        if address.base == "fd":
            sockets.append(_adopt(address.fd))
        elif address.base == "systemd":
            sockets.extend(_adopt(fd) for fd in _systemd_fds(address.name))
        elif address.base == "unix":
            sockets.append(_bind_path(bound, options))
        else:
            port = bound.sets[0][0].getsockname()[1] if len(bound.sets) > 1 else address.port
            _bind_inet(address, options, port, sockets)


# -- inherited


def _adopt(fd: int) -> socket.socket:
    """An inherited socket, ours from now on."""
    sock = socket.socket(fileno=fd)
    try:
        if sock.type == socket.SOCK_STREAM:
            if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise OSError(errno.EINVAL, f"descriptor {fd} is a socket that does not listen")
        elif sock.type != socket.SOCK_DGRAM:
            raise OSError(errno.ESOCKTNOSUPPORT, f"descriptor {fd} is neither a stream nor a datagram socket")
        sock.setblocking(False)
        sock.set_inheritable(False)
    except BaseException:
        sock.detach()
        raise
    return sock


def _systemd_fds(name: str) -> list[int]:
    """The descriptors passed under a name (sd_listen_fds_with_names(3)); all of them for an empty name."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise OSError(errno.ENOENT, "no sockets were passed to this process (LISTEN_PID, LISTEN_FDS)")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    found = [FIRST_SYSTEMD_FD + index for index in range(count) if not name or names[index] == name]
    if not found:
        raise OSError(errno.ENOENT, f"no socket named {name!r} was passed, only {', '.join(names[:count]) or 'none'}")
    return found


# -- unix


def _bind_path(bound: BoundAddress, options: Options) -> socket.socket:
    if sys.platform == "win32":
        raise OSError(errno.EAFNOSUPPORT, "this system has no unix sockets")
    sock = socket.socket(socket.AF_UNIX)
    try:
        ours = bind_unix(sock, bound.address.path, bound.address.mode)
        if ours is not None:
            bound.paths.append(ours)
        _listen(sock, bound.address, options)
    except BaseException:
        sock.close()
        raise
    return sock


# -- internet


def _bind_inet(address: Address, options: Options, port: int, sockets: list[socket.socket]) -> None:
    """Bind every address of the host to one port."""
    kind = socket.SOCK_DGRAM if address.base == "udp" else socket.SOCK_STREAM
    found = _resolve(address, kind)
    for attempt in range(PORT_ATTEMPTS):
        try:
            _bind_each(address, options, port, found, sockets)
            return
        except OSError as error:
            for sock in sockets:
                sock.close()
            sockets.clear()
            # The port that the first family was given may be taken in the second: try another.
            if port or error.errno != errno.EADDRINUSE or attempt == PORT_ATTEMPTS - 1:
                raise


def _resolve(address: Address, kind: int) -> list[tuple[int, SocketAddress]]:
    """Families and addresses, IPv4 first."""
    try:
        infos = socket.getaddrinfo(
            address.host or None, address.port, address.socket_family, kind, 0, socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ListenError(error.errno or 0, f"{address.host}: {error.strerror}", address.text) from error
    unique = dict.fromkeys((info[0], info[4]) for info in infos)
    return sorted(unique, key=lambda entry: entry[0] != socket.AF_INET)


def _bind_each(
    address: Address,
    options: Options,
    port: int,
    found: list[tuple[int, SocketAddress]],
    sockets: list[socket.socket],
) -> None:
    missing: OSError | None = None
    for family, name in found:
        try:
            sockets.append(_bind_one(address, options, family, (name[0], port, *name[2:])))
        except OSError as error:
            # A name may resolve to a family that this machine does not have (::1 with IPv6 switched off).
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) or len(found) == 1:
                raise
            missing = error
            continue
        port = port or sockets[0].getsockname()[1]
    if not sockets and missing is not None:
        raise missing
    versions = {6 if sock.family == socket.AF_INET6 else 4 for sock in sockets}
    for group in address.multicast:
        if (6 if ":" in group else 4) not in versions:
            raise OSError(errno.EAFNOSUPPORT, f"no socket of the family of the group {group}")


def _bind_one(address: Address, options: Options, family: int, name: SocketAddress) -> socket.socket:
    datagram = address.base == "udp"
    sock = socket.socket(family, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
    try:
        if not datagram and os.name == "posix":  # elsewhere SO_REUSEADDR lets two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.reuseport:
            _set_reuseport(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.v6only)
        apply_address(sock, address)
        sock.bind(name)
        join_groups(sock, address)
        _listen(sock, address, options)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_reuseport(sock: socket.socket) -> None:
    if sys.platform == "win32":
        raise OSError(errno.EOPNOTSUPP, "this system has no SO_REUSEPORT")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _listen(sock: socket.socket, address: Address, options: Options) -> None:
    apply_options(sock, options)
    if sock.type == socket.SOCK_STREAM:
        sock.listen(address.backlog or DEFAULT_BACKLOG)
    sock.setblocking(False)
