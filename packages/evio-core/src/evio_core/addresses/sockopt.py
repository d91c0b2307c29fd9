"""Socket options, and using a descriptor as a socket for a moment."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ..events import Options

__all__ = ["apply_options", "borrowed", "half_close"]

_NONE = Options(tcp_nodelay=False)


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
    if tcp and options.tcp_keepalive != before.tcp_keepalive:
        _set_keepalive(sock, options.tcp_keepalive)
    if options.send_buffer and options.send_buffer != before.send_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
    if options.receive_buffer and options.receive_buffer != before.receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)


def _set_keepalive(sock: socket.socket, seconds: float) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, bool(seconds))
    if not seconds:
        return
    whole = math.ceil(seconds)  # the kernel counts in seconds, and takes 0 for an error
    # macOS calls the idle time TCP_KEEPALIVE; some systems have neither and keep their own
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE"):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), whole)
            break
    if hasattr(socket, "TCP_KEEPINTVL"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, whole)
